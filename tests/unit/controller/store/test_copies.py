"""What the store keeps of copies, of what was read, and of verifications."""

from __future__ import annotations

import pytest

from composia.controller.store.store import Store
from composia.model.backup import BackupStatus
from composia.model.offsite import CopyState, ReadPart
from tests.twins.office import NOW, SNAPSHOT, backup


async def test_a_record_is_in_the_copies_that_have_its_snapshot(store: Store) -> None:
    other = "6" * 64
    await store.keep_backups([backup("01A"), backup("01B", snapshot_id=other, copies=("s3",))])

    changed = await store.note_copied("s3", [SNAPSHOT], {})

    assert {one.id: one.copies for one in changed} == {"01A": ("s3",), "01B": ()}
    assert await store.note_copied("s3", [SNAPSHOT], {}) == []


async def test_a_copy_of_a_copy_is_of_the_first_ones_record_and_of_the_adopted_one(
    store: Store,
) -> None:
    first = "6" * 64
    await store.keep_backups([backup("01A"), backup("01B", snapshot_id=first, missing=True)])

    changed = await store.note_copied("s3", [SNAPSHOT], {SNAPSHOT: first})

    assert {one.id: (one.copies, one.original) for one in changed} == {
        "01A": (("s3",), first),
        "01B": (("s3",), None),
    }


async def test_a_proof_makes_an_adopted_backup_a_good_one(store: Store) -> None:
    await store.keep_backups([backup("01A", status=BackupStatus.UNPROVEN)])

    await store.note_verification("01A", "all equal", at=NOW, proven=True)

    (found,) = await store.backups(status=BackupStatus.SUCCESS)
    assert (found.verified_at, found.verification) == (NOW, "all equal")


async def test_a_proof_that_cannot_tell_whether_all_was_saved_leaves_it_unproven(
    store: Store,
) -> None:
    await store.keep_backups([backup("01A", status=BackupStatus.UNPROVEN)])

    await store.note_verification("01A", "equal to itself", at=NOW, proven=True, whole=False)

    found = await store.backup("01A")
    assert found
    assert (found.status, found.verified_at) == (BackupStatus.UNPROVEN, NOW)
    assert not found.is_whole


async def test_a_failed_verification_takes_the_proof_away_and_one_that_could_not_be_does_not(
    store: Store,
) -> None:
    await store.keep_backups([backup("01A", verified_at=NOW)])

    await store.note_verification("01A", "could not be verified", at=None, proven=None)
    kept = await store.backup("01A")
    await store.note_verification("01A", "2 paths differ", at=None, proven=False)
    gone = await store.backup("01A")

    assert kept
    assert kept.verified_at == NOW
    assert gone
    assert (gone.verified_at, gone.verification) == (None, "2 paths differ")


async def test_when_a_proof_was_tried_outlives_the_record(store: Store) -> None:
    await store.keep_backups([backup("01A"), backup("01B", data_item="cache")])

    await store.note_verification("01A", "not enough room", at=NOW, proven=None)
    await store.forget_backups(["01A"])

    assert await store.tried() == {"my-app/uploads@main": NOW}


async def test_copies_and_the_part_that_was_read_are_remembered(store: Store) -> None:
    state = CopyState(repository_id="c" * 64, snapshots=3)
    await store.keep_copy("s3", state)
    await store.note_read_part(ReadPart(number=2, of=4))

    assert await store.copies() == {"s3": state}
    assert await store.read_part() == ReadPart(number=2, of=4)


def test_a_round_of_checks_that_has_begun_keeps_its_number_of_parts() -> None:
    last = ReadPart(number=3, of=4)
    assert str(last.next(9)) == "4/4"
    assert str(last.next(9).next(9)) == "1/9"


@pytest.mark.parametrize(
    ("number", "of", "damaged", "whole"),
    [
        (1, 9, False, True),
        (1, 9, True, False),
        (3, 4, False, True),
        (2, 4, False, True),
        (3, 4, True, False),
        (4, 4, False, False),
        (3, 9, False, False),
    ],
    ids=["begins", "begins badly", "goes on", "twice", "damaged", "one left out", "another round"],
)
def test_a_round_is_whole_as_far_as_each_of_its_parts_was(
    number: int, of: int, damaged: bool, whole: bool
) -> None:
    read = ReadPart(number=number, of=of)
    assert read.read(ReadPart(number=2, of=4, whole=True), damaged=damaged).whole is whole
    if number > 1:
        assert not read.read(ReadPart(number=2, of=4), damaged=damaged).whole
        assert not read.read(None, damaged=damaged).whole
