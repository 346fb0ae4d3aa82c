"""Whether the image of the service with `infra.rustic` is here, and new enough."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composia.cli.check import Check, fail, numbers, ok, warn
from composia.errors import ComposiaError
from composia.model.catalog import COMPOSE_FILES
from composia.model.config import Config
from composia.model.meta import Meta
from composia.tools.docker import Docker
from composia.tools.parsing import parse
from composia.tools.rustic_service import OLDEST, ways_to_call
from composia.tools.shell import Command, Finished, Shell
from composia.tools.yaml import load

#: Seconds within which a program tells its version.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Declared:
    """The compose service that runs rustic, as far as its files say it without compose."""

    service: str
    image: str
    is_built: bool
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None


async def rustic_image(config: Config, docker: Docker, shell: Shell) -> Check:
    """The image of the service with `infra.rustic`."""
    roots = [config.controller.repo_dir] if config.controller else []
    roots += [config.agent.repo_dir] if config.agent else []
    found = next((one for root in roots for one in _declared(root)), None)
    if found is None:
        return warn(
            "rustic",
            "no service with infra.rustic was found here",
            "Backups need one; `composia init` writes an example. It may be pulled later.",
        )
    try:
        image = await docker.image_config(found.image)
    except ComposiaError:
        return _missing(found)
    entry = found.entrypoint
    try:
        return await _version(found, image.get("Entrypoint") if entry is None else entry, shell)
    except ComposiaError as error:
        return fail("rustic", f"the image {found.image} cannot be run: {error.message}", _NEEDED)


_NEEDED = f"Its image must have rustic {OLDEST} or newer, as its entry point or on PATH."


def _missing(found: Declared) -> Check:
    if found.is_built:
        message = f"the image {found.image} is not built on this machine"
        return warn("rustic", message, f"A deploy builds it: composia deploy {found.service}")
    message = f"the image {found.image} is not on this machine"
    return warn("rustic", message, f"docker pull {found.image}")


async def _version(found: Declared, entry: Sequence[str] | None, shell: Shell) -> Check:
    said = []
    for program in ways_to_call(entry, found.command):
        finished = await _asked(found, program, shell)
        version = finished.stdout.decode(errors="replace").strip()
        if finished.code == 0 and version.startswith("rustic "):
            return _new_enough(found, version)
        first_line = finished.complaint.partition("\n")[0]
        said.append(first_line or f"it ended with code {finished.code}")
    return fail("rustic", f"the image {found.image} does not run rustic: {said[0]}", _NEEDED)


def _new_enough(found: Declared, version: str) -> Check:
    if numbers(version) < numbers(OLDEST):
        message = f"{version}, in the image {found.image}, is too old"
        return fail("rustic", message, f"Use one with rustic {OLDEST} or newer.")
    return ok("rustic", f"{version}, in the image {found.image}")


async def _asked(found: Declared, program: Sequence[str], shell: Shell) -> Finished:
    name = f"composia-doctor-{secrets.token_hex(6)}"
    first, rest = ((found.entrypoint or ("",))[0], (found.entrypoint or ())[1:])
    own = () if found.entrypoint is None else ("--entrypoint", first)
    run = ("docker", "run", "--rm", "--name", name, "--network=none", "--pull=never", *own)
    words = (*run, found.image, *rest, *program, "--version")
    try:
        return await shell.run(Command(words, silence=PATIENCE), check=False)
    except ComposiaError:
        # The client has gone, what it had started has not.
        await shell.run(Command(("docker", "rm", "--force", name)), check=False)
        raise


def _declared(root: Path) -> Iterator[Declared]:
    for file in sorted(root.glob("*/composia-meta.yaml")):
        try:
            meta = parse(load(file.read_bytes(), str(file)), Meta)
            if meta.infra.rustic:
                yield _read(file.parent, meta, meta.infra.rustic.compose_service)
        except (ComposiaError, OSError, ValueError):
            continue


def _read(folder: Path, meta: Meta, name: str) -> Declared:
    usual = [file for file in COMPOSE_FILES if (folder / file).is_file()][:1]
    keys: dict[str, Any] = {}
    for file in meta.compose_files or usual:
        keys |= _service(folder / file, name)
    image = keys.get("image")
    return Declared(
        service=meta.name,
        image=image if isinstance(image, str) else f"{meta.project}-{name}",
        is_built="build" in keys or not isinstance(image, str),
        entrypoint=_words(keys.get("entrypoint")),
        command=_words(keys.get("command")),
    )


def _service(file: Path, name: str) -> dict[str, Any]:
    found: Any = load(file.read_bytes(), str(file)).data if file.is_file() else None
    for key in ("services", name):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _words(value: Any) -> tuple[str, ...] | None:
    """As compose splits an entry point or command. Raises ValueError for a quote left open."""
    if isinstance(value, str):
        return tuple(shlex.split(value))
    return tuple(map(str, value)) if isinstance(value, list) else None
