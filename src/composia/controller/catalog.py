"""The catalog: the Git work tree of the services, read at its commit, kept up with its remote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from pydantic import BaseModel, ConfigDict

from composia.controller import services
from composia.controller.changes import Changes, changes
from composia.controller.commits import Commits, Edit, refuse_stale
from composia.controller.moved import move_nodes, moved
from composia.controller.remembered import Remembered
from composia.controller.worktree import CatalogStatus, WorkTree
from composia.errors import Failure, Invalid, NotFound
from composia.model.catalog import META_FILE, CatalogView
from composia.model.config import ControllerConfig
from composia.tools.age import Identities, is_encrypted
from composia.tools.bundle import ENCRYPTED, bundle
from composia.tools.git import SUBMODULE, Commit, Entry, plain_file
from composia.tools.paths import relative_path
from composia.tools.shell import Shell

__all__ = ["Catalog", "CatalogFile", "CatalogStatus"]

#: Seconds between looks at a work tree without a remote.
GLANCE = 2.0
#: Seconds after which somebody may have pushed again, and that a slow remote is waited for then.
YOUNG = 2.0
PATIENCE = 5.0
#: Bytes of a file that is written through the API.
MAX_FILE = 4 * 1024 * 1024
#: Bytes of a file that is kept in memory once it was read.
SMALL = 64 * 1024
OnChange = Callable[[CatalogView], object]


class CatalogFile(BaseModel):
    """A file as it is at a revision."""

    model_config = ConfigDict(frozen=True)

    path: str
    revision: str
    content: bytes


class Catalog:
    """The services as Git has them. What is only in the work tree is reported and never used."""

    def __init__(
        self, shell: Shell, config: ControllerConfig, on_change: OnChange | None = None
    ) -> None:
        self._nodes = tuple(node.id for node in config.nodes)
        self._tree = WorkTree(shell, config)
        self._git = self._tree.git
        self._commits = Commits(self._tree)
        self._on_change = on_change
        self._identities = _identities(config)
        self._reader = services.Reader(self._identities)
        self._asked = Remembered()
        self._view = CatalogView()
        self._looking = asyncio.Lock()
        self._pulling: asyncio.Task[None] | None = None
        self._catching: set[asyncio.Task[None]] = set()
        #: The pull that was asked for and has not begun yet.
        self._next: asyncio.Task[None] | None = None
        self._at_work = asyncio.Lock()

    @property
    def status(self) -> CatalogStatus:
        """How it stood when it was last looked at."""
        return self._tree.status

    def view(self) -> CatalogView:
        """The services at the commit as it was last seen."""
        return self._view

    async def open(self) -> None:
        """Take the work tree as it is, or make it. Raises Invalid for a folder that is neither.

        A remote that cannot be reached is no error: `status` says so.
        """
        await self._tree.open()
        await self.refresh()

    def start(self) -> None:
        """Keep up with the remote, and with commits in the work tree, until `aclose`."""
        self._pulling = asyncio.create_task(self._keep_up())

    async def aclose(self) -> None:
        """Stop keeping up, when the commit that is being made is made."""
        if self._pulling:
            self._pulling.cancel()
            with suppress(asyncio.CancelledError):
                await self._pulling
        await asyncio.gather(*self._catching, return_exceptions=True)
        await self._tree.aclose()

    async def refresh(self) -> CatalogView:
        """Pull, and look. Never raises for the remote: the last view stays, `status` says why."""
        await self._tree.pull()
        return await self.current()

    async def pull(self) -> CatalogStatus:
        """Pull for somebody who knows that there is something new; how it stands then.

        Those who come while a pull is at work share the next one: it may have looked before.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._pull_next())
            self._catching.add(self._next)
            self._next.add_done_callback(self._catching.discard)
        await asyncio.shield(self._next)
        return self.status

    async def catch_up(self, service: str) -> None:
        """Take what was pushed just now; a remote that is slow or away is not waited for long."""
        if service in self._view.services and self._tree.age < YOUNG:
            return
        catching = asyncio.create_task(self._refresh_if_it_can())
        self._catching.add(catching)
        catching.add_done_callback(self._catching.discard)
        await asyncio.wait({catching}, timeout=PATIENCE)

    async def current(self) -> CatalogView:
        """The services at the commit that the work tree has now."""
        async with self._looking:
            head = await self._git.head()
            revision = head.revision or ""
            if revision != self._view.revision:
                self._changed(await self._reader.view(self._git, revision, self._nodes))
            self._tree.remember(revision=revision, uncommitted=head.uncommitted)
        return self._view

    async def reconfigure(self, config: ControllerConfig) -> None:
        """Take the nodes and the identities of a new config.yaml."""
        async with self._looking:
            self._nodes = tuple(node.id for node in config.nodes)
            self._identities = _identities(config)
            self._reader = services.Reader(self._identities)
            revision = self._view.revision
            self._changed(await self._reader.view(self._git, revision, self._nodes))

    async def bundle(self, folder: str, revision: str) -> bytes:
        """A service's folder as tar, encrypted files in plain. They are kept nowhere.

        Raises NotFound, or Invalid for links that leave it and for what cannot be decrypted.
        """
        await self._known(revision)
        entries = await self._git.tree(revision, folder)
        inside = [entry for entry in entries if entry.path.startswith(f"{folder}/")]
        if not inside:
            raise NotFound(f"there is no folder {folder} in the catalog at {revision[:12]}")
        contents = await self._git.blobs(_shas(inside))
        decrypt = self._identities.decrypted if self._identities else None
        return await asyncio.to_thread(bundle, inside, contents, below=folder, decrypt=decrypt)

    async def files(self, below: str = "", revision: str | None = None) -> tuple[str, ...]:
        """The paths of all files, or of those in a folder; now, or at a revision."""
        at = revision or (await self.current()).revision
        entries = await self._tree_at(at, _inside(below) if below else None) if at else ()
        return tuple(entry.path for entry in entries)

    async def read(self, path: str, revision: str | None = None) -> CatalogFile:
        """A file, now or at a revision. Raises NotFound."""
        name = _inside(path)
        at = revision or (await self.current()).revision
        if at != self._view.revision:
            await self._known(at)
        entry = plain_file(name, await self._tree_at(at, name))
        if entry is None:
            raise NotFound(
                f"there is no file {name} in the catalog at {at[:12]}",
                hint="`composia catalog files` lists all of them.",
            )
        content = await self._content(entry)
        return CatalogFile(path=name, revision=at, content=content)

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        if_match: str | None,
        author: str | None = None,
        message: str | None = None,
    ) -> str:
        """Commit a file, and push it; the new revision. The message says by default what changed.

        `if_match` is the revision that the writer has seen, empty for a catalog without a commit,
        `*` for whatever there is. Raises Stale when the catalog has moved on since, Conflict while
        it cannot take commits, and Failure, with nothing changed, when its remote does not take it.
        """
        name = _inside(path)
        _refuse_large(content)
        _refuse_plain(name, content)
        return await self._tree.undisturbed(self._write(name, content, if_match, author, message))

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> str:
        """Commit `nodes` of a service's meta file on top of today's head, and push it.

        The revision that has it so. Raises Conflict where they are neither as they were nor as
        wanted, or the catalog cannot take commits; Failure when the remote cannot be reached, or
        does not take it.
        """
        name = _inside(f"{folder}/{META_FILE}")
        edit = partial(move_nodes, name, service, nodes, was)
        message = moved(service, nodes, was)
        await self.refresh()
        self._tree.refuse_unreachable()
        return await self._tree.undisturbed(self._edit(name, edit, message))

    async def history(
        self, path: str | None = None, limit: int = 50, revision: str | None = None
    ) -> tuple[Commit, ...]:
        """The newest commits, of one file or folder or of all; up to now, or to a revision."""
        at = revision or (await self.current()).revision
        name = _inside(path) if path else None
        if not at:
            return ()
        return await self._asked.answer(
            ("log", at, name, limit), lambda: self._git.log(at, name, limit)
        )

    async def commit(self, revision: str, path: str) -> Changes:
        """What a commit has changed at and below a path. Raises NotFound for one that has not."""
        await self._known(revision)
        name = _inside(path)
        found = await self.history(name, 1, revision)
        if not found or found[0].revision != revision:
            raise NotFound(f"the commit {revision[:12]} has changed nothing in {name}")
        parent = found[0].parent
        before = await self._tree_at(parent, name) if parent else ()
        return await changes(self._git, found[0], before, await self._tree_at(revision, name))

    async def _content(self, entry: Entry) -> bytes:
        ask = partial(self._git.blobs, [entry.sha])
        if entry.size > SMALL:
            return (await ask())[entry.sha]
        return (await self._asked.answer(("blob", entry.sha), ask))[entry.sha]

    async def _tree_at(self, revision: str, path: str | None) -> tuple[Entry, ...]:
        return await self._asked.answer(
            ("tree", revision, path), lambda: self._git.tree(revision, path)
        )

    async def _keep_up(self) -> None:
        config = self._tree.config
        interval = config.pull_interval if config.remote_url else GLANCE
        while True:
            await asyncio.sleep(interval)
            await self._refresh_if_it_can()

    async def _pull_next(self) -> None:
        async with self._at_work:
            self._next = None
            await self._refresh_if_it_can()

    async def _refresh_if_it_can(self) -> None:
        try:
            await self.refresh()
        except Failure as error:
            self._tree.unreadable(error)

    def _changed(self, view: CatalogView) -> None:
        changed = view != self._view
        self._view = view
        if changed and self._on_change:
            self._on_change(view)

    async def _write(
        self,
        name: str,
        content: bytes,
        if_match: str | None,
        author: str | None,
        message: str | None,
    ) -> str:
        async with self._tree.moving:
            head = (await self.current()).revision
            refuse_stale(head, if_match)
            made = await self._commits.write(head, name, content, author, message)
            await self.current()
            return made

    async def _edit(self, name: str, edit: Edit, message: str) -> str:
        async with self._tree.moving:
            head = (await self.current()).revision
            if not head:
                raise NotFound("the catalog has no commit yet")
            made = await self._commits.edit(head, name, edit, message)
            await self.current()
            return made

    async def _known(self, revision: str) -> None:
        is_hex = len(revision) == 40 and set(revision) <= set("0123456789abcdef")
        if not is_hex or await self._git.revision(revision) is None:
            raise NotFound(f"the catalog has no revision {revision[:40] or 'yet'}")


def _identities(config: ControllerConfig) -> Identities | None:
    return Identities.parse(config.secrets.identity.get_secret_value()) if config.secrets else None


def _inside(path: str) -> str:
    try:
        name = relative_path(path)
    except ValueError as error:
        raise Invalid(f"the path is refused: {error}") from error
    if any(part.lower() == ".git" for part in name.split("/")):
        raise Invalid("the path is refused: `.git` is Git's own")
    return name


def _refuse_large(content: bytes) -> None:
    if len(content) > MAX_FILE:
        raise Invalid(f"a file of the catalog may have at most {MAX_FILE // 1024 // 1024} MiB")


def _refuse_plain(name: str, content: bytes) -> None:
    # What Git has once, it has for ever, and its remote too.
    if name.endswith(ENCRYPTED) and not is_encrypted(content):
        raise Invalid(
            f"{name} is to be encrypted, and this is plain text: it was not committed",
            hint=f"Encrypt it first: composia catalog encrypt {name.removesuffix(ENCRYPTED)}",
        )


def _shas(entries: list[Entry]) -> list[str]:
    return [entry.sha for entry in entries if entry.mode != SUBMODULE]
