"""Objects that nodes send: what was answered for is on the disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from composia.agent.repository import Repository
from composia.operations.messages import ObjectCall


class Disk:
    """Tells what is flushed, and flushes a folder when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushed: list[Path] = []
        self.slow: Path | None = None
        self.begun = threading.Event()
        self.goes_on = threading.Event()
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path == self.slow:
            self.begun.set()
            assert self.goes_on.wait(30)
        self._fsync(handle)
        self.flushed.append(path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def place_of(folder: Path, content: bytes) -> Path:
    name = hashlib.sha256(content).hexdigest()
    return folder / "data" / name[:2] / name


async def send(folder: Path, content: bytes) -> int:
    async def body() -> AsyncIterator[bytes]:
        yield content

    call = ObjectCall(method="POST", path=f"data/{place_of(folder, content).name}")
    return (await Repository(folder, "edge").answer(call, body())).status


async def test_what_is_new_is_flushed_with_its_folders(tmp_path: Path, disk: Disk) -> None:
    place = place_of(tmp_path, b"pack")
    assert await send(tmp_path, b"pack") == HTTPStatus.OK
    assert place.read_bytes() == b"pack"
    # After the object itself.
    assert disk.flushed[1:] == [tmp_path, tmp_path / "data", place.parent]


async def test_what_somebody_else_has_just_put_there_is_flushed_too(
    tmp_path: Path, disk: Disk
) -> None:
    place = place_of(tmp_path, b"pack")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"pack")
    assert await send(tmp_path, b"pack") == HTTPStatus.OK
    assert disk.flushed == [place.parent]


async def test_a_folder_that_is_being_made_is_flushed_before_it_is_used(
    tmp_path: Path, disk: Disk
) -> None:
    one, other = two_of_a_folder()
    disk.slow = tmp_path / "data"
    first = asyncio.create_task(send(tmp_path, one))
    assert await asyncio.to_thread(disk.begun.wait, 30)
    second = asyncio.create_task(send(tmp_path, other))
    await asyncio.sleep(0.05)
    assert not place_of(tmp_path, other).exists()
    disk.goes_on.set()
    assert list(await asyncio.gather(first, second)) == [HTTPStatus.OK] * 2
    assert disk.flushed.count(tmp_path / "data") == 1


def two_of_a_folder() -> tuple[bytes, bytes]:
    found: dict[str, bytes] = {}
    for number in range(1000):
        content = b"%d" % number
        folder = hashlib.sha256(content).hexdigest()[:2]
        if folder in found:
            return found[folder], content
        found[folder] = content
    raise AssertionError
