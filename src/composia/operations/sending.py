"""The source's part of the talk: what the copy lacks is found out and sent."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure, WireCut
from composia.operations import peer
from composia.operations.cargo import Root, look
from composia.operations.peer import Peer
from composia.strategies.aside import Aside
from composia.strategies.base import Site
from composia.tools import delta, durable, exchange, manifest
from composia.tools import delta_frames as frames
from composia.tools.delta_send import Original
from composia.tools.manifest import Identity, Manifest
from composia.tools.threads import ahead, in_thread
from composia.tools.wire import Wire
from composia.tools.wording import FEW

ROUNDS = "rounds.json"
#: Of a service that has come here: since when it is not as the node has it that it came from.
FORKED = "forked.json"
#: Files whose digests are asked for before they are needed.
ASKED = 4
#: Nanoseconds by which the clock may have been set without anybody noticing.
DRIFT = 1_000_000_000
#: Bytes that are not worth a round of their own.
ENOUGH = 4 * 1024 * 1024


#: By a tree's key and a path, for people too.
Folders = Mapping[str, Mapping[str, Identity]]


class Copied(BaseModel):
    """Since when the source's ctimes say what the copy does not have."""

    model_config = ConfigDict(frozen=True)

    #: Which copy, and the time in nanoseconds.
    copy_id: str
    since: int
    #: By which it is seen that the clock was set meanwhile.
    boot: str
    since_boot: int
    #: Which folder stood where then, of each tree: below another one no ctime says anything.
    folders: Folders = {}

    @classmethod
    def of(cls, copy_id: str, since: int, seen: Mapping[str, Manifest]) -> Copied:
        """The same of now, by the clock that a person sets and by the one that nobody does."""
        passed = time.time_ns() - since
        since_boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - passed
        folders = {
            key: {manifest.as_text(path): one for path, one in found.identities.items()}
            for key, found in seen.items()
        }
        boot = boot_id()
        return cls(copy_id=copy_id, since=since, boot=boot, since_boot=since_boot, folders=folders)

    def known(self, key: str) -> Mapping[bytes, Identity]:
        """Which folder stood where in a tree."""
        return {manifest.as_path(text): one for text, one in self.folders.get(key, {}).items()}


class Round(BaseModel):
    """One look at the data and what was sent of it."""

    model_config = ConfigDict(frozen=True)

    bytes_sent: int
    files: int
    seconds: float
    vanished: int = 0


@dataclass(slots=True)
class Sender:
    """What is known of the source over all connections of one operation."""

    site: Site
    roots: Sequence[Root]
    #: While the service runs, files may change and vanish.
    live: bool
    #: Tells this operation from others that use the same wire.
    session: str = field(default_factory=lambda: os.urandom(8).hex())
    rounds: list[Round] = field(default_factory=list)
    #: One that was sent whole, and of which it is not known whether it arrived.
    unconfirmed: Round | None = None
    #: Bytes of frames sent: whether it goes on at all.
    done: int = 0

    def settle(self) -> None:
        """What was sent has arrived."""
        if self.unconfirmed:
            self.rounds.append(self.unconfirmed)
        self.unconfirmed = None


class Talk:
    """One connection. Raises WireCut, and Failure."""

    def __init__(self, sender: Sender, ear: Peer) -> None:
        self._sender = sender
        self._site = sender.site
        self._ear = ear
        self._copy_id = ""
        self._copies: dict[str, Manifest] = {}
        self._total = 0
        self._asked = 0
        self.finished = False

    async def greet(self) -> None:
        """Learn what the target has."""
        hello = await self._ear.said("hello")
        with frames.understood():
            version, self._copy_id = hello["version"], str(hello["copy"])
            self.finished = hello["finished"] == self._sender.session
        if version != peer.VERSION:
            raise Failure("the two nodes speak of data in different versions: update both")
        keys = [] if self.finished else [root.key for root in self._sender.roots]
        await self._ear.wire.send(frames.said(roots=keys, ends=self.finished))
        if self.finished:
            self._sender.settle()
        else:
            await self.learn()

    async def wait_for(self, event: asyncio.Event) -> None:
        """Wait until it may begin. Raises WireCut when the connection ends before."""
        await self._ear.until(event)

    async def learn(self) -> None:
        """Take the manifests of what the target has."""
        for root in self._sender.roots:
            told = peer.heard(await self._ear.turn())
            with frames.understood():
                key, size = told["manifest"]["key"], told["size"]
                if key != root.key:
                    raise ValueError(key)
            written = await peer.receive_manifest(self._ear.turn, size)
            self._copies[root.key] = await in_thread(peer.read_manifest, written)

    async def send(self, *, more: bool) -> bool:
        """Send what the target lacks; answers whether another round is worth it."""
        started, start = time.monotonic(), time.time_ns()
        if self._sender.live:
            await in_thread(_flush, self._sender.roots)
        seen = {root.key: await in_thread(look, root) for root in self._sender.roots}
        self._refuse_unread(seen)
        copied = self._copied(start, seen)
        originals = [self._original(root, seen[root.key], copied) for root in self._sender.roots]
        try:
            await self._send(originals)
        finally:
            for original in originals:
                original.close()
        this = _round(originals, time.monotonic() - started)
        more = more and self._is_worth_it(this)
        self._sender.unconfirmed = this
        await self._end(seen, more=more)
        self._sender.settle()
        self._remember(Copied.of(self._copy_id, start, seen))
        return more

    def _original(self, root: Root, seen: Manifest, copied: Copied | None) -> Original:
        since, known = (copied.since, copied.known(root.key)) if copied else (None, {})
        plan = delta.plan(seen, self._copies[root.key], since, known)
        return Original(root.path, seen, plan, live=self._sender.live)

    async def _send(self, originals: Sequence[Original]) -> None:
        self._total = sum(one.total for one in originals)
        need = {
            root.key: one.need(self._copies[root.key])
            for root, one in zip(self._sender.roots, originals, strict=True)
        }
        await self._ear.wire.send(frames.said(round={"total": self._total, "need": need}))
        done = 0
        for root, original in zip(self._sender.roots, originals, strict=True):
            await self._ear.wire.send(frames.said(root=root.key))
            await self._send_root(original, done)
            done += original.read

    async def _send_root(self, original: Original, before: int) -> None:
        await self._pour(original.begin(), original, before)
        waiting = list(original.plan.compared)
        numbers = [await self._ask(path) for path in waiting[:ASKED]]
        await self._pour(original.whole(), original, before)
        for at, path in enumerate(waiting):
            await self._compare(path, numbers[at], original, before)
            if at + ASKED < len(waiting):
                numbers.append(await self._ask(waiting[at + ASKED]))
        await self._pour(original.end(), original, before)

    async def _ask(self, path: bytes) -> int:
        self._asked += 1
        self._ear.expect(self._asked)
        await self._ear.wire.send(frames.ask(self._asked, path))
        return self._asked

    async def _compare(self, path: bytes, number: int, original: Original, before: int) -> None:
        file = await in_thread(original.compared, path)
        try:
            if file:
                await self._ear.wire.send(file.opening())
            async for digests in self._ear.digests(number):
                if file:
                    for piece in await in_thread(file.pieces, digests):
                        await self._put(piece)
                    self._site.notes.progress(before + original.read, self._total)
            if file:
                await self._pour(file.rest(), original, before)
                await self._ear.wire.send(await in_thread(file.closing))
        finally:
            if file:
                file.close()

    async def _pour(self, pieces: Iterator[bytes], original: Original, before: int) -> None:
        async with aclosing(ahead(pieces)) as coming:
            async for piece in coming:
                await self._put(piece)
                self._site.notes.progress(before + original.read, self._total)

    async def _put(self, piece: bytes) -> None:
        await self._ear.wire.send(piece)
        self._sender.done += len(piece)

    async def _end(self, seen: Mapping[str, Manifest], *, more: bool) -> None:
        end = {"session": self._sender.session, "more": more, "last": not self._sender.live}
        if self._sender.live:
            await self._ear.wire.send(frames.said(end=end, size=0))
        else:
            await peer.send_manifest(self._ear.wire, manifest.join(seen), end=end)
        await self._ear.said("done")

    def _is_worth_it(self, this: Round) -> bool:
        before = self._sender.rounds[-1:]
        return this.bytes_sent > ENOUGH and all(this.bytes_sent < one.bytes_sent for one in before)

    def _refuse_unread(self, seen: Mapping[str, Manifest]) -> None:
        unread = [
            f"{root.known_as}/{manifest.as_text(path)}"
            for root in self._sender.roots
            for path in seen[root.key].unread
        ]
        if unread and not self._sender.live:
            raise Failure(
                f"{len(unread)} paths cannot be read: {', '.join(unread[:FEW])}",
                hint="Nothing else should touch the data while the service is stopped.",
            )

    def _copied(self, now: int, seen: Mapping[str, Manifest]) -> Copied | None:
        """What is known of the copy that is there; None: all files are compared."""
        if known := self._known():
            return None if _was_set(known, now) else known
        entries = (entry for copy in self._copies.values() for entry in copy.entries.values())
        if any(entry.type != "dir" for entry in entries):
            return None
        # Nothing was there: all that is found there later was copied from now on.
        copied = Copied.of(self._copy_id, now, seen)
        self._remember(copied)
        return copied

    def _known(self) -> Copied | None:
        """Since when the copy that is there is known to be as it was here."""
        rounds = Aside(self._site.aside, self._site.task).read(ROUNDS, Copied)
        both = (rounds, forked(self._site.state))
        return next((one for one in both if one and one.copy_id == self._copy_id), None)

    def _remember(self, copied: Copied) -> None:
        Aside(self._site.aside, self._site.task).write(ROUNDS, copied)


@asynccontextmanager
async def talking(sender: Sender, wire: Wire) -> AsyncIterator[Talk]:
    """A talk with the target, from its hello on."""
    ear = Peer(wire)
    listening = asyncio.create_task(ear.listen())
    try:
        talk = Talk(sender, ear)
        await talk.greet()
        yield talk
        with suppress(WireCut):
            await wire.send(frames.said(bye=True))
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def forked(state: Path) -> Copied | None:
    """Since when a service that has come here differs from what was left; None: not known."""
    return durable.read(state / FORKED, Copied)


def boot_id() -> str:
    """Which start of this machine it is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _flush(roots: Sequence[Root]) -> None:
    """Have the next write through a map show in the file's ctime."""
    for path in {os.stat(root.path).st_dev: root.path for root in roots}.values():
        exchange.flush(path)


def _was_set(known: Copied, now: int) -> bool:
    if known.boot != boot_id():
        return True
    passed = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - known.since_boot
    return abs((now - known.since) - passed) > DRIFT


def _round(originals: Sequence[Original], seconds: float) -> Round:
    return Round(
        bytes_sent=sum(one.sent for one in originals),
        files=sum(one.files for one in originals),
        seconds=round(seconds, 3),
        vanished=sum(len(one.vanished) for one in originals),
    )
