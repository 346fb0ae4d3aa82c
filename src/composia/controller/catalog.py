"""The catalog: the Git work tree of the services, read at its commit, kept up with its remote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict

from composia.controller import services
from composia.errors import CommandFailed, Conflict, Failure, Invalid, NotFound, Stale
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig, GitConfig
from composia.tools.bundle import LINK, SUBMODULE, bundle
from composia.tools.git import Commit, Credentials, Entry, Git, Person, reason
from composia.tools.paths import relative_path
from composia.tools.shell import Shell

#: Seconds between looks at a work tree without a remote.
GLANCE = 2.0
#: Bytes of a file that is written through the API.
MAX_FILE = 4 * 1024 * 1024
#: How often a write starts again because somebody else pushed first.
ATTEMPTS = 5

OnChange = Callable[[CatalogView], object]
log = structlog.get_logger()


class CatalogState(StrEnum):
    FRESH = "fresh"
    UNREACHABLE = "unreachable"
    DIVERGED = "diverged"
    BLOCKED = "blocked"


class CatalogStatus(BaseModel):
    """How the work tree stands to its remote, and what keeps it from following."""

    model_config = ConfigDict(frozen=True)

    state: CatalogState = CatalogState.FRESH
    revision: str = ""
    remote: str | None = None
    #: When it was last known to be up to date.
    pulled_at: datetime | None = None
    message: str | None = None
    hint: str | None = None
    #: Paths edited in the work tree and not committed: they are not used.
    uncommitted: tuple[str, ...] = ()


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
        self._folder = config.repo_dir
        self._config: GitConfig = config.git
        self._nodes = tuple(node.id for node in config.nodes)
        self._git = Git(shell, config.repo_dir, _credentials(config.git))
        self._on_change = on_change
        self._reader = services.Reader()
        self._view = CatalogView()
        self._status = CatalogStatus(remote=config.git.remote_url)
        self._moving = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._pulling: asyncio.Task[None] | None = None

    @property
    def status(self) -> CatalogStatus:
        """How it stood when it was last looked at."""
        return self._status

    def view(self) -> CatalogView:
        """The services at the commit as it was last seen."""
        return self._view

    async def open(self) -> None:
        """Take the work tree as it is, or make it. Raises Invalid for a folder that is neither.

        A remote that cannot be reached is no error: `status` says so.
        """
        if not self._git.is_there:
            self._refuse_foreign_files()
            self._folder.mkdir(parents=True, exist_ok=True)
            await self._git.init(self._config.branch)
        if self._config.remote_url:
            await self._git.set_remote(self._config.remote_url)
        await self.refresh()

    def start(self) -> None:
        """Keep up with the remote, and with commits in the work tree, until `aclose`."""
        self._pulling = asyncio.create_task(self._keep_up())

    async def aclose(self) -> None:
        """Stop keeping up."""
        if self._pulling:
            self._pulling.cancel()
            with suppress(asyncio.CancelledError):
                await self._pulling

    async def refresh(self) -> CatalogView:
        """Pull, and look. Never raises for the remote: the last view stays, `status` says why."""
        await self._pull()
        return await self.current()

    async def current(self) -> CatalogView:
        """The services at the commit that the work tree has now."""
        async with self._looking:
            revision = await self._git.revision("HEAD") or ""
            if revision != self._view.revision:
                self._changed(await self._reader.view(self._git, revision, self._nodes))
            uncommitted = await self._git.uncommitted()
            self._say(revision=revision, uncommitted=uncommitted)
        return self._view

    async def reconfigure(self, config: ControllerConfig) -> None:
        """Check the services against the nodes of a new config.yaml."""
        self._nodes = tuple(node.id for node in config.nodes)
        revision = self._view.revision
        self._changed(await self._reader.view(self._git, revision, self._nodes))

    async def bundle(self, folder: str, revision: str) -> bytes:
        """A service's folder as tar. Raises NotFound, or Invalid for links that leave it."""
        await self._known(revision)
        entries = await self._git.tree(revision, folder)
        inside = [entry for entry in entries if entry.path.startswith(f"{folder}/")]
        if not inside:
            raise NotFound(f"there is no folder {folder} in the catalog at {revision[:12]}")
        contents = await self._git.blobs(_shas(inside))
        return await asyncio.to_thread(bundle, inside, contents, below=folder)

    async def files(self, below: str = "") -> tuple[str, ...]:
        """The paths of all files, or of those in a folder."""
        revision = (await self.current()).revision
        entries = (
            await self._git.tree(revision, _inside(below) if below else None) if revision else ()
        )
        return tuple(entry.path for entry in entries)

    async def read(self, path: str, revision: str | None = None) -> CatalogFile:
        """A file, now or at a revision. Raises NotFound."""
        name = _inside(path)
        at = revision or (await self.current()).revision
        await self._known(at)
        entry = _file(name, await self._git.tree(at, name))
        if entry is None:
            raise NotFound(f"there is no file {name} in the catalog at {at[:12]}")
        contents = await self._git.blobs([entry.sha])
        return CatalogFile(path=name, revision=at, content=contents[entry.sha])

    async def write(
        self, path: str, content: bytes, *, if_match: str | None, author: str | None = None
    ) -> str:
        """Commit a file, and push it; the new revision.

        `if_match` is the revision that the writer has seen, empty for a catalog without a commit.
        Raises Stale when the catalog has moved on since, Conflict while it cannot take commits,
        and Failure, with nothing changed, when the remote does not take it.
        """
        name = _inside(path)
        _refuse_large(content)
        # A caller who goes away must not leave Git's lock behind.
        return await asyncio.shield(self._write(name, content, if_match, author))

    async def history(self, path: str | None = None, limit: int = 50) -> tuple[Commit, ...]:
        """The newest commits, of one file or folder or of all."""
        revision = (await self.current()).revision
        name = _inside(path) if path else None
        return await self._git.log(revision, name, limit) if revision else ()

    def _refuse_foreign_files(self) -> None:
        if self._folder.is_dir() and any(self._folder.iterdir()):
            raise Invalid(
                f"controller.repo_dir {self._folder} holds files and is not a Git work tree",
                hint=f"Name an empty folder, or run there: git init -b {self._config.branch} && "
                "git add -A && git commit -m 'Add the services'",
            )

    async def _keep_up(self) -> None:
        interval = self._config.pull_interval if self._config.remote_url else GLANCE
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
            except Failure as error:
                self._say(CatalogState.BLOCKED, f"the work tree cannot be read: {reason(error)}")

    def _changed(self, view: CatalogView) -> None:
        changed = view != self._view
        self._view = view
        if changed and self._on_change:
            self._on_change(view)

    async def _pull(self) -> None:
        if not self._config.remote_url:
            return
        try:
            theirs = await self._git.fetch(self._config.branch)
        except Failure as error:
            self._unreachable(error)
            return
        async with self._moving:
            await asyncio.shield(self._follow(theirs))

    async def _follow(self, theirs: str | None) -> None:
        branch, mine = await self._git.branch(), await self._git.revision("HEAD")
        if branch != self._config.branch:
            self._say(
                CatalogState.BLOCKED,
                f"{self._folder} is on branch {branch}, not on {self._config.branch}",
                f"git -C {self._folder} checkout {self._config.branch}",
            )
        elif theirs is None or theirs == mine:
            self._fresh()
        elif mine is None or await self._git.is_ancestor(mine, theirs):
            await self._advance(mine, theirs)
        elif await self._git.is_ancestor(theirs, mine):
            count = await self._git.ahead(theirs, mine)
            self._fresh(f"{count} commits of the work tree are not pushed", self._push_hint())
        else:
            self._diverged()

    async def _advance(self, mine: str | None, theirs: str) -> None:
        try:
            if mine is None:
                await self._git.check_out(self._config.branch, theirs)
            else:
                await self._git.fast_forward(theirs)
        except CommandFailed as error:
            self._say(
                CatalogState.BLOCKED,
                f"{self._folder} cannot follow the remote: {reason(error)}",
                "Commit and push the edits there, or take them back.",
            )
        else:
            self._fresh()

    async def _write(
        self, name: str, content: bytes, if_match: str | None, author: str | None
    ) -> str:
        async with self._moving:
            head = (await self.current()).revision
            self._refuse_stale(head, if_match)
            self._refuse_while_stuck(name)
            before = await self._before(head, name)
            if before is not None and await self._has(before, content):
                return head
            who = Person(author or self._config.author_name, self._config.author_email)
            message = f"{'Add' if before is None else 'Change'} {name}"
            made = await self._commit(head or None, name, content, who, message)
            await self.current()
            return made

    async def _commit(
        self, head: str | None, name: str, content: bytes, who: Person, message: str
    ) -> str:
        parent = head
        for _ in range(ATTEMPTS):
            try:
                made = await self._git.commit_files(
                    parent, {name: content}, author=who, message=message
                )
            except CommandFailed as error:
                raise Invalid(f"{name} cannot be a file of the catalog: {reason(error)}") from error
            if not self._config.remote_url or await self._push(made):
                await self._land(head, made)
                return made
            parent = await self._overtaken(head, parent, name)
        raise Failure("others pushed to the catalog's remote again and again", hint="Try it again.")

    async def _push(self, made: str) -> bool:
        try:
            return await self._git.push(made, self._config.branch)
        except Failure as error:
            raise Failure(
                f"the catalog's remote does not take the commit: {reason(error)}",
                hint="Nothing was changed. Check remote_url and auth under controller.git.",
            ) from error

    async def _overtaken(self, head: str | None, parent: str | None, name: str) -> str:
        """The commit to start from again. Raises Stale when it has another file of that name."""
        theirs = await self._git.fetch(self._config.branch)
        if theirs is None or theirs == parent:
            raise Failure("the catalog's remote refuses the push", hint=self._push_hint())
        if head and not await self._git.is_ancestor(head, theirs):
            self._diverged()
            raise Conflict(self._status.message or "", hint=self._status.hint)
        now = _file(name, await self._git.tree(theirs, name))
        if now != (await self._before(head, name) if head else None):
            raise Stale(
                f"{name} was changed by somebody else meanwhile",
                hint="Read it again, and make the change on top of it.",
            )
        return theirs

    async def _land(self, head: str | None, made: str) -> None:
        try:
            if head is None:
                await self._git.check_out(await self._git.branch() or self._config.branch, made)
            else:
                await self._git.fast_forward(made)
        except CommandFailed as error:
            if not self._config.remote_url:
                raise Stale(
                    f"the catalog moved on meanwhile: {reason(error)}", hint="Read the file again."
                ) from error
            # It is on the remote already; the work tree follows when nothing is in its way.
            log.warning("catalog is behind its remote", reason=reason(error))

    async def _before(self, head: str, name: str) -> Entry | None:
        found = await self._git.tree(head, name) if head else ()
        entry = _file(name, found)
        if found and entry is None:
            raise Invalid(f"{name} is a folder, a link or a submodule, and cannot be written")
        return entry

    async def _has(self, entry: Entry, content: bytes) -> bool:
        return (await self._git.blobs([entry.sha]))[entry.sha] == content

    def _refuse_stale(self, head: str, if_match: str | None) -> None:
        if if_match is None:
            raise Invalid(
                "If-Match is missing", hint="Send the revision that reading the file answered."
            )
        if if_match != head:
            raise Stale(
                f"the catalog moved on from {if_match[:12]} to {head[:12] or 'nothing'}",
                hint="Read the file again, and make the change on top of it.",
            )

    def _refuse_while_stuck(self, name: str) -> None:
        stuck = self._status.state in (CatalogState.DIVERGED, CatalogState.BLOCKED)
        if stuck:
            raise Conflict(self._status.message or "the catalog is stuck", hint=self._status.hint)
        if name in self._status.uncommitted:
            raise Conflict(
                f"{name} was edited in {self._folder} and is not committed",
                hint=f"Commit it there, or take it back: git -C {self._folder} checkout -- {name}",
            )

    async def _known(self, revision: str) -> None:
        is_hex = len(revision) == 40 and set(revision) <= set("0123456789abcdef")
        if not is_hex or await self._git.revision(revision) is None:
            raise NotFound(f"the catalog has no revision {revision[:40] or 'yet'}")

    def _unreachable(self, error: Failure) -> None:
        self._say(
            CatalogState.UNREACHABLE,
            f"the catalog's remote cannot be reached: {reason(error)}",
            "The services stay as they were last pulled. "
            "Check remote_url and auth under controller.git.",
        )

    def _diverged(self) -> None:
        branch, folder = self._config.branch, self._folder
        self._say(
            CatalogState.DIVERGED,
            f"{folder} and its remote have each a commit that the other has not",
            f"Nothing is lost. Bring them together: git -C {folder} rebase origin/{branch} && "
            f"git -C {folder} push origin {branch}",
        )

    def _push_hint(self) -> str:
        return f"git -C {self._folder} push origin {self._config.branch}"

    def _fresh(self, message: str | None = None, hint: str | None = None) -> None:
        self._say(CatalogState.FRESH, message, hint)
        self._status = self._status.model_copy(update={"pulled_at": datetime.now(UTC)})

    def _say(
        self,
        state: CatalogState | None = None,
        message: str | None = None,
        hint: str | None = None,
        **facts: Any,
    ) -> None:
        if state is None:
            self._status = self._status.model_copy(update=facts)
            return
        if state is not self._status.state:
            log.info("catalog", state=state.value, message=message)
        update = {"state": state, "message": message, "hint": hint}
        self._status = self._status.model_copy(update=update)


def _credentials(config: GitConfig) -> Credentials | None:
    if not config.auth or not config.remote_url:
        return None
    return Credentials(
        config.remote_url, config.auth.username, config.auth.token.get_secret_value()
    )


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


def _file(name: str, entries: tuple[Entry, ...]) -> Entry | None:
    plain = (entry for entry in entries if entry.mode not in (LINK, SUBMODULE))
    return next((entry for entry in plain if entry.path == name), None)


def _shas(entries: list[Entry]) -> list[str]:
    return [entry.sha for entry in entries if entry.mode != SUBMODULE]
