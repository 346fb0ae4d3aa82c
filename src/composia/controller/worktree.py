"""The work tree of the catalog: how it stands to its remote, and how it follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from math import inf
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict

from composia.errors import CommandFailed, Failure, Invalid
from composia.model.config import ControllerConfig, GitConfig
from composia.tools.git import Credentials, Git, reason
from composia.tools.shell import Shell

Answer = TypeVar("Answer")
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


class WorkTree:
    """Git's folder. Whoever moves its commit holds `moving`; every edit in it survives."""

    def __init__(self, shell: Shell, config: ControllerConfig) -> None:
        self.folder = config.repo_dir
        self.config = config.git
        self.git = Git(shell, config.repo_dir, _credentials(config.git))
        self.status = CatalogStatus(remote=config.git.remote_url)
        self.moving = asyncio.Lock()
        self._fetching = asyncio.Lock()
        self._moves: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Take it as it is, or make it. Raises Invalid for a folder that is neither."""
        if not self.git.is_there:
            self._refuse_foreign_files()
            self.folder.mkdir(parents=True, exist_ok=True)
            await self.git.init(self.config.branch)
        if self.config.remote_url:
            await self.git.set_remote(self.config.remote_url)

    async def pull(self) -> None:
        """Follow the remote as far as nothing is lost; `status` says what is in the way."""
        if not self.config.remote_url:
            self._fresh()
            return
        async with self._fetching:
            try:
                theirs = await self.git.fetch(self.config.branch)
            except Failure as error:
                self._unreachable(error)
                return
            await self.undisturbed(self._follow_alone(theirs))

    def refuse_unreachable(self) -> None:
        """Raises Failure where the last pull has not reached the remote."""
        if self.status.state is CatalogState.UNREACHABLE:
            raise Failure(
                self.status.message or "the catalog's remote cannot be reached",
                hint="Nothing was changed. Check remote_url and auth under controller.git.",
            )

    @property
    def age(self) -> float:
        """Seconds since it was known to be up to date."""
        pulled = self.status.pulled_at
        return abs((datetime.now(UTC) - pulled).total_seconds()) if pulled else inf

    async def undisturbed(self, move: Coroutine[Any, Any, Answer]) -> Answer:
        """Move to the end, whoever stops waiting: half of it would leave Git's lock behind."""
        task = asyncio.ensure_future(move)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Wait for what still moves."""
        await asyncio.gather(*self._moves, return_exceptions=True)

    def remember(self, **facts: Any) -> None:
        """Keep facts in `status`."""
        self.status = self.status.model_copy(update=facts)

    def unreadable(self, error: Failure) -> None:
        """Say that Git itself does not work here."""
        self._say(CatalogState.BLOCKED, f"the work tree cannot be read: {reason(error)}")

    async def _follow_alone(self, theirs: str | None) -> None:
        async with self.moving:
            await self._follow(theirs)

    async def _follow(self, theirs: str | None) -> None:
        head = await self.git.head()
        branch, mine = head.branch, head.revision
        if branch != self.config.branch:
            self._say(
                CatalogState.BLOCKED,
                f"{self.folder} is on branch {branch}, not on {self.config.branch}",
                f"git -C {self.folder} checkout {self.config.branch}",
            )
        elif theirs is None or theirs == mine:
            self._fresh()
        elif mine is None or await self.git.is_ancestor(mine, theirs):
            await self._advance(mine, theirs)
        elif await self.git.is_ancestor(theirs, mine):
            count = await self.git.ahead(theirs, mine)
            self._fresh(f"{count} commits of the work tree are not pushed", self.push_hint)
        else:
            self.diverged()

    async def _advance(self, mine: str | None, theirs: str) -> None:
        try:
            if mine is None:
                await self.git.check_out(self.config.branch, theirs)
            else:
                await self.git.fast_forward(theirs)
        except CommandFailed as error:
            self._say(
                CatalogState.BLOCKED,
                f"{self.folder} cannot follow the remote: {reason(error)}",
                "Commit and push the edits there, or take them back.",
            )
        else:
            self._fresh()

    def _unreachable(self, error: Failure) -> None:
        self._say(
            CatalogState.UNREACHABLE,
            f"the catalog's remote cannot be reached: {reason(error)}",
            "The services stay as they were last pulled. "
            "Check remote_url and auth under controller.git.",
        )

    def diverged(self) -> None:
        """Say that both sides have commits of their own."""
        branch, folder = self.config.branch, self.folder
        self._say(
            CatalogState.DIVERGED,
            f"{folder} and its remote have each a commit that the other has not",
            f"Nothing is lost. Bring them together: git -C {folder} rebase origin/{branch} && "
            f"git -C {folder} push origin {branch}",
        )

    @property
    def push_hint(self) -> str:
        """How a person pushes."""
        return f"git -C {self.folder} push origin {self.config.branch}"

    def _fresh(self, message: str | None = None, hint: str | None = None) -> None:
        self._say(CatalogState.FRESH, message, hint)
        self.remember(pulled_at=datetime.now(UTC))

    def _say(self, state: CatalogState, message: str | None, hint: str | None = None) -> None:
        if state is not self.status.state:
            log.info("catalog", state=state.value, message=message)
        self.remember(state=state, message=message, hint=hint)

    def _refuse_foreign_files(self) -> None:
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise Invalid(
                f"controller.repo_dir {self.folder} holds files and is not a Git work tree",
                hint=f"Name an empty folder, or run there: git init -b {self.config.branch} && "
                "git add -A && git commit -m 'Add the services'",
            )


def _credentials(config: GitConfig) -> Credentials | None:
    if not config.auth or not config.remote_url:
        return None
    return Credentials(
        config.remote_url, config.auth.username, config.auth.token.get_secret_value()
    )
