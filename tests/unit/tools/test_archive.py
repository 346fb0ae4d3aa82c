from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

from composia.tools.archive import THREAD, packed


async def tar_of(folder: Path) -> tarfile.TarFile:
    content = b"".join([piece async for piece in packed(folder, "photos")])
    return tarfile.open(fileobj=io.BytesIO(content))


async def test_everything_that_a_tar_can_hold_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "empty").mkdir(parents=True)
    (folder / "one").write_text("content")
    (folder / "one").chmod(0o4711)
    (folder / "two").hardlink_to(folder / "one")
    (folder / "link").symlink_to("/no/such/place")
    os.mkfifo(folder / "fifo")
    os.utime(folder / "one", ns=(1_500_000_000_250_000_000,) * 2)
    tar = await tar_of(folder)
    found = {info.name: info for info in tar.getmembers()}
    assert set(found) == {"photos"} | {
        f"photos/{name}" for name in ("empty", "one", "two", "link", "fifo")
    }
    assert found["photos/one"].mode == 0o4711
    assert found["photos/one"].mtime == 1_500_000_000.25
    assert found["photos/two"].islnk()
    assert found["photos/link"].linkname == "/no/such/place"
    assert found["photos/fifo"].isfifo()


async def test_xattrs_and_names_that_are_no_text_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\nx")
    path.write_text("x")
    os.setxattr(path, "user.colour", b"\xfe green")
    tar = await tar_of(tmp_path)
    (info,) = [one for one in tar.getmembers() if one.isreg()]
    assert os.fsencode(info.name) == b"photos/\xff\nx"
    assert os.fsencode(info.pax_headers["SCHILY.xattr.user.colour"]) == b"\xfe green"


async def test_whoever_stops_listening_ends_it(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    before = opened()
    async with aclosing(packed(tmp_path, "x")) as pieces:
        await anext(pieces)
        assert not opened() <= before
    # The pipe's own end is closed by the loop.
    await asyncio.sleep(0)
    assert opened() <= before


async def test_whoever_reads_slowly_takes_no_thread_from_others(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    with ThreadPoolExecutor(max_workers=1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        async with aclosing(packed(tmp_path, "x")) as pieces:
            await anext(pieces)
            async with asyncio.timeout(30):
                await asyncio.to_thread(os.getpid)


async def test_its_thread_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    async with aclosing(packed(tmp_path, "x")) as pieces:
        await anext(pieces)
        assert is_packing()
    async with asyncio.timeout(30):
        while is_packing():  # noqa: ASYNC110  # threads tell nobody
            await asyncio.sleep(0.005)


def is_packing() -> bool:
    return any(one.name.startswith(THREAD) for one in threading.enumerate())


def opened() -> set[str]:
    """The descriptors of this process: of the pipe, and of the file that is packed."""
    return set(os.listdir("/proc/self/fd"))
