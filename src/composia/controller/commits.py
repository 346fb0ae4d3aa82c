"""Writing one file of the catalog: a commit that loses nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from composia.controller.worktree import CatalogState, WorkTree
from composia.errors import CommandFailed, Conflict, Failure, Invalid, Stale
from composia.tools.git import Entry, Person, plain_file, reason

#: How often a write starts again because somebody else pushed first.
ATTEMPTS = 5

#: For a writer who takes whatever revision there is.
ANY = "*"
#: What a file becomes, wherever it stands by then. Raises Conflict.
Edit = Callable[[bytes], bytes]
log = structlog.get_logger()


class Commits:
    """Makes commits on a work tree, and pushes them before it shows them."""

    def __init__(self, tree: WorkTree) -> None:
        self._tree = tree
        self._git = tree.git
        self._config = tree.config

    async def write(
        self,
        head: str,
        name: str,
        content: bytes,
        author: str | None,
        message: str | None = None,
    ) -> str:
        """A commit with the file on top of `head`; `head` itself where it is there already."""
        self._refuse_while_stuck(name)
        before = await self._before(head, name)
        if before is not None and await self._has(before, content):
            return head
        who = Person(author or self._config.author_name, self._config.author_email)
        said = message or f"{'Add' if before is None else 'Change'} {name}"
        return await self._commit(head or None, name, content, who, said)

    async def edit(self, head: str, name: str, edit: Edit, message: str) -> str:
        """A commit with the file changed on top of `head`, or of what others have pushed since.

        Where nothing is to be changed, the commit that has it so.
        """
        self._refuse_while_stuck(name)
        who = Person(self._config.author_name, self._config.author_email)
        parent = head
        for _ in range(ATTEMPTS):
            made = await self._edited(parent, name, edit, who, message)
            if made == parent or not self._config.remote_url or await self._push(made):
                await self._land(head, made)
                return made
            parent = await self._theirs(head, parent)
        raise _again_and_again()

    async def _edited(self, parent: str, name: str, edit: Edit, who: Person, message: str) -> str:
        entry = await self._before(parent, name)
        if entry is None:
            raise Conflict(f"{name} is not in the catalog any more", hint="Did somebody rename it?")
        before = (await self._git.blobs([entry.sha]))[entry.sha]
        after = await asyncio.to_thread(edit, before)
        if after == before:
            return parent
        return await self._git.commit_files(parent, {name: after}, author=who, message=message)

    async def _commit(
        self, head: str | None, name: str, content: bytes, who: Person, message: str
    ) -> str:
        parent = head
        for _ in range(ATTEMPTS):
            made = await self._git.commit_files(
                parent, {name: content}, author=who, message=message
            )
            if not self._config.remote_url or await self._push(made):
                await self._land(head, made)
                return made
            parent = await self._overtaken(head, parent, name)
        raise _again_and_again()

    async def _push(self, made: str) -> bool:
        try:
            return await self._git.push(made, self._config.branch)
        except Failure as error:
            raise Failure(
                f"the catalog's remote does not take the commit: {reason(error)}",
                hint="Nothing was changed here. Check remote_url and auth under controller.git.",
            ) from error

    async def _overtaken(self, head: str | None, parent: str | None, name: str) -> str:
        """The commit to start from again. Raises Stale when it has another file of that name."""
        theirs = await self._theirs(head, parent)
        now = plain_file(name, await self._git.tree(theirs, name))
        if now != (await self._before(head, name) if head else None):
            raise Stale(
                f"{name} was changed by somebody else meanwhile",
                hint="Read it again, and make the change on top of it.",
            )
        return theirs

    async def _theirs(self, head: str | None, parent: str | None) -> str:
        """The commit that others have pushed. Raises Conflict when it is not on top of ours."""
        theirs = await self._git.fetch(self._config.branch)
        if theirs is None or theirs == parent:
            raise Failure("the catalog's remote refuses the push", hint=self._tree.push_hint)
        if head and not await self._git.is_ancestor(head, theirs):
            self._tree.diverged()
            raise Conflict(self._tree.status.message or "", hint=self._tree.status.hint)
        return theirs

    async def _land(self, head: str | None, made: str) -> None:
        try:
            if head is None:
                branch = (await self._git.head()).branch or self._config.branch
                await self._git.check_out(branch, made)
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
        entry = plain_file(name, found)
        if found and entry is None:
            raise Invalid(f"{name} is a folder, a link or a submodule, and cannot be written")
        return entry

    async def _has(self, entry: Entry, content: bytes) -> bool:
        return (await self._git.blobs([entry.sha]))[entry.sha] == content

    def _refuse_while_stuck(self, name: str) -> None:
        status, folder = self._tree.status, self._tree.folder
        if status.state in (CatalogState.DIVERGED, CatalogState.BLOCKED):
            raise Conflict(status.message or "the catalog is stuck", hint=status.hint)
        if name in status.uncommitted:
            raise Conflict(
                f"{name} was edited in {folder} and is not committed",
                hint=f"Commit it there, or take it back: git -C {folder} checkout -- {name}",
            )


def _again_and_again() -> Failure:
    return Failure("others pushed to the catalog's remote again and again", hint="Try it again.")


def refuse_stale(head: str, if_match: str | None) -> None:
    """Raises Stale where the writer has seen another revision, Invalid where it names none."""
    if if_match is None:
        raise Invalid(
            "If-Match is missing", hint="Send the revision that reading the file answered."
        )
    if if_match not in (ANY, head):
        raise Stale(
            f"the catalog moved on from {if_match[:12]} to {head[:12] or 'nothing'}",
            hint="Read the file again, and make the change on top of it.",
        )
