"""Promises 9 and 10: what is kept, what goes, and a controller that has lost its database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until


def test_promise_10_what_goes_is_what_the_policy_says_and_the_rest_restores(world: World) -> None:
    uploads = a_service(world, "keeps", "  keep: {last: 1}\n")
    world.ok("/services/keeps/backup")
    (uploads / "later").write_text("later")
    world.ok("/services/keeps/backup", {"data_items": ["uploads"]})
    before, young, old = look(uploads), *world.backups(service="keeps", data_item="uploads")
    (cache,) = world.backups(service="keeps", data_item="cache")

    shown = world.post("/repository/forget?dry_run=true", {"services": ["keeps"]}).json()["plan"]
    world.ok("/repository/forget")

    told = {one["backup_id"]: one["keeps"] for item in shown["items"] for one in item["backups"]}
    assert told == {young["id"]: True, old["id"]: False, cache["id"]: True}
    assert {one["id"] for one in world.backups(service="keeps")} == {young["id"], cache["id"]}
    assert snapshots(world) == {young["snapshot_id"], cache["snapshot_id"]}

    removed_by_hand_stops_the_prune(world, young)
    # The agent dies in the middle of the prune: it is asked again, and everything is well.
    world.lab.fail("prune_repository:middle", "kill-agent:main")
    task = world.start("/repository/prune")
    until(lambda: world.lab.pid("agent:main") is None, "the agent's death")
    assert world.post("/repository/prune").status_code == 409
    assert world.post("/services/keeps/backup").status_code == 409
    world.lab.start("agent:main")
    assert world.wait(task)["status"] == "succeeded", world.log(task)
    (uploads / "later").unlink()
    world.ok("/services/keeps/restore", {"data_items": ["uploads"]})
    assert look(uploads) == before


def removed_by_hand_stops_the_prune(world: World, record: dict[str, Any]) -> None:
    """And shows as missing, until it is there again."""
    snapshot = world.lab.repository / "snapshots" / record["snapshot_id"]
    aside = world.lab.repository.with_name("aside")
    snapshot.rename(aside)
    refused = world.fails("/repository/prune")
    assert record["id"] in refused["error"]["message"]
    assert "--drop-missing" in refused["error"]["hint"]
    assert world.record(record["id"])["missing"]
    assert world.post(f"/backups/{record['id']}/restore").status_code == 409
    aside.rename(snapshot)


def test_promise_9_a_controller_without_its_database_has_everything_back(world: World) -> None:
    uploads = a_service(world, "survives")
    world.service("base", services.database_compose(), services.database_meta("base"))
    world.ok("/services/base/deploy")
    world.sql("base", "create table t as select generate_series(1, 1000) n")
    world.ok("/services/survives/backup")
    world.ok("/services/base/backup")
    before = look(uploads)
    records = {one["id"]: one for one in world.backups()}

    lose_the_state(world)
    assert world.backups() == []
    task = world.ok("/repository/adopt")

    assert task["result"]["adopted"] == len(snapshots(world))
    adopted = {one["id"]: one for one in world.backups()}
    assert {id_: said(one) for id_, one in adopted.items()} == {
        id_: said(one) for id_, one in records.items()
    }
    assert {one["status"] for one in adopted.values()} == {"unproven"}

    shutil.rmtree(uploads)
    (world.volume("survives_cache") / "x").unlink()
    world.sql("base", "drop table t")
    refused = world.post("/services/survives/restore")
    assert (refused.status_code, "--unproven" in refused.text) == (409, True)
    restored = world.ok("/services/survives/restore", {"unproven": True})
    world.ok("/services/base/restore", {"unproven": True})

    assert look(uploads) == before
    assert (world.volume("survives_cache") / "x").read_text() == "x"
    assert world.sql("base", "select count(*) from t") == "1000"
    warnings = " ".join(restored["result"]["warnings"])
    assert "is unproven" in warnings
    assert "owners and times were not compared" in warnings
    # The new one is whole: it backs up into the same repository.
    world.ok("/services/survives/backup")


def a_service(world: World, name: str, more: str = "") -> Path:
    """Deployed and filled; gives its uploads."""
    world.service(name, services.files_compose(), services.files_meta(name) + more)
    world.ok(f"/services/{name}/deploy")
    fill(world.folder(name) / "data/uploads")
    (world.volume(f"{name}_cache") / "x").write_text("x")
    return world.folder(name) / "data/uploads"


def lose_the_state(world: World) -> None:
    """A new controller, with the same configuration and catalog."""
    world.lab.kill("controller")
    shutil.rmtree(Path(world.lab.config).parent / "controller/state")
    world.lab.start("controller")
    until(lambda: nodes_online(world) == {"main", "edge"}, "the nodes")


def said(record: dict[str, Any]) -> dict[str, Any]:
    """What a snapshot says of itself."""
    same = ("service", "data_item", "node", "snapshot_id", "size", "files", "exclude", "task_id")
    return {name: record[name] for name in same}


def nodes_online(world: World) -> set[str]:
    return {one["id"] for one in world.get("/nodes").json()["items"] if one["online"]}


def snapshots(world: World) -> set[str]:
    """The names of the repository's snapshot files."""
    return set(os.listdir(world.lab.repository / "snapshots"))
