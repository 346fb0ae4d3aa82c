"""Running rustic on a node without the repository: in a container of the same image, over HTTP."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from composia.errors import Conflict
from composia.tools.docker import Docker
from composia.tools.rustic_container import ENVIRONMENT, Container, Mount, Note, Writes
from composia.tools.rustic_engine import ContainerEngine
from composia.tools.rustic_profile import filters
from composia.tools.rustic_way import Way
from composia.tools.shell import Command, Shell

#: Where the profile and the certificates lie inside the container.
PROFILE = "/etc/rustic/composia.toml"
CERTIFICATES = "/etc/rustic/composia.pem"
#: In an image without any certificates rustic does not even speak plain HTTP.
TRUSTS = ("SSL_CERT_FILE", CERTIFICATES)


class Gateway(Protocol):
    """The way to the repository. Everything raises Failure where there is none."""

    async def way(self) -> Way:
        """How rustic is run; asked once."""
        ...

    async def profile(self) -> Path:
        """A file of this node with the way's profile."""
        ...

    async def certificates(self) -> Path:
        """A file of this node with a certificate that nobody has the key of."""
        ...

    def opened(self) -> AbstractAsyncContextManager[str]:
        """The repository's address, with a secret in it, good within the context."""
        ...

    async def forget(self, ids: Sequence[str]) -> None:
        """Have snapshots of this very task taken out, by their full ids."""
        ...


class GatewayEngine(ContainerEngine):
    """The repository of another node. What is there cannot be deleted from here."""

    def __init__(
        self, gateway: Gateway, docker: Docker, shell: Shell, *, origin: str, note: Note
    ) -> None:
        super().__init__(GatewayContainer(gateway, docker, shell, origin=origin, note=note))
        self._gateway = gateway

    async def init(self) -> str:
        """Never. Raises Conflict."""
        raise Conflict(
            "a node without the repository cannot make one",
            hint="Make it on a node that holds it: composia repo init.",
        )

    async def forget(self, ids: Sequence[str]) -> None:
        """Have them forgotten by a node that may; only those that this task has made."""
        if ids:
            await self._gateway.forget(ids)


class GatewayContainer(Container):
    """rustic from the image that the repository's service names, in the network of this node."""

    def __init__(
        self, gateway: Gateway, docker: Docker, shell: Shell, *, origin: str, note: Note
    ) -> None:
        super().__init__(docker, shell, origin=origin, note=note)
        self._gateway = gateway

    async def globs(self) -> tuple[str, ...]:
        """The user's own globs."""
        return (await self._gateway.way()).globs

    async def filters(self) -> bool:
        """Whether the user's own profile leaves anything out of a backup."""
        return filters(tomllib.loads((await self._gateway.way()).profile))

    async def profile(self) -> str:
        """The way's."""
        return PROFILE

    async def repository_folder(self) -> Path | None:
        """None: it is on another node."""
        return None

    @asynccontextmanager
    async def _call(
        self,
        name: str,
        arguments: Sequence[str],
        mounts: Sequence[Mount],
        *,
        far: bool,
        writes: Writes,
    ) -> AsyncIterator[Command]:
        way = await self._gateway.way()
        files = [
            Mount(await self._gateway.profile(), PROFILE, True),
            Mount(await self._gateway.certificates(), CERTIFICATES, True),
        ]
        options = ("-P", PROFILE, "--log-level", "info")
        async with self._gateway.opened() as address:
            # Both win over any profile, and neither is in an argument or in a file.
            secrets = {
                "RUSTIC_REPOSITORY": address,
                "RUSTIC_PASSWORD": way.password.get_secret_value(),
            }
            words = (*way.program, *options, *arguments)
            yield _docker_run(name, way, words, [*files, *mounts], secrets)


def _docker_run(
    name: str,
    way: Way,
    words: Sequence[str],
    mounts: Sequence[Mount],
    secrets: Mapping[str, str],
) -> Command:
    first, rest = _entrypoint(way)
    argv = (
        *("docker", "run", "--rm", "-i", "--name", name),
        *("--network", "host", "--log-driver", "none"),
        *(word for secret in secrets for word in ("-e", secret)),
        *(word for pair in (*ENVIRONMENT.items(), TRUSTS) for word in ("-e", "=".join(pair))),
        *(word for mount in mounts for word in ("--mount", _long_form(mount))),
        *first,
        way.image,
        *rest,
        *words,
    )
    return Command(argv, env=secrets)


def _entrypoint(way: Way) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The option, and the words that go before all others."""
    if way.entrypoint is None:
        return (), ()
    return ("--entrypoint", way.entrypoint[0] if way.entrypoint else ""), way.entrypoint[1:]


def _long_form(mount: Mount) -> str:
    """It takes any path, and does not make a source that is missing."""
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        [*fields, *(["readonly"] if mount.read_only else [])]
    )
    return line.getvalue()
