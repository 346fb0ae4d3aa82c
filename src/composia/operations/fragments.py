"""A service's fragment in this node's Caddy: put, taken away, and known to be loaded.

The order of writes: the whole configuration is validated on a copy, the fragment takes its place
in one rename, Caddy reloads, and only then it is written down what Caddy has. So whenever a Caddy
starts it reads a configuration that was validated, and what is not known is done again.

A forward's end, and what it trusts, are there before it is, and until nothing could bring it back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import CommandFailed, Failure
from composia.model.service import CaddyRef
from composia.operations import forwarded
from composia.operations.forwarded import Forward
from composia.strategies.base import Site
from composia.tools import durable, plain_file
from composia.tools.caddy import Caddy
from composia.tools.exchange import Place
from composia.tools.threads import in_thread

FILE = "caddy.json"
#: Bytes a fragment may have: many times what anybody writes by hand.
LARGEST = 1024 * 1024


class Placed(BaseModel):
    """What became of a fragment; warnings are for people."""

    model_config = ConfigDict(frozen=True)

    changed: bool = False
    warnings: tuple[str, ...] = ()


class Loaded(BaseModel):
    """What the running Caddy has of a service, as far as we know."""

    model_config = ConfigDict(frozen=True)

    #: Digest of the fragment it has loaded; None: it has none.
    fragment: str | None = None
    #: The configuration that was validated last, as `Caddy.picture` draws it.
    checked: str | None = None


def file_name(service: str) -> str:
    """The fragment's file in Caddy's folder of generated files."""
    return f"{service}.caddy"


async def settle(site: Site, ref: CaddyRef | None, *, started: bool = False) -> Placed:
    """Give Caddy what the files of the service say; cheap where it has that.

    `started`: whether containers of the service have just been started.

    Without Caddy, or while it is down, that is a warning. Raises Failure for a fragment that is
    missing, and Invalid for one that Caddy refuses.
    """
    if ref is None:
        return Placed()
    caddy = site.caddy
    if caddy is None:
        return Placed(warnings=(without_caddy(site),) if ref.source else ())
    placed = await bring(site, caddy, source(site, ref))
    if ref.service.name == site.service and site.files_changed and not started:
        # Caddy's own files: no container starts anew for a Caddyfile that is mounted.
        async with caddy.turn:
            await load(site, caddy)
    return placed


def without_caddy(site: Site) -> str:
    """Why there is no Caddy to work with."""
    return f"node {site.node} has no agent.caddy.generated_dir: Caddy does not get the fragment"


def source(site: Site, ref: CaddyRef) -> bytes | None:
    """The fragment among the service's files here; None where it has none. Raises Failure."""
    if ref.source is None:
        return None
    try:
        return _read(Place(below=site.folder, path=site.folder / ref.source))
    except FileNotFoundError as error:
        raise missing(ref.source, site) from error
    except OSError as error:
        raise unreadable(ref.source, site, error.strerror or str(error)) from error
    except Failure as error:
        raise unreadable(ref.source, site, str(error)) from error


def _read(place: Place) -> bytes:
    with place.parent() as folder:
        opened = plain_file.opened(place.path.name, folder=folder)
    with os.fdopen(opened, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Failure(f"it is too large, more than {LARGEST >> 10} KiB")
    return content


def unreadable(path: str, site: Site, why: str) -> Failure:
    """The error of what stands where the meta file names a fragment and is none."""
    return Failure(
        f"./{path} of {site.service} cannot be read as a fragment for Caddy: {why}",
        hint="Put a plain file there: links are not followed, for they may lead out of the folder.",
    )


def missing(path: str, site: Site) -> Failure:
    """The error of a fragment that is not where the meta file says."""
    return Failure(
        f"{site.service} has no file ./{path} for Caddy",
        hint="Add it to the service's folder, or correct network.caddy.source.",
    )


async def bring(site: Site, caddy: Caddy, content: bytes | None, *, must: bool = False) -> Placed:
    """Have Caddy serve this content as the service's fragment; None: nothing of it.

    Raises Invalid where Caddy refuses it, and with `must` Failure where Caddy does not run.
    """
    async with caddy.turn:
        if is_loaded(site, caddy, content):
            forwarded.forget(site.state)
            return Placed()
        runs = await (caddy.comes_up() if must else caddy.runs())
        if must and not runs:
            raise down(site)
        try:
            await checked(site, caddy, content)
        except CommandFailed as error:
            if runs or must:
                raise
            return Placed(warnings=(f"the fragment was not put: {error.message}",))
        return await _put_and_load(site, caddy, content, runs=runs)


async def _put_and_load(site: Site, caddy: Caddy, content: bytes | None, *, runs: bool) -> Placed:
    before = caddy.read(name := file_name(site.service))
    await put(site, caddy, content)
    if not runs:
        forwarded.forget(site.state)
        return Placed(changed=before != content, warnings=(down(site).message,))
    try:
        await load(site, caddy)
    except CommandFailed:
        await in_thread(caddy.replace, name, before)
        raise
    forwarded.forget(site.state)
    return Placed(changed=True)


async def checked(site: Site, caddy: Caddy, content: bytes | None) -> None:
    """Have the configuration validated with this content, unless it just was. Raises Invalid."""
    changes = {file_name(site.service): content}
    picture = await asyncio.to_thread(caddy.picture, changes)
    known = read(site.state)
    if known.checked == picture:
        return
    site.notes.log("Caddy validates its configuration")
    await caddy.check(changes)
    keep(site.state, known.model_copy(update={"checked": picture}))


async def put(
    site: Site, caddy: Caddy, content: bytes | None, forward: Forward | None = None
) -> None:
    """Put the file in its place; what is known of a forward stays, or becomes that of this one."""
    await site.notes.note("placing_fragment")
    if forward:
        # First: whatever forwards is known to have an end.
        forwarded.keep(site.state, forward)
    try:
        await in_thread(caddy.replace, file_name(site.service), content)
    except OSError as error:
        raise Failure(
            f"{caddy.generated} cannot be written: {error.strerror}",
            hint="Check agent.caddy.generated_dir and the disk of this node.",
        ) from error
    await site.notes.note("fragment_placed")


async def load(site: Site, caddy: Caddy) -> None:
    """Reload Caddy, and write down what it has then. Raises CommandFailed."""
    content = caddy.read(file_name(site.service))
    await caddy.reload()
    known = read(site.state)
    keep(site.state, known.model_copy(update={"fragment": digest(content)}))


def is_loaded(site: Site, caddy: Caddy, content: bytes | None) -> bool:
    """Whether Caddy is known to have this content, on the disk and loaded."""
    there = caddy.read(file_name(site.service))
    return there == content and read(site.state).fragment == digest(content)


def down(site: Site) -> Failure:
    """Caddy is not there to reload."""
    return Failure(
        f"Caddy does not run on {site.node}: what it is given takes effect when it starts",
        hint="Deploy the service with `infra.caddy`, then: "
        f"composia services caddy-sync {site.service}",
    )


def read(state: Path) -> Loaded:
    """What is known of a service."""
    return durable.read(state / FILE, Loaded) or Loaded()


def keep(state: Path, loaded: Loaded) -> None:
    """Write it down, on the disk when this returns."""
    durable.keep(state / FILE, loaded)


def digest(content: bytes | None) -> str | None:
    """One content, one word."""
    return None if content is None else hashlib.sha256(content).hexdigest()
