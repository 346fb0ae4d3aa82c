"""A snapshot is proven only when nothing is more, less or other than it says."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Conflict, Damaged, Failure
from composia.strategies import proof
from composia.strategies.base import Site, Wanted
from composia.tools import manifest
from composia.tools.rustic import Entry, OnProgress, SnapshotInfo
from tests.twins.engine import MemoryEngine
from tests.twins.site import Twins

SNAPSHOT = "5" * 64
WANTED = Wanted(item="uploads", backup_id="01B", snapshot_id=SNAPSHOT, saved_by="files.copy")
ROOT = "files/data"


class Restoring(MemoryEngine):
    """A repository that lists one thing and restores another, as a test wants it."""

    def __init__(self, listed: Mapping[str, int | None], comes: Mapping[str, bytes]) -> None:
        super().__init__()
        self.listed = listed
        self.comes = comes
        self.differs: tuple[str, ...] = ()
        #: The folder that comes too, as it is but for the files that could not be read.
        self.like: Path | None = None
        self.unread: tuple[str, ...] = ()

    async def snapshots(self) -> Sequence[SnapshotInfo]:
        return [
            SnapshotInfo(id=SNAPSHOT, time="", host="main", label="", tags=(), paths=("/composia",))
        ]

    async def list_files(
        self, snapshot_id: str, path: str, *, deep: bool = False
    ) -> Sequence[Entry]:
        return [
            Entry(path=path, type="dir" if size is None else "file", size=size)
            for path, size in self.listed.items()
        ]

    async def restore(
        self,
        snapshot_id: str,
        targets: Mapping[str, Path],
        *,
        single: Collection[str] = (),
        on_progress: OnProgress,
    ) -> None:
        for folder in targets.values():
            for name, content in self.comes.items():
                (folder / name).write_bytes(content)
            if self.like:
                without = shutil.ignore_patterns(*self.unread)
                shutil.copytree(self.like, folder, dirs_exist_ok=True, ignore=without)

    async def differences(self, snapshot_id: str, targets: Mapping[str, Path]) -> tuple[str, ...]:
        return self.differs


def a_repository(
    listed: Mapping[str, int | None], comes: Mapping[str, bytes] | None = None
) -> Restoring:
    found = {"a": b"123"} if comes is None else comes
    return Restoring(listed, found)  # type: ignore[abstract]  # the rest is not asked for here


def site(tmp_path: Path, engine: Restoring, kept: bytes | None = None) -> Site:
    async def read(backup_id: str) -> bytes | None:
        return kept

    return replace(Twins(tmp_path / "service").site, repository=engine, read_manifest=read)


GOOD: Mapping[str, int | None] = {"files": None, ROOT: None, f"{ROOT}/a": 3}


async def test_what_comes_as_listed_is_proven(tmp_path: Path) -> None:
    found = await proof.files(WANTED, site(tmp_path, a_repository(GOOD)))
    assert found.told == "1 file (3 bytes)"


@pytest.mark.parametrize(
    ("listed", "comes"),
    [
        ({**GOOD, f"{ROOT}/b": 1}, {"a": b"123"}),
        (GOOD, {"a": b"123", "b": b"1"}),
        (GOOD, {"a": b"1234"}),
    ],
    ids=["less", "more", "another size"],
)
async def test_what_comes_otherwise_than_listed_is_damage(
    tmp_path: Path, listed: Mapping[str, int | None], comes: Mapping[str, bytes]
) -> None:
    with pytest.raises(Damaged, match=r"not come back as its snapshot lists it: \./data/"):
        await proof.files(WANTED, site(tmp_path, a_repository(listed, comes)))


async def test_other_content_is_damage_even_when_all_else_fits(tmp_path: Path) -> None:
    engine = a_repository(GOOD)
    engine.differs = (f"{ROOT}/a",)
    with pytest.raises(Damaged, match=r"other content than was saved: \./data/a"):
        await proof.files(WANTED, site(tmp_path, engine))


async def test_what_was_never_saved_is_damage(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_bytes(b"123")
    kept = manifest.join({ROOT: manifest.take(tmp_path / "tree")}).write()
    engine = a_repository({**GOOD, "volumes/strange": 1})
    with pytest.raises(Damaged, match="holds what was never saved: volumes/strange"):
        await proof.files(WANTED, site(tmp_path, engine, kept))


async def test_a_snapshot_with_nothing_in_it_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="nothing at all"):
        await proof.files(WANTED, site(tmp_path, a_repository({})))


async def test_a_folder_that_was_empty_when_it_was_saved_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir(mode=0o755)
    kept = manifest.join({ROOT: manifest.take(tmp_path / "tree")}).write()
    engine = a_repository({"files": None, ROOT: None}, {})
    engine.like = tmp_path / "tree"
    assert (await proof.files(WANTED, site(tmp_path, engine, kept))).files == 0


async def test_what_could_not_be_read_then_is_not_missed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "shut").mkdir(parents=True)
    for name in ("a", "shut/b"):
        (tree / name).write_bytes(b"123")
    taken = manifest.take(tree)
    engine = a_repository({**GOOD, f"{ROOT}/shut": None}, {})
    engine.like, engine.unread = tree, ("b",)
    with pytest.raises(Damaged, match="1 paths differ: shut/b"):
        await proof.files(WANTED, site(tmp_path, engine, manifest.join({ROOT: taken}).write()))
    kept = manifest.join({ROOT: replace(taken, unread=(b"shut",))}).write()
    assert (await proof.files(WANTED, site(tmp_path, engine, kept))).files == 1


async def test_what_came_and_went_while_it_was_saved_is_damage_of_a_stopped_service_only(
    tmp_path: Path,
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_bytes(b"123")
    taken = replace(manifest.take(tmp_path / "tree"), changed=frozenset({b""}))
    engine = a_repository({**GOOD, f"{ROOT}/app.db-journal": 1}, {"app.db-journal": b"1"})
    engine.like = tmp_path / "tree"
    kept = manifest.join({ROOT: taken})
    assert (await proof.files(WANTED, site(tmp_path, engine, kept.write()))).files == 2
    with pytest.raises(Damaged, match=r"1 paths differ: app\.db-journal \(new\)"):
        await proof.files(WANTED, site(tmp_path, engine, replace(kept, live=False).write()))


async def test_too_small_a_disk_says_nothing_about_the_backup(tmp_path: Path) -> None:
    engine = a_repository({**GOOD, f"{ROOT}/a": 1 << 60})
    with pytest.raises(Failure, match="not enough room") as caught:
        await proof.files(WANTED, site(tmp_path, engine))
    assert not isinstance(caught.value, Damaged | Conflict)
