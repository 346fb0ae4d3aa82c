"""`/backups`, `/repository`, `/nodes` and `/catalog`."""

from __future__ import annotations

import httpx2
import pytest

from composia.controller.auth import Gate
from composia.controller.worktree import CatalogState
from composia.model.config import AccessToken
from tests.twins.office import REVISION, SNAPSHOT, MemoryOffice

Client = httpx2.AsyncClient


async def test_records_are_listed_newest_first_and_filtered(admin: Client) -> None:
    listed = (await admin.get("/backups", params={"service": "my-app"})).json()["items"]
    assert [one["id"] for one in listed] == ["01B3", "01B2", "01B1"]
    failed = (await admin.get("/backups", params={"status": "failed"})).json()["items"]
    assert [one["id"] for one in failed] == ["01B3"]


async def test_a_record_names_its_snapshot(admin: Client) -> None:
    assert (await admin.get("/backups/01B1")).json()["snapshot_id"] == SNAPSHOT


async def test_one_record_is_restored_to_scratch(admin: Client) -> None:
    answer = await admin.post("/backups/01B1/restore", json={"node": "main", "to": "scratch"})
    assert answer.status_code == 202
    assert answer.json()["title"].endswith("to a scratch folder")


async def test_a_failed_record_cannot_be_restored(admin: Client) -> None:
    assert (await admin.post("/backups/01B3/restore")).status_code == 409


async def test_a_record_is_forgotten_by_a_task(admin: Client) -> None:
    answer = await admin.delete("/backups/01B1")
    assert (answer.status_code, answer.json()["type"]) == (202, "forget_backup")


async def test_the_files_of_a_backup_are_listed(admin: Client) -> None:
    found = (await admin.get("/backups/01B1/files?path=files/data")).json()["items"]
    assert [(one["path"], one["type"]) for one in found] == [("files/data/uploads", "dir")]


async def test_a_file_is_downloaded_under_its_name(admin: Client) -> None:
    answer = await admin.get("/backups/01B1/download?path=files/data/uploads/a.txt")
    assert answer.content == b"hello"
    assert answer.headers["content-disposition"].endswith("a.txt")


async def test_a_folder_is_downloaded_as_tar(admin: Client) -> None:
    answer = await admin.get("/backups/01B1/download?path=files/data")
    assert answer.headers["content-type"] == "application/x-tar"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("01B1/download?path=files/nope", 404),
        ("01B1/files?path=../etc", 422),
        ("01B1/files?path=a%00b", 422),
        ("01B3/files", 409),
        ("01NOPE/files", 404),
    ],
)
async def test_what_is_not_in_a_backup_is_refused(admin: Client, path: str, status: int) -> None:
    assert (await admin.get(f"/backups/{path}")).status_code == status


async def test_a_backup_without_a_snapshot_names_where_others_are(admin: Client) -> None:
    answer = await admin.get("/backups/01B3/files")
    assert answer.json()["hint"] == "`composia backups --service my-app` lists the others."


async def test_nobody_reads_while_the_repository_is_offline(
    admin: Client, office: MemoryOffice
) -> None:
    office.nodes.offline.add("main")
    assert (await admin.get("/backups/01B1/files")).status_code == 409


async def test_the_repository_is_shown_as_the_records_know_it(admin: Client) -> None:
    found = (await admin.get("/repository")).json()
    assert (found["snapshots"], found["size"], found["nodes"]) == (2, 20, ["main"])


async def test_nodes_are_shown_with_what_runs_there(admin: Client, office: MemoryOffice) -> None:
    office.nodes.offline.add("edge")
    found = {one["id"]: one for one in (await admin.get("/nodes")).json()["items"]}
    assert (found["main"]["online"], found["main"]["repository"]) == (True, True)
    assert (found["edge"]["online"], found["edge"]["repository"]) == (False, False)
    assert (await admin.get("/nodes/nowhere")).status_code == 404


FILE = "/catalog/files/my-app/composia-meta.yaml"


async def test_files_whose_names_are_no_text_are_listed(
    admin: Client, office: MemoryOffice
) -> None:
    office.catalog.content["my-app/caf\udce9"] = b"x"

    assert "my-app/caf\ufffd" in (await admin.get("/catalog/files")).json()["items"]


async def test_a_file_is_read_and_written_at_a_revision(admin: Client) -> None:
    read = await admin.get(FILE)
    assert (read.text, read.headers["etag"]) == ("name: my-app\n", f'"{REVISION}"')
    headers = {"If-Match": read.headers["etag"]}
    written = await admin.put(FILE, content=b"name: mine\n", headers=headers)
    assert written.headers["etag"] == f'"{written.json()["revision"]}"'
    assert (await admin.get(FILE)).text == "name: mine\n"


async def test_a_file_is_written_by_json_too(admin: Client) -> None:
    await admin.put(FILE, json={"content": "name: x\n"}, headers={"If-Match": REVISION})
    assert (await admin.get(FILE)).text == "name: x\n"


async def test_a_catalog_that_has_moved_on_is_not_overwritten(admin: Client) -> None:
    answer = await admin.put(FILE, content=b"x", headers={"If-Match": '"' + "0" * 40 + '"'})
    assert answer.status_code == 412
    assert (await admin.get(FILE)).text == "name: my-app\n"


async def test_nothing_is_written_without_a_revision(admin: Client) -> None:
    assert (await admin.put(FILE, content=b"x")).status_code == 422


async def test_the_catalog_is_pulled_at_once_whatever_a_webhook_sends(
    admin: Client, office: MemoryOffice
) -> None:
    office.catalog.pushed = office.catalog.known.model_copy(update={"revision": "b" * 40})
    answer = await admin.post("/catalog/pull", json={"ref": "refs/heads/main"})
    assert (answer.status_code, answer.json()["revision"]) == (200, "b" * 40)
    assert answer.json() == (await admin.get("/catalog")).json()

    office.catalog.state = CatalogState.UNREACHABLE
    answer = await admin.post("/catalog/pull")
    assert (answer.status_code, answer.json()["state"]) == (200, "unreachable")

    admin.headers["Authorization"] = "Bearer read-token"
    assert (await admin.post("/catalog/pull")).status_code == 403


async def test_config_is_read_again(admin: Client, office: MemoryOffice) -> None:
    answer = await admin.post("/config/reload")
    assert (answer.json()["nodes"], office.reloads) == (["main", "edge"], 1)


def one_services(office: MemoryOffice) -> dict[str, str]:
    """The header of somebody who may do anything with one service."""
    text = '{"name": "own", "token": "own-token", "scope": "admin", "services": ["my-app"]}'
    office.gate = Gate([AccessToken.model_validate_json(text)])
    return {"Authorization": "Bearer own-token", "If-Match": "*"}


@pytest.mark.parametrize(
    "content", [b"name: shop\n", b"name: my-app\ninfra: {rustic: {}}\n", b"name: [my-app\n",
                b"name: my-app\nproject_name: shop\n"],
)  # fmt: skip
async def test_a_token_of_one_service_claims_nothing_of_others(
    anyone: Client, office: MemoryOffice, content: bytes
) -> None:
    headers = one_services(office)

    answer = await anyone.put(FILE, content=content, headers=headers)

    assert answer.status_code == 403
    assert (await anyone.get(FILE, headers=headers)).text == "name: my-app\n"
    other = b"name: my-app\nnodes: [main]\n"
    assert (await anyone.put(FILE, content=other, headers=headers)).status_code == 200


async def test_uncommitted_paths_of_others_are_not_shown(
    anyone: Client, office: MemoryOffice
) -> None:
    headers = one_services(office)
    office.catalog.uncommitted = ("my-app/a", "other/b")

    shown = (await anyone.get("/catalog", headers=headers)).json()

    assert shown["uncommitted"] == ["my-app/a"]
