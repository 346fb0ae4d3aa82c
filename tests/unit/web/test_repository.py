"""The repository's page, and what is done from there."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from composia.model.backup import BackupStatus
from composia.model.offsite import ReadPart
from composia.web.repository import LISTED, forgetting
from composia.workflows.adopt import AdoptPlan
from composia.workflows.offsite import CopyPlan
from composia.workflows.prune import PrunePlan
from composia.workflows.repository import CheckRepositoryPlan, InitRepositoryPlan
from composia.workflows.retention import ForgetPlan, Judged, JudgedItem
from tests.twins.office import MemoryOffice
from tests.unit.web.conftest import Visitor


def newest(office: MemoryOffice) -> object:
    return list(office.store.admitted.values())[-1][1]


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def test_the_repository_is_seen_at_a_glance(admin: Visitor) -> None:
    said = words((await admin.get("/repository")).text)

    assert "49 snapshots" in said
    assert "One backup has no snapshot any more" in said
    assert "1 of 2 copies off site complete" in said
    assert "the copy's host attic.example.org does not answer" in said.replace("&#39;", "'")


async def test_no_repository_is_explained(admin: Visitor, office: MemoryOffice) -> None:
    office.store.repository = None

    page = (await admin.get("/repository")).text
    await admin.press("/repository/init")

    assert "There is no repository yet" in page
    assert 'href="/repository/init"' in page
    assert 'href="/repository/prune"' not in page
    assert isinstance(newest(office), InitRepositoryPlan)


@pytest.mark.parametrize("care", ["init", "check", "copy", "forget", "prune", "adopt"])
async def test_every_dialog_says_what_it_does(admin: Visitor, care: str) -> None:
    page = (await admin.get(f"/repository/{care}", headers={"HX-Request": "true"})).text

    assert "<html" not in page
    assert f'hx-post="/repository/{care}"' in page
    assert len(words(page)) > 120


@pytest.mark.parametrize(
    ("how", "title"),
    [
        ("structure", "Check the repository on main"),
        ("part", "Check the repository on main and read part 1/10 of its data"),
        ("all", "Check the repository on main and read all its data"),
    ],
)
async def test_a_check_reads_as_much_as_was_chosen(
    admin: Visitor, office: MemoryOffice, how: str, title: str
) -> None:
    await admin.press("/repository/check", how=how)

    plan = newest(office)
    assert isinstance(plan, CheckRepositoryPlan)
    assert str(plan) == title


async def test_a_part_is_one_of_the_round_that_the_schedule_has_begun(
    admin: Visitor, office: MemoryOffice
) -> None:
    office.store.part_read = ReadPart(number=4, of=4)
    page = words((await admin.get("/repository/check", headers={"HX-Request": "true"})).text)
    await admin.press("/repository/check", how="part")

    assert "4 such checks read all of it." in page
    assert str(newest(office)) == "Check the repository on main and read part 1/4 of its data"


async def test_copies_prunes_and_adoptions_are_those_of_the_api(
    admin: Visitor, office: MemoryOffice
) -> None:
    await admin.press("/repository/copy", names=["s3"])
    copy = newest(office)
    assert isinstance(copy, CopyPlan)
    assert [one.copy_name for one in copy.targets] == ["s3"]
    await admin.press("/repository/prune")
    assert isinstance(newest(office), PrunePlan)
    await admin.press("/repository/adopt", repository_id="e" * 64)
    adopt = newest(office)
    assert isinstance(adopt, AdoptPlan)
    assert adopt.instead_of == "f" * 64
    assert (await admin.press("/repository/adopt", repository_id="nonsense")).status_code == 422


async def test_what_would_be_forgotten_is_seen_before_and_why(
    admin: Visitor, office: MemoryOffice
) -> None:
    said = words((await admin.get("/repository/forget")).text)

    assert "30 go, 21 stay." in said
    assert "database of my-app on main" in said
    assert "a younger one stands for each of its periods" in said
    assert "Kept: daily 9" in said
    assert "partial, and a younger one is whole" in said

    await admin.press("/repository/forget")
    plan = newest(office)
    assert isinstance(plan, ForgetPlan)
    assert str(plan) == "Forget 30 of 51 backups"


async def test_dropping_what_is_missing_is_seen_before(admin: Visitor) -> None:
    page = (await admin.get("/repository/forget/plan?drop_missing=true")).text

    assert "31 go, 20 stay." in words(page)
    assert "its snapshot is missing" in page


def test_very_many_are_counted_and_not_all_listed() -> None:
    gone = [
        Judged(
            backup_id=f"01B{n}",
            time=datetime.now(UTC),
            status=BackupStatus.SUCCESS,
            snapshot_id=None,
            task_id=None,
            missing=False,
            keeps=n == 0,
            why=("why",),
        )
        for n in range(5000)
    ]
    item = JudgedItem(
        service="a", data_item="b", node="c", keep=None, state="", backups=tuple(gone)
    )

    found = forgetting((item, item))

    assert (found.going, found.stay) == (9998, 2)
    assert sum(len(one.going) for one in found.items) == LISTED
    assert [one.more for one in found.items] == [4999 - LISTED, 4999]


@pytest.mark.parametrize(
    ("token", "care", "status"),
    [
        ("read-token", "check", 403),
        ("read-token", "forget", 403),
        ("operate-token", "check", 403),
        ("admin-token", "check", 204),
        ("admin-token", "nonsense", 422),
    ],
)
async def test_only_who_may_tends_the_repository(
    stranger: Visitor, token: str, care: str, status: int
) -> None:
    await stranger.sign_in(token)

    assert (await stranger.press(f"/repository/{care}")).status_code == status
    if status == 403:
        assert (await stranger.get(f"/repository/{care}")).status_code == 403
