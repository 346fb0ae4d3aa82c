"""The newest backup of each item on each node."""

from __future__ import annotations

from composia.controller.store.store import Store
from composia.model.backup import BackupKind, BackupStatus
from tests.twins.office import NOW, backup

FAILED = {"status": BackupStatus.FAILED, "snapshot_id": None}


async def test_each_item_on_each_node_has_its_newest(store: Store) -> None:
    await store.keep_backups(
        [
            backup("01B1"),
            backup("01B2"),
            backup("01B3", **FAILED),
            backup("01B4", node="edge"),
            backup("01B5", service="wiki", **FAILED),
        ]
    )

    newest = {one.id for one in await store.newest_backups()}
    good = {one.id for one in await store.newest_backups(good=True)}

    assert newest == {"01B3", "01B4", "01B5"}
    assert good == {"01B2", "01B4"}
    assert {one.id for one in await store.newest_backups(("wiki",))} == {"01B5"}
    assert await store.newest_backups((), good=True) == []


async def test_one_that_was_found_damaged_or_that_may_not_be_whole_is_not_good(
    store: Store,
) -> None:
    unproven = {"status": BackupStatus.UNPROVEN, "data_item": "database"}
    await store.keep_backups(
        [
            backup("01B1"),
            backup("01B2", damaged=True),
            backup("01B3", verified_at=NOW, **unproven),
            backup("01B4", node="edge", **unproven),
        ]
    )

    assert {one.id for one in await store.newest_backups(good=True)} == {"01B1"}


async def test_a_copy_of_what_was_about_to_be_replaced_is_not_good(store: Store) -> None:
    await store.keep_backups([backup("01B1"), backup("01B2", kind=BackupKind.BEFORE_RESTORE)])

    assert [one.id for one in await store.newest_backups(good=True)] == ["01B1"]


async def test_one_whose_snapshot_is_gone_is_not_good(store: Store) -> None:
    await store.keep_backups([backup("01B1"), backup("01B2", missing=True)])

    assert [one.id for one in await store.newest_backups(good=True)] == ["01B1"]
