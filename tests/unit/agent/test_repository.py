"""Objects of the repository as they are read out: whole, or not at all."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import chdir
from http import HTTPStatus
from pathlib import Path

import pytest

from composia.agent import repository
from composia.agent.repository import CHUNK, Answer, Repository
from composia.operations.messages import ObjectCall

CONTENT = os.urandom(2 * CHUNK + 1)
NAME = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "data" / NAME[:2] / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


async def read(answer: Answer) -> bytes:
    assert not isinstance(answer.content, bytes)
    return b"".join([bytes(chunk) async for chunk in answer.content])


async def asked(folder: Path) -> Answer:
    call = ObjectCall(method="GET", path=f"data/{NAME}")
    return await Repository(folder, "edge").answer(call, no_body())


async def no_body() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk


async def test_an_object_is_read_whole(tmp_path: Path, pack: Path) -> None:
    answer = await asked(tmp_path)
    assert answer.length == len(CONTENT)
    assert await read(answer) == CONTENT


async def test_what_memory_does_not_have_comes_from_the_disk(tmp_path: Path, pack: Path) -> None:
    with pack.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await read(await asked(tmp_path)) == CONTENT


@pytest.mark.parametrize("word", [errno.EAGAIN, errno.EOPNOTSUPP])
async def test_a_file_system_that_cannot_tell_is_read_all_the_same(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    def cannot(*_: object) -> int:
        raise OSError(word, os.strerror(word))

    monkeypatch.setattr(os, "preadv", cannot)
    assert await read(await asked(tmp_path)) == CONTENT


async def test_a_file_is_open_as_long_as_it_is_read(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, found = threading.Event(), threading.Event(), list[Path]()

    def slow(handle: int, size: int, offset: int) -> bytes:
        begun.set()
        assert goes_on.wait(30)
        found.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        return b""

    monkeypatch.setattr(repository, "_in_memory", lambda *_: None)
    monkeypatch.setattr(os, "pread", slow)
    reading = asyncio.create_task(read(await asked(tmp_path)))
    assert await asyncio.to_thread(begun.wait, 30)
    reading.cancel()
    await asyncio.sleep(0.05)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert found == [pack]


async def test_a_file_that_shrinks_meanwhile_does_not_pass_for_whole(
    tmp_path: Path, pack: Path
) -> None:
    answer = await asked(tmp_path)
    assert not isinstance(answer.content, bytes)
    assert len(await anext(answer.content)) == CHUNK
    os.truncate(pack, CHUNK)
    with pytest.raises(EOFError, match="shorter"):
        await anext(answer.content)


def a_socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def a_link(path: Path) -> None:
    path.symlink_to(__file__)


@pytest.mark.parametrize("make", [a_socket, a_link, os.mkfifo, os.mkdir])
async def test_what_is_no_plain_file_is_not_there(
    tmp_path: Path, pack: Path, make: Callable[[Path], None]
) -> None:
    pack.unlink()
    make(pack)
    assert (await asked(tmp_path)).status == HTTPStatus.NOT_FOUND


async def test_a_folder_that_leads_to_itself_is_not_there(tmp_path: Path, pack: Path) -> None:
    pack.unlink()
    pack.parent.rmdir()
    pack.parent.symlink_to(pack.parent)
    assert (await asked(tmp_path)).status == HTTPStatus.NOT_FOUND


async def test_a_disk_that_fails_says_nothing_of_what_is_there(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(OSError, match="Input/output"):
        await asked(tmp_path)
