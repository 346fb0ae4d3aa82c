"""Verification: a backup is restored for real, and whatever is not as it was saved is found."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Damaged
from composia.operations.repository import CheckRepository
from composia.operations.verifying import ONLY_ITSELF, BackupProven, VerifyFiles
from composia.strategies.base import Site, Wanted
from composia.strategies.files_copy import FilesCopy
from composia.tools import manifest
from composia.tools.rustic import Part
from composia.tools.rustic_engine import RusticEngine
from tests.contract.repository import PROFILE, Place
from tests.contract.test_engine import KEY, odd_tree, save
from tests.twins.site import Twins
from tests.unit.operations.test_repository import INFRA


class Proving:
    """A node that verifies; nothing of it may be left afterwards."""

    def __init__(self, place: Place, engine: RusticEngine, tmp_path: Path) -> None:
        self.engine = engine
        self.twins = Twins(tmp_path / "service")
        self.kept: bytes | None = None
        self.docker = place.docker

    @property
    def site(self) -> Site:
        return replace(
            self.twins.site, repository=self.engine, docker=self.docker, read_manifest=self._read
        )

    def saw(self, root: Path, key: str = KEY) -> None:
        """What the source looked like when it was saved."""
        self.kept = manifest.join({key: manifest.take(root)}).write()

    async def verify(self, snapshot_id: str) -> BackupProven:
        wanted = Wanted(
            item="uploads", backup_id="01B", snapshot_id=snapshot_id, saved_by="files.copy"
        )
        try:
            return await VerifyFiles(service=INFRA, wanted=wanted).perform(self.site)
        finally:
            assert not list(self.twins.site.aside.glob("*"))

    async def _read(self, backup_id: str) -> bytes | None:
        return self.kept


@pytest.fixture
def proving(place: Place, engine: RusticEngine, tmp_path: Path) -> Proving:
    return Proving(place, engine, tmp_path)


async def test_a_good_backup_is_proven_down_to_owners_links_and_odd_names(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    root = odd_tree(place)
    proving.saw(root)
    saved = await save(engine, root)
    # What a backup goes by, so that it need not be listed.
    assert (saved.snapshot.files, saved.filtered) == (len(odd_files(root)), False)

    proven = await proving.verify(saved.snapshot.id)

    assert proven.text == f"restored {proven.files} files (34 bytes), all equal to what was saved"
    assert proven.files == len(odd_files(root))
    assert (proven.whole, proven.warnings) == (True, ())


def odd_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()]


async def test_what_the_users_own_profile_leaves_out_is_not_missed(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    place.write_profile(f'{PROFILE}[backup]\nexclude-if-present = [".nobackup"]\n')
    proving.engine = place.engine()
    root = place.tree({"a": b"1", "no/.nobackup": b"", "no/b": b"2"}, "service/data")

    saved = await FilesCopy(include=("./data",)).save("data", proving.site)
    proving.kept = saved.manifest

    assert [warning.endswith("have it: ./data/no") for warning in saved.warnings] == [True]
    assert (await proving.verify(saved.snapshot.id)).files == 1
    assert (root / "no/b").exists()


async def test_what_came_and_went_while_a_running_service_was_saved_is_no_damage(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    root = place.tree({"app.db": b"1"})
    before = manifest.take(root)
    place.tree({"app.db-journal": b"12"})
    saved = await save(engine, root)
    (root / "app.db-journal").unlink()
    seen = manifest.join({KEY: manifest.with_changes(before, manifest.take(root))})

    proving.kept = seen.write()
    assert (await proving.verify(saved.snapshot.id)).files == 2
    proving.kept = replace(seen, live=False).write()
    with pytest.raises(Damaged, match=r"app\.db-journal \(new\)"):
        await proving.verify(saved.snapshot.id)


async def test_a_single_file_is_proven_without_a_manifest(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    saved = await save(engine, place.tree({"one": b"12345"}) / "one", key="files/one")

    proven = await proving.verify(saved.snapshot.id)

    assert proven.text == f"restored 1 file (5 bytes), {ONLY_ITSELF}"
    assert not proven.whole
    assert proven.warnings


async def test_a_tampered_or_lost_pack_is_caught_and_one_part_of_the_check_finds_it(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    root = place.tree({"big": os.urandom(1_000_000)})
    proving.saw(root)
    saved = await save(engine, root)
    flip_a_byte(place)

    with pytest.raises(Damaged, match="damaged"):
        await proving.verify(saved.snapshot.id)

    sound = [await is_sound(proving, Part(number=number, of=3)) for number in (1, 2, 3)]
    assert sorted(sound) == [False, True, True]
    largest_pack(place).unlink()
    with pytest.raises(Damaged, match="some of its data is not there"):
        await proving.verify(saved.snapshot.id)


def largest_pack(place: Place) -> Path:
    packs = [path for path in (place.repo / "data").rglob("*") if path.is_file()]
    return max(packs, key=lambda path: path.stat().st_size)


def flip_a_byte(place: Place) -> None:
    pack = largest_pack(place)
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)


async def is_sound(proving: Proving, part: Part) -> bool:
    try:
        await CheckRepository(service=INFRA, part=part).perform(proving.site)
    except Damaged:
        return False
    return True


async def test_an_emptied_folder_is_caught(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    root = place.tree({"kept/a": b"1", "kept/b": b"2"})
    proving.saw(root)
    (root / "kept/a").unlink()
    halved = await save(engine, root)
    (root / "kept/b").unlink()
    (root / "kept").rmdir()
    emptied = await save(engine, root)

    with pytest.raises(Damaged, match=r"2 paths differ: .*kept/a"):
        await proving.verify(halved.snapshot.id)
    with pytest.raises(Damaged, match=r"\./data/uploads of uploads is an empty folder"):
        await proving.verify(emptied.snapshot.id)
    proving.kept = None
    with pytest.raises(Damaged, match=r"is an empty folder in the snapshot"):
        await proving.verify(emptied.snapshot.id)


async def test_what_an_owner_or_a_mode_has_become_is_caught(
    place: Place, engine: RusticEngine, proving: Proving
) -> None:
    root = place.tree({"a": b"1", "b": b"2"})
    proving.saw(root)
    (root / "a").chmod(0o600)
    os.chown(root / "b", 12, 34)
    saved = await save(engine, root)

    with pytest.raises(Damaged, match=r"a \(mode\).*b \(uid, gid\)"):
        await proving.verify(saved.snapshot.id)
