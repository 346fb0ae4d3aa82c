"""What compose makes of a service's files, as far as it is about where data lies.

To ask compose takes a fifth of a second for each service, and an agent that has just started must
say at once how its node is. So what compose has said is kept on the disk, and asked again behind
that.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from composia.agent.checkout import Manifest
from composia.agent.sites import Sites
from composia.errors import ComposiaError
from composia.tools import durable
from composia.tools.compose import ComposeConfig

FILE = "declared.json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    #: Digest of what was checked out then.
    of: str
    #: None: compose refuses the files.
    config: ComposeConfig | None


class Declared:
    """The mounts and volumes that compose files name; asked once for each state of them."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[str, tuple[Manifest, ComposeConfig | None]] = {}
        #: Of these it is not only the disk that says so.
        self._asked: set[str] = set()

    async def config(self, manifest: Manifest) -> ComposeConfig | None:
        """Services with their mounts and nothing else; None where compose refuses the files."""
        name = manifest.service.name
        known = self._known.get(name)
        if known and known[0] == manifest:
            return known[1]
        kept = self._read(name)
        if kept is None or kept.of != _digest(manifest):
            return await self._ask(manifest)
        self._known[name] = (manifest, kept.config)
        return kept.config

    async def ask_again(self, manifests: Iterable[Manifest]) -> bool:
        """Ask for all that only the disk says; whether something is not as it says.

        A file that compose reads and that is not ours may have changed.
        """
        changed = False
        for manifest in manifests:
            if manifest.service.name not in self._asked:
                before = await self.config(manifest)
                changed |= await self._ask(manifest) != before
        return changed

    async def _ask(self, manifest: Manifest) -> ComposeConfig | None:
        name = manifest.service.name
        config = None
        with contextlib.suppress(ComposiaError):
            config = _bare(await self._sites.compose(manifest.service).config())
        self._known[name] = (manifest, config)
        self._asked.add(name)
        kept = _Kept(of=_digest(manifest), config=config)
        if kept != self._read(name):
            # A full disk must not blind the agent: it is asked again after the next start.
            with contextlib.suppress(OSError):
                durable.keep(self._file(name), kept)
        return config

    def _read(self, service: str) -> _Kept | None:
        try:
            return _Kept.model_validate_json(self._file(service).read_bytes())
        except (OSError, ValidationError):
            return None

    def _file(self, service: str) -> Path:
        return self._sites.state(service) / FILE


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()


def _bare(config: ComposeConfig) -> ComposeConfig:
    """Without what may be secret, or is of no use here."""
    nothing: dict[str, object] = {
        "image": None,
        "entrypoint": None,
        "command": None,
        "environment": {},
        "user": None,
    }
    services = {
        name: service.model_copy(update=nothing) for name, service in config.services.items()
    }
    return config.model_copy(update={"services": services})
