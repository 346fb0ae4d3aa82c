"""A database by itself on a data folder, a fresh one or the live one: nobody else reaches it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from composia.errors import Failure, NotFound
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.strategies.put_back import Target, lies_with_the_others, real_volume, volume_target
from composia.tools import exchange, looks
from composia.tools.cancelling import to_the_end
from composia.tools.compose import ComposeService, ServiceMount, explained
from composia.tools.exchange import Place
from composia.tools.shell import Command, Finished

#: Where the image keeps its data when nothing says otherwise.
PGDATA = "/var/lib/postgresql/data"
#: Seconds between two looks.
POLL = 0.2
#: Seconds a large database may take to write everything down at its stop.
STOP = 3600
#: A first start answers on the socket while it is being filled, and restarts: TCP says that it is
#: done. One without TCP is done when the entry point has become the server.
READY = """
pg_isready -qh 127.0.0.1 && exit 0
read -r first </proc/1/comm
[ "$first" = postgres ] && pg_isready -q
"""
#: How the image's command begins, and what one is told that must not archive.
SERVER = "postgres"
NO_ARCHIVE = ("-c", "archive_mode=off")
#: Where the image puts its sockets when nothing says otherwise, and how their names begin.
SOCKETS = ("/var/run/postgresql", "/run/postgresql")
SOCKET = ".s.PGSQL."
#: Nobody reaches it: no network, no ports, no name of its own, and it does not come back. A newer
#: image might not open the data.
OVERRIDE = """services:
  {service}:
    pull_policy: missing
    network_mode: none
    networks: !reset null
    ports: !reset []
    expose: !reset []
    links: !reset []
    external_links: !reset []
    extra_hosts: !reset []
    dns: !reset []
    mac_address: !reset null
    container_name: !reset null
    restart: "no"
    volumes:
      - {{type: {type}, source: {source}, target: {target}}}
"""
OVERRIDE_SOCKETS = """      - {{type: bind, source: {source}, target: {target}}}
"""
OVERRIDE_VOLUME = """volumes:
  composia-alone:
    external: true
    name: {name}
"""
#: Lines that may quote a statement, and with it a password.
TELLTALE = re.compile(r"PASSWORD|SCRAM-SHA|STATEMENT:|^LINE |CONTEXT:", re.IGNORECASE)


@dataclass(frozen=True)
class Mounted:
    """A data folder for a database by itself: what is mounted where."""

    service: str
    #: What the container mounts, on this machine, and the volume that it is, if it is one.
    folder: Path
    volume: str | None
    mounted_at: str
    #: Mounts in which a server puts its sockets: with them whoever has them too would reach this
    #: one instead of the live one, which would be left without.
    sockets: tuple[str, ...]
    #: What its container is told to run; empty: as always.
    command: tuple[str, ...]


@dataclass(frozen=True)
class Beside(Mounted):
    """A fresh data folder, and what it will be exchanged for."""

    swap: Swap


@dataclass(frozen=True, slots=True)
class _Where:
    """The mount of a compose service that holds its data folder."""

    live: Target
    mounted_at: str
    #: The data folder inside it; "." where it is the mount itself.
    inside: str
    known_as: str


async def live(name: str, site: Site) -> Mounted:
    """The live data folder of a database that is stopped. Raises Failure where there is none."""
    service = await _service(name, site)
    where = await _where(service, site)
    sockets = await _sockets(service, where.mounted_at, site)
    return Mounted(name, where.live.path, where.live.volume, where.mounted_at, sockets, ())


async def prepare(name: str, item: str, site: Site) -> Beside:
    """Find the data folder and make a fresh place beside it. Raises Failure where there is none."""
    service = await _service(name, site)
    where = await _where(service, site)
    aside = Aside(site.aside, site.task)
    volume = None
    if where.live.docker_keeps and await asyncio.to_thread(lies_with_the_others, where.live.path):
        made = await aside.volume(site.docker, item, "import")
        folder, volume = made.mountpoint, made.name
    else:
        folder = await asyncio.to_thread(aside.beside, where.live.path, item)
        await asyncio.to_thread(_make_like, folder, where.live, service)
    live, staged = where.live.path / where.inside, folder / where.inside
    swap = Swap(
        live=live,
        staged=staged,
        below=where.live.below,
        known_as=where.known_as,
        volume=where.live.volume,
        atomic=exchange.exchangeable(live, staged),
        staging_volume=volume,
    )
    sockets = await _sockets(service, where.mounted_at, site)
    command = await _without_archive(service, site)
    return Beside(name, folder, volume, where.mounted_at, sockets, command, swap)


async def _service(name: str, site: Site) -> ComposeService:
    services = (await site.compose.config()).services
    if name not in services:
        raise Failure(
            f"`{name}` is no service in the compose file of {site.service}",
            hint=f"Its services: {', '.join(sorted(services))}.",
        )
    return services[name]


async def _where(service: ComposeService, site: Site) -> _Where:
    pgdata = await _pgdata(service, site)
    mounts = [*service.mounts, *await _anonymous(service, site)]
    holding = [
        mount
        for mount in mounts
        if mount.type in ("volume", "bind")
        and mount.source
        and PurePosixPath(pgdata).is_relative_to(mount.target)
    ]
    if not holding:
        raise Failure(
            f"service {service.name} of {site.service} keeps {pgdata} in no volume or folder",
            hint="Mount a named volume there, so that its data outlives the container.",
        )
    # The innermost mount is the one that the server writes to.
    mount = max(holding, key=lambda one: len(PurePosixPath(one.target).parts))
    inside = str(PurePosixPath(pgdata).relative_to(mount.target))
    live = await _live(mount, site)
    known = _known_as(mount, live, site)
    return _Where(live, mount.target, inside, known)


async def _pgdata(service: ComposeService, site: Site) -> str:
    if given := service.environment.get("PGDATA"):
        return given
    config = await site.docker.image_config(await _image(service, site))
    env = dict(line.partition("=")[::2] for line in config.get("Env") or ())
    return env.get("PGDATA") or PGDATA


async def _image(service: ComposeService, site: Site) -> str:
    image = service.image or f"{site.compose.project}-{service.name}"
    try:
        await site.docker.image_config(image)
    except NotFound:
        verb = ("pull", "--quiet") if service.image else ("build", "--quiet")
        command = site.compose.command(*verb, service.name)
        finished = await site.compose.shell.run(command, check=False)
        if finished.code != 0:
            raise explained(f"docker compose {verb[0]} {service.name}", finished) from None
    return image


async def _anonymous(service: ComposeService, site: Site) -> list[ServiceMount]:
    """Volumes that the image asks for and the compose file does not name."""
    return [
        ServiceMount(
            type="volume", source=f"={mount.name}", target=mount.destination, read_only=False
        )
        for container in await site.docker.containers(project=site.compose.project)
        if container.compose_service == service.name and not container.is_one_off
        for mount in container.mounts
        if mount.type == "volume"
        and mount.destination not in {named.target for named in service.mounts}
    ]


async def _live(mount: ServiceMount, site: Site) -> Target:
    assert mount.source
    if mount.type == "volume":
        key, _, real = mount.source.partition("=")
        if real:
            return await real_volume(real, f"volumes/{key}", site)
        return await volume_target(key, site)
    path = Path(os.path.realpath(mount.source))
    folder = Path(os.path.realpath(site.folder))
    below = folder if path != folder and path.is_relative_to(folder) else path.parent
    return Target(f"files/{path}", path, below)


async def _without_archive(service: ComposeService, site: Site) -> tuple[str, ...]:
    """The server, so that it writes nothing over what the live one has put into its archive.

    Both count from the same first name. Whatever else it is that runs, it is left as it is.
    """
    command = service.command
    if command is None and service.entrypoint is None:
        config = await site.docker.image_config(await _image(service, site))
        command = tuple(config.get("Cmd") or ())
    if command and (command[0] == SERVER or command[0].startswith("-")):
        return (*command, *NO_ARCHIVE)
    return ()


async def _sockets(service: ComposeService, data: str, site: Site) -> tuple[str, ...]:
    """The mounts in which it puts its sockets, as far as can be seen; never the data's own.

    That is another folder as it is, and no second mount may lie over it.
    """
    mounts = [mount for mount in service.mounts if mount.type in ("volume", "bind")]
    others = [mount for mount in mounts if not _is_at(mount, data)]
    found = [mount for mount in others if mount.target in SOCKETS or await _has_some(mount, site)]
    return tuple(mount.target for mount in found)


def _is_at(mount: ServiceMount, target: str) -> bool:
    return PurePosixPath(mount.target) == PurePosixPath(target)


async def _has_some(mount: ServiceMount, site: Site) -> bool:
    folder = Path(mount.source) if mount.source and mount.type == "bind" else None
    declared = (await site.compose.config()).volumes.get(mount.source or "")
    if mount.type == "volume" and declared:
        volume = await site.docker.volume(declared.name)
        folder = volume.data if volume else None
    return folder is not None and await asyncio.to_thread(_lie_in, folder)


def _lie_in(folder: Path) -> bool:
    try:
        return any(name.startswith(SOCKET) for name in os.listdir(folder))
    except OSError:
        return False


def _known_as(mount: ServiceMount, live: Target, site: Site) -> str:
    if mount.type == "volume":
        return str(mount.source).lstrip("=")
    folder = Path(os.path.realpath(site.folder))
    inside = live.path.is_relative_to(folder)
    return f"./{live.path.relative_to(folder)}" if inside else str(live.path)


def _make_like(folder: Path, live: Target, service: ComposeService) -> None:
    """A folder that the container's own user may write to, as it may to the live one."""
    folder.mkdir(mode=0o755)
    if live.path.is_dir():
        look = looks.take(Place(below=live.below, path=live.path))
        looks.wear(Place(below=folder.parent, path=folder), look)
    elif found := re.fullmatch(r"(\d+)(?::(\d+))?", service.user or ""):
        os.chown(folder, int(found[1]), int(found[2] or found[1]))


async def start(name: str, mounted: Mounted, site: Site) -> None:
    """Start the database by itself, as its image does it on an empty folder."""
    aside = Aside(site.aside, site.task)
    override = aside.folder / f"{name}.compose.yaml"
    private = [aside.folder / f"{name}.sockets-{at}" for at, _ in enumerate(mounted.sockets)]
    for folder in private:
        await asyncio.to_thread(_make_for_all, folder)
    await asyncio.to_thread(override.write_text, _override(mounted, private))
    project = site.compose.with_override(override)
    words = ("run", "-d", "--no-deps", "-T", "--name", name, mounted.service, *mounted.command)
    finished = await site.compose.shell.run(project.command(*words), check=False)
    if finished.code != 0:
        raise explained(f"docker compose run {mounted.service} of {site.service}", finished)


def _make_for_all(folder: Path) -> None:
    """A folder that whichever user the server runs as may write to."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)


def _override(mounted: Mounted, private: Iterable[Path]) -> str:
    volume = mounted.volume
    text = OVERRIDE.format(
        service=_quoted(mounted.service),
        type="volume" if volume else "bind",
        source="composia-alone" if volume else _quoted(str(mounted.folder)),
        target=_quoted(mounted.mounted_at),
    )
    for folder, target in zip(private, mounted.sockets, strict=True):
        text += OVERRIDE_SOCKETS.format(source=_quoted(str(folder)), target=_quoted(target))
    return text + (OVERRIDE_VOLUME.format(name=_quoted(volume)) if volume else "")


def _quoted(text: str) -> str:
    return json.dumps(text).replace("$", "$$")


@asynccontextmanager
async def alone(name: str, mounted: Mounted, site: Site) -> AsyncIterator[str]:
    """The database by itself, answering; answers its container, gone afterwards.

    Its name must stand in a note already. Raises Failure when it does not start.
    """
    try:
        await start(name, mounted, site)
        await wait_until_ready(name, mounted.service, site)
        yield name
    finally:
        await to_the_end(site.docker.kill_and_remove(name))


async def wait_until_ready(container: str, service: str, site: Site) -> None:
    """Until it has been filled and answers. Raises Failure when it ends before."""
    while (await inside(container, READY, site)).code != 0:
        state, _ = await _state(container, site)
        if state != "running":
            said = safe((await _docker(site, "logs", "--tail", "20", container)).complaint)
            raise Failure(
                f"service {service} of {site.service} did not start by itself: {said}",
                hint="With the settings of its compose file it must start without a network, and on"
                " an empty volume for an import.",
            )
        await asyncio.sleep(POLL)


async def stop(container: str, site: Site) -> None:
    """Stop it cleanly. Raises Failure when it had to be killed: its data would not be whole."""
    await _docker(site, "stop", "--time", str(STOP), container)
    state, code = await _state(container, site)
    if (state, code) != ("exited", 0):
        raise Failure(f"the database with the imported data ended with code {code}, not cleanly")


async def inside(
    container: str, script: str, site: Site, *, user: str | None = None, word: str = ""
) -> Finished:
    """A constant script in the container; what varies is its first argument."""
    return await site.compose.shell.run(exec_(container, script, user=user, word=word), check=False)


def exec_(container: str, script: str, *, user: str | None = None, word: str = "") -> Command:
    """The same as a value."""
    whose = ("--user", user) if user else ()
    return Command(("docker", "exec", "-i", *whose, container, "sh", "-c", script, "sh", word))


async def _state(container: str, site: Site) -> tuple[str, int | None]:
    for found in await site.docker.containers(project=site.compose.project):
        if found.name == container:
            return found.state, found.exit_code
    return "gone", None


async def _docker(site: Site, *words: str) -> Finished:
    return await site.compose.shell.run(Command(("docker", *words)), check=False)


def safe(said: str) -> str:
    """A complaint without the lines that may quote a statement: passwords stand in them."""
    lines: Iterable[str] = said.splitlines()
    return "\n".join(line for line in lines if not TELLTALE.search(line)) or "(not shown)"
