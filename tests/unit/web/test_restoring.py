"""What is said before a restore, and what it then does."""

from __future__ import annotations

import re

import pytest

from composia.model.backup import BackupStatus
from composia.workflows.restore import RestorePlan
from tests.pages.safeguards import NEWEST
from tests.twins.office import MemoryOffice
from tests.unit.web.conftest import Visitor

DIALOG = f"/backups/{NEWEST}/restore"
A_TXT = "files/data/uploads/a.txt"
DUMP = "/backups/01B000241/restore"


def newest(office: MemoryOffice) -> RestorePlan:
    plan = list(office.store.admitted.values())[-1][1]
    assert isinstance(plan, RestorePlan)
    return plan


async def words(visitor: Visitor, path: str) -> str:
    """What a person reads of it."""
    page = (await visitor.get(path, headers={"HX-Request": "true"})).text
    return " ".join(re.sub(r"<[^>]+>", "", page).split())


async def test_a_restore_says_what_it_replaces(admin: Visitor) -> None:
    said = await words(admin, DIALOG)

    assert "What is replaced on main The path ./data/uploads" in said
    assert "Stopped for a moment: web." in said
    assert "What the backup left out stays as it is: ./data/uploads/temp." in said
    assert "is kept for 24 hours: press Roll back" in said


async def test_a_restore_of_one_file_says_so(admin: Visitor) -> None:
    said = await words(admin, f"{DIALOG}?path=files/data/uploads/a.txt")

    assert "Only files/data/uploads/a.txt" in said
    assert "The path ./data/uploads/a.txt" in said
    assert "left out stays" not in said


async def test_a_restore_to_scratch_replaces_nothing(admin: Visitor) -> None:
    said = await words(admin, f"{DIALOG}/plan?to=scratch&node=edge")

    assert "Nothing live is replaced" in said
    assert "a new folder on edge" in said
    assert "removed after 7 days" in said


async def test_a_database_is_replaced_whole(admin: Visitor) -> None:
    said = await words(admin, DUMP)

    assert "All databases of postgres" in said
    assert "Stopped for a moment: postgres." in said


async def test_a_restore_that_cannot_be_says_why_before_it_is_pressed(
    admin: Visitor, office: MemoryOffice
) -> None:
    said = await words(admin, f"/backups/{NEWEST}/restore/plan?from=attic")

    assert f"backup {NEWEST} is not known to be in attic" in said
    assert "It is in s3." in said


async def test_an_unproven_backup_is_named_as_such(admin: Visitor, office: MemoryOffice) -> None:
    office.store.records = [
        one.model_copy(update={"status": BackupStatus.UNPROVEN}) for one in office.store.records
    ]

    assert "is unproven" in await words(admin, "/backups/01B000000/restore")


async def test_only_copies_that_have_it_are_offered(admin: Visitor) -> None:
    page = (await admin.get(DIALOG)).text

    assert "The copy s3" in page
    assert "attic" not in page


@pytest.mark.parametrize(
    ("fields", "node", "to", "path", "copy"),
    [
        ({}, "main", "in_place", None, None),
        ({"to": "scratch", "node": "main", "from": ""}, "main", "scratch", None, None),
        ({"to": "in_place", "node": "edge"}, "edge", "in_place", None, None),
        ({"path": A_TXT}, "main", "in_place", A_TXT, None),
        ({"from": "s3"}, "main", "in_place", None, "s3"),
    ],
)
async def test_what_was_chosen_is_what_is_done(
    admin: Visitor,
    office: MemoryOffice,
    fields: dict[str, str],
    node: str,
    to: str,
    path: str | None,
    copy: str | None,
) -> None:
    answer = await admin.press(DIALOG, **fields)

    assert answer.headers["hx-redirect"].startswith("/tasks/01T")
    plan = newest(office)
    assert (plan.node, plan.to, plan.path) == (node, to, path)
    assert plan.repository.copy_name == copy


BOX = "Without a safety copy"


async def test_the_safety_copy_can_be_left_out_where_there_would_be_one(
    admin: Visitor, office: MemoryOffice
) -> None:
    assert BOX in await words(admin, DIALOG)
    assert BOX not in await words(admin, f"{DIALOG}/plan?to=scratch")
    assert BOX not in await words(admin, f"{DIALOG}/plan?from=s3")

    await admin.press(DIALOG)
    assert newest(office).before is not None
    await admin.press(DIALOG, without_safety_copy="true")
    assert newest(office).before is None


async def test_a_box_that_was_ticked_stays_so(admin: Visitor) -> None:
    ticked = 'name="without_safety_copy" value="true" checked'

    assert ticked not in (await admin.get(f"{DIALOG}/plan")).text
    assert ticked in (await admin.get(f"{DIALOG}/plan?without_safety_copy=true")).text


async def test_a_choice_that_nobody_offered_is_refused(
    admin: Visitor, office: MemoryOffice
) -> None:
    before = len(office.store.admitted)
    for wrong in ({"to": "elsewhere"}, {"node": "nowhere"}, {"path": "../../etc"}, {"more": "x"}):
        assert (await admin.press(DIALOG, **wrong)).status_code in (404, 422)

    assert len(office.store.admitted) == before
