"""Another node that says too much is not listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from composia.errors import Failure, WireCut
from composia.operations import intake, peer
from composia.operations.peer import Peer
from composia.tools import delta_frames as frames
from composia.tools import manifest


class Says:
    """A wire on which somebody says this, and then goes."""

    def __init__(self, said: Sequence[bytes]) -> None:
        self._said = list(said)

    async def send(self, frame: bytes) -> None:
        """See `Wire`."""

    async def receive(self) -> bytes:
        """See `Wire`."""
        if self._said:
            return self._said.pop(0)
        raise WireCut("it says nothing more")


@pytest.mark.parametrize("size", [manifest.LARGEST + 1, 10**30, "1", None, 1.5e300])
async def test_a_manifest_of_an_absurd_size_is_not_received(size: object) -> None:
    says = Says([frames.PART + b"x"])
    with pytest.raises(Failure, match="not understood"):
        await peer.receive_manifest(says.receive, size)
    assert await says.receive()


async def test_a_manifest_does_not_come_in_empty_parts() -> None:
    says = Says([frames.PART] * 3)
    with pytest.raises(Failure, match="not understood"):
        await peer.receive_manifest(says.receive, 1)


@pytest.mark.parametrize(
    "frame",
    [frames.PART + bytes(1000), frames.digests(1, bytes(16), last=False)],
    ids=["turns", "digests"],
)
async def test_what_nobody_asks_for_does_not_pile_up(
    monkeypatch: pytest.MonkeyPatch, frame: bytes
) -> None:
    monkeypatch.setattr(peer, "MOST_WAITING", 10_000)
    ear = Peer(Says([frame] * 100))
    ear.expect(1)
    await ear.listen()
    with pytest.raises(Failure, match="more than it was asked for"):
        await ear.until(asyncio.Event())


class AsItIsTaken:
    """A wire on which the next frame comes when the one before was taken."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = list(frames)
        self.taken = asyncio.Semaphore(1)

    async def send(self, frame: bytes) -> None:
        """See `Wire`."""

    async def receive(self) -> bytes:
        """See `Wire`."""
        await self.taken.acquire()
        return self._frames.pop(0)


async def test_what_was_taken_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "MOST_WAITING", 2000)
    digests = [frames.digests(1, bytes(16), last=at == 49) for at in range(50)]
    wire = AsItIsTaken([frames.PART + bytes(1000)] * 50 + digests)
    ear = Peer(wire)
    ear.expect(1)
    listening = asyncio.create_task(ear.listen())
    for _ in range(50):
        assert len(await ear.turn()) == 1001
        wire.taken.release()
    found = 0
    async for some in ear.digests(1):
        found += len(some)
        wire.taken.release()
    assert found == 50 * 16
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_no_more_files_are_asked_for_than_anybody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "MOST_ASKED", 3)
    with intake.Intake({}, {}) as taking:
        for number in range(3):
            await taking.take(frames.ask(number, b"x"))
        with pytest.raises(Failure, match="not understood"):
            await taking.take(frames.ask(4, b"x"))
