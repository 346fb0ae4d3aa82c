"""All data items of a service, brought back together."""

from __future__ import annotations

import pytest

from composia.controller.auth import Gate
from composia.model.backup import BackupStatus
from composia.model.config import AccessToken
from tests.pages.safeguards import NEWEST
from tests.twins.office import TOKENS, MemoryOffice
from tests.unit.web.conftest import Visitor
from tests.unit.web.test_restoring import newest, words

HERE = "/services/my-app/restore"
DUMP = "01B000241"
BOTH = {"data_items": ["uploads", "database"], "backup_ids": [NEWEST, DUMP], "node": "main"}


async def test_it_says_from_when_each_item_is_and_what_is_replaced(admin: Visitor) -> None:
    said = await words(admin, HERE)

    assert "uploadsAs it was 7 minutes ago" in said
    assert "databaseAs it was 7 minutes ago" in said
    assert "legacyHas no good backup, and is left as it is" in said
    assert "The path ./data/uploads" in said
    assert "All databases of postgres" in said
    assert "Stopped for a moment: postgres, web." in said
    assert "is kept for 24 hours" in said


async def test_only_what_is_ticked_is_replaced(admin: Visitor) -> None:
    said = await words(admin, f"{HERE}/plan?data_items=database&node=main")

    assert "All databases of postgres" in said
    assert "./data/uploads" not in said


async def test_nothing_ticked_is_nothing_restored(admin: Visitor, office: MemoryOffice) -> None:
    before = len(office.store.admitted)

    said = await words(admin, f"{HERE}/plan?node=main")
    answer = await admin.press(HERE, node="main")

    assert "no data item is chosen" in said
    assert answer.status_code == 409
    assert len(office.store.admitted) == before


async def test_what_was_looked_at_is_what_is_restored(admin: Visitor, office: MemoryOffice) -> None:
    page = (await admin.get(HERE)).text
    records = office.store.records
    later = next(one for one in records if one.id == NEWEST)
    records.append(later.model_copy(update={"id": "01B000300", "snapshot_id": "9" * 64}))

    answer = await admin.press(HERE, **BOTH, to="in_place")

    assert f'name="backup_ids" value="{NEWEST}"' in page
    assert answer.headers["hx-redirect"].startswith("/tasks/01T")
    plan = newest(office)
    assert [one.wanted.backup_id for one in plan.items] == [NEWEST, DUMP]
    assert (plan.node, plan.to) == ("main", "in_place")


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_items": ["uploads"]},
        {"backup_ids": [NEWEST]},
        {"backup_ids": ["01B999990", NEWEST]},
        {"backup_ids": ["nothing"]},
    ],
)
async def test_what_was_not_shown_is_refused(
    admin: Visitor, office: MemoryOffice, wrong: dict[str, list[str]]
) -> None:
    before = len(office.store.admitted)

    answer = await admin.press(HERE, **{**BOTH, **wrong})

    assert answer.status_code == 409
    assert len(office.store.admitted) == before


async def test_unproven_ones_are_taken_where_that_is_asked_for(
    admin: Visitor, office: MemoryOffice
) -> None:
    office.store.records = [
        one.model_copy(update={"status": BackupStatus.UNPROVEN, "verified_at": None})
        for one in office.store.records
        if one.data_item == "database"
    ]
    every = f"{HERE}/plan?node=main&data_items=database"

    assert "Has no good backup" in await words(admin, every)
    assert "is unproven" in await words(admin, f"{every}&unproven=true")


async def test_the_safety_copy_can_be_left_out(admin: Visitor, office: MemoryOffice) -> None:
    every = f"{HERE}/plan?node=main&data_items=uploads"
    ticked = 'name="without_safety_copy" value="true" checked'

    assert ticked not in (await admin.get(every)).text
    assert ticked in (await admin.get(f"{every}&without_safety_copy=true")).text
    await admin.press(HERE, **BOTH, without_safety_copy="true")
    assert newest(office).before is None


async def test_a_copy_and_another_node_can_be_chosen(admin: Visitor) -> None:
    elsewhere = await words(admin, f"{HERE}/plan?node=edge&data_items=uploads&to=scratch")
    copy = await words(admin, f"{HERE}/plan?node=main&data_items=uploads&from=s3")

    assert "a new folder on edge" in elsewhere
    assert "saved on main" in elsewhere
    assert "read from the copy s3" in copy


async def test_whoever_may_only_read_is_not_offered_it(
    stranger: Visitor, office: MemoryOffice
) -> None:
    await stranger.sign_in("read-token")

    assert HERE not in (await stranger.get("/services/my-app")).text
    assert (await stranger.get(HERE)).status_code == 403


async def test_a_token_for_another_service_restores_nothing(
    stranger: Visitor, office: MemoryOffice
) -> None:
    text = '{"name": "wiki", "token": "wiki-token", "scope": "operate", "services": ["wiki"]}'
    office.gate = Gate((*TOKENS, AccessToken.model_validate_json(text)))
    await stranger.sign_in("wiki-token")

    assert (await stranger.get(HERE)).status_code == 403
    assert (await stranger.press(HERE, **BOTH)).status_code == 403
