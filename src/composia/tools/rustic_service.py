"""Running rustic in a container of the user's own service."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from composia.errors import Failure, Invalid
from composia.tools.compose import Compose, ComposeConfig, ComposeService, ServiceMount
from composia.tools.docker import Docker
from composia.tools.rustic_container import ENVIRONMENT, Container, Mount, Note, Writes
from composia.tools.rustic_paths import ROOT
from composia.tools.rustic_profile import Mounts, Profile, find_profile, mounts_of
from composia.tools.shell import Command, Finished, Shell

#: The oldest rustic that works as it is driven here.
OLDEST = "0.11.4"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is found out once: the service, its profile, how rustic is called, what is unset."""

    config: ComposeConfig
    service: ComposeService
    image: str
    mounts: Mounts
    profile: Profile
    program: tuple[str, ...]
    unset: tuple[str, ...]
    #: Whether rustic works without any network: all it needs is on this machine.
    alone: bool = False
    #: Where rustic keeps inside the container what makes it quicker.
    cache: str = ""

    def read_only(self, writes: Writes) -> Sequence[ServiceMount]:
        """The mounts of the service that such a call must not write to."""
        if writes is Writes.REPOSITORY:
            return ()
        lasting = [one for one in self.service.mounts if one.type in ("bind", "volume")]
        return [one for one in lasting if writes is Writes.NOTHING or not self._is_cache(one)]

    def _is_cache(self, mount: ServiceMount) -> bool:
        """Whether the cache is in it, and neither repository nor profile."""
        repository = _place(self.service, self.profile).removeprefix("local:")
        return _is_in(self.cache, mount) and not any(
            _is_in(path, mount) for path in (repository, self.profile.file)
        )


class ServiceContainer(Container):
    """rustic as one compose service runs it, with its profile."""

    #: How rustic is called, for each image and entry point that has shown it.
    _proven: ClassVar[dict[tuple[str, tuple[str, ...] | None], tuple[str, ...]]] = {}

    def __init__(
        self,
        compose: Compose,
        docker: Docker,
        shell: Shell,
        *,
        compose_service: str,
        profile: str,
        exact: bool = False,
        origin: str,
        note: Note,
    ) -> None:
        super().__init__(docker, shell, origin=origin, note=note)
        self._compose = compose
        self._service = compose_service
        self._profile = profile
        #: Whether a profile that the service's own command names may not stand in.
        self._exact = exact
        self._ready: Prepared | None = None
        self._preparing = asyncio.Lock()

    async def prepared(self) -> Prepared:
        """What is found out once. Raises Invalid where the service cannot be used."""
        async with self._preparing:
            if self._ready is None:
                self._ready = await self._prepare()
        return self._ready

    async def globs(self) -> tuple[str, ...]:
        """The user's own globs."""
        return (await self.prepared()).profile.globs

    async def filters(self) -> bool:
        """Whether the user's own profile leaves anything out of a backup."""
        return (await self.prepared()).profile.filters

    async def profile(self) -> str:
        """The profile's file inside the container."""
        return (await self.prepared()).profile.file

    async def repository_folder(self) -> Path | None:
        """The repository's folder where it is one of this node."""
        ready = await self.prepared()
        return await _repository_folder(ready.service, ready.mounts, ready.profile)

    async def fingerprint(self) -> str | None:
        """Of the repository's config and keys, and of the service and profile that open it."""
        ready = await self.prepared()
        if (folder := await self.repository_folder()) is None:
            return None
        way = f"{folder} {ready.service!r} {ready.profile!r}"
        return await asyncio.to_thread(_fingerprint, folder, way)

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
        ready = await self.prepared()
        kept = ready.read_only(writes)
        # A log that it cannot write would end it.
        log = ("--log-file", "/dev/null") if kept and ready.profile.logs else ()
        options = ("-P", ready.profile.file, "--log-level", "info", *log)
        called = (*ready.program, *options, *arguments)
        volumes = [*map(_again_read_only, kept), *map(_long_form, mounts)]
        alone = ready.alone and not far
        with self._command(name, called, ready.unset, volumes, alone=alone) as command:
            yield command

    @contextmanager
    def _command(
        self,
        name: str,
        called: Sequence[str],
        unset: Sequence[str],
        volumes: Sequence[Mapping[str, Any]],
        *,
        alone: bool = False,
    ) -> Iterator[Command]:
        with _override(self._service, unset, volumes, alone=alone) as file:
            yield self._compose.with_override(file).run(self._service, *called, name=name)

    async def _prepare(self) -> Prepared:
        config = await self._compose.config()
        service = config.services.get(self._service)
        if service is None:
            raise Invalid(
                f"{self._compose.project} has no compose service {self._service!r}",
                hint=f"Set infra.rustic.compose_service to one of: {', '.join(config.services)}.",
            )
        _refuse_mounts(service)
        image = await self._docker.image_config(self._image(service))
        variables = dict(line.partition("=")[::2] for line in image.get("Env") or ())
        variables |= {name: value or "" for name, value in service.environment.items()}
        mounts = mounts_of(config, service, self._docker)
        home = variables.get("HOME") or "/root"
        profile = await find_profile(self._profile, service, mounts, home, exact=self._exact)
        unset = tuple(profile.neutralised(tuple(variables)))
        program = await self._program(service, image.get("Entrypoint"))
        alone = (
            service.usual_network
            and _is_rustic(_entry(service, image.get("Entrypoint")))
            and profile.stays_here(set(variables) - set(unset))
            and await _repository_folder(service, mounts, profile) is not None
        )
        cache = profile.cache or _cache(variables, home)
        return Prepared(
            config, service, self._image(service), mounts, profile, program, unset, alone, cache
        )

    def _image(self, service: ComposeService) -> str:
        return service.image or f"{self._compose.project}-{service.name}"

    async def _program(
        self, service: ComposeService, image: Sequence[str] | None
    ) -> tuple[str, ...]:
        """The words before rustic's own arguments, proven by its version."""
        entry = _entry(service, image)
        known = (self._image(service), entry)
        if known not in self._proven:
            self._proven[known] = await self._prove(service, entry)
        return self._proven[known]

    async def _prove(self, service: ComposeService, entry: Sequence[str]) -> tuple[str, ...]:
        said = []
        for program in ways_to_call(entry, service.command):
            finished = await self._version(program)
            if finished.code == 0 and finished.stdout.startswith(b"rustic "):
                return program
            said.append(finished.complaint)
        raise Failure(
            f"compose service {service.name} does not run rustic: {said[0]}",
            hint=f"Its image must have rustic {OLDEST} or newer, as its entry point or on PATH.",
        )

    async def _version(self, program: Sequence[str]) -> Finished:
        name = self.new_name()
        with self._command(name, (*program, "--version"), (), ()) as command:
            async with self._started(name, command) as working:
                working.stdin.close()
                return await working.wait(await working.stdout.read())


def ways_to_call(
    entry: Sequence[str] | None, command: Sequence[str] | None
) -> Sequence[tuple[str, ...]]:
    """The words before rustic's own arguments that may be the right ones, the likely ones first."""
    first = (command or ("rustic",))[0]
    named = (first if PurePosixPath(first).name == "rustic" else "rustic",)
    return ((), named) if entry else (named, ())


async def _repository_folder(
    service: ComposeService, mounts: Mounts, profile: Profile
) -> Path | None:
    folder = _place(service, profile).removeprefix("local:")
    return await mounts.host_path(folder) if folder.startswith("/") else None


def _place(service: ComposeService, profile: Profile) -> str:
    return profile.repository or service.environment.get("RUSTIC_REPOSITORY") or ""


def _cache(variables: Mapping[str, str], home: str) -> str:
    """Where rustic keeps it by itself."""
    above = variables.get("XDG_CACHE_HOME") or f"{home}/.cache"
    return variables.get("RUSTIC_CACHE_DIR") or f"{above}/rustic"


def _is_in(path: str, mount: ServiceMount) -> bool:
    return PurePosixPath(path).is_relative_to(mount.target)


def _entry(service: ComposeService, image: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(image or ()) if service.entrypoint is None else service.entrypoint


def _is_rustic(entry: Sequence[str]) -> bool:
    """Whether what starts is rustic itself, and no script around it."""
    return not entry or PurePosixPath(entry[0]).name == "rustic"


def _fingerprint(repository: Path, way: str) -> str | None:
    found = hashlib.sha256(way.encode(errors="surrogateescape"))
    try:
        for path in (repository / "config", *sorted((repository / "keys").iterdir())):
            found.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return None
    return found.hexdigest()


def _refuse_mounts(service: ComposeService) -> None:
    for mount in service.mounts:
        if PurePosixPath(mount.target).is_relative_to(ROOT):
            raise Invalid(
                f"compose service {service.name} mounts something at {mount.target}",
                hint=f"Mount it elsewhere: {ROOT} is where Composia mounts what it saves.",
            )


@contextmanager
def _override(
    service: str, unset: Sequence[str], volumes: Sequence[Mapping[str, Any]], *, alone: bool
) -> Iterator[Path]:
    """A compose file for one run, in memory: a killed agent leaves nothing behind."""
    environment: Mapping[str, str | None] = {**dict.fromkeys(unset), **ENVIRONMENT}
    # No log: what it says is read here, and a second copy of it slows a backup down.
    changes = {"environment": environment, "volumes": volumes, "logging": {"driver": "none"}}
    # To join a network takes a fifth of the start of a container.
    changes |= {"network_mode": "none"} if alone else {}
    content = {"services": {service: changes}}
    handle = os.memfd_create("composia-compose")
    try:
        os.write(handle, json.dumps(content).replace("$", "$$").encode())
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def _again_read_only(mount: ServiceMount) -> Mapping[str, Any]:
    """The same mount once more: what is at the same target is changed by it."""
    again: dict[str, Any] = {"type": mount.type, "target": mount.target, "read_only": True}
    if mount.source:
        again["source"] = mount.source
    if mount.create_host_path is not None:
        again["bind"] = {"create_host_path": mount.create_host_path}
    return again


def _long_form(mount: Mount) -> Mapping[str, Any]:
    """It takes any path, and does not make a source that is missing."""
    return {
        "type": "bind",
        "source": str(mount.source),
        "target": mount.target,
        "read_only": mount.read_only,
        "bind": {"create_host_path": False},
    }
