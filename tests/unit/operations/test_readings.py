"""What a node reads out of a backup, and how it says that something is not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Invalid, NotFound
from composia.model.service import ServiceRef
from composia.operations.readings import ListSnapshot, ReadSnapshot
from composia.tools.rustic import Entry, Labels
from tests.twins.site import Twins

INFRA = ServiceRef(
    name="infra-backup",
    folder="infra-backup",
    project="infra-backup",
    compose_files=("docker-compose.yaml",),
    revision="0" * 40,
)


def a_snapshot(twins: Twins, **listings: list[Entry]) -> str:
    """One that holds these entries, by their folders; `top` is the topmost."""
    labels = Labels(node="main", service="my-app", item="uploads", task="1")
    snapshot = twins.engine._keep(labels, 1)
    twins.engine.listings = {"" if name == "top" else name: one for name, one in listings.items()}
    return snapshot.id


async def listed(twins: Twins, snapshot: str, path: str) -> list[Any]:
    wanted = ListSnapshot(service=INFRA, snapshot_id=snapshot, path=path)
    return [json.loads(line) async for line in wanted.read(twins.site)]


async def test_a_folder_that_is_not_in_the_backup_is_not_found(tmp_path: Path) -> None:
    twins = Twins(tmp_path / "folder")
    snapshot = a_snapshot(twins, files=[Entry(path="files/a", type="file", size=1)])

    assert [one["path"] for one in await listed(twins, snapshot, "./files/")] == ["files/a"]
    with pytest.raises(NotFound, match="no folder `files/gone` in the backup") as told:
        await listed(twins, snapshot, "files/gone")
    assert told.value.hint


async def test_a_backup_of_a_single_file_names_it_when_it_is_asked_for_as_a_folder(
    tmp_path: Path,
) -> None:
    twins = Twins(tmp_path / "folder")
    snapshot = a_snapshot(twins, top=[Entry(path="dump.sql", type="file", size=1)])
    whole = ReadSnapshot(service=INFRA, snapshot_id=snapshot, path="", type="dir")

    with pytest.raises(Invalid, match="a single file") as told:
        await anext(whole.read(twins.site))
    assert told.value.hint == "Its path is `dump.sql`."
