"""A dump on its way into the repository."""

from __future__ import annotations

import asyncio

from composia.errors import Failure
from composia.tools import rustic_output as output
from composia.tools.rustic import Snapshot
from composia.tools.rustic_container import Working
from composia.tools.rustic_errors import failure
from composia.tools.shell import Finished
from composia.tools.wording import few


class OpenStream:
    """A dump on its way: what is written is counted, and must be what rustic says it kept."""

    def __init__(self, working: Working) -> None:
        self._working = working
        self._telling = asyncio.ensure_future(working.stdout.read())
        self._written = 0
        self.finished = False

    async def write(self, chunk: bytes) -> None:
        """Hand on a piece. Raises Failure when rustic has ended."""
        try:
            self._working.stdin.write(chunk)
            await self._working.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise failure("saving", await self._working.wait(await self._telling)) from None
        self._written += len(chunk)

    async def finish(self) -> Snapshot:
        """Close it and answer the snapshot; Failure when its size is not what was written."""
        self._working.stdin.close()
        finished = await self._working.wait(await self._telling)
        snapshot = saved_by(finished)
        if snapshot.size != self._written:
            raise Failure(f"saving: {self._written} bytes were sent, {snapshot.size} were kept")
        if found := output.unread(output.text(finished.stderr)):
            raise Failure(f"saving: rustic says: {few(found)}")
        self.finished = True
        return snapshot

    async def let_go(self) -> None:
        """Stop listening."""
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)


def saved_by(finished: Finished) -> Snapshot:
    """The snapshot that a backup ended with. Raises Failure where it made none."""
    if finished.code != 0:
        raise failure("saving", finished)
    snapshot = output.summary(output.text(finished.stdout))
    if snapshot is None:
        # Exit code 0 and nothing saved: that is how it answers SIGTERM.
        raise Failure(
            "saving: rustic ended without a snapshot",
            hint="Was its container stopped? Try again.",
        )
    return snapshot
