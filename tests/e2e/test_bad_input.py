"""Whatever somebody sends or commits: a clear answer from end to end, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tests.e2e.services import files_compose, files_meta
from tests.e2e.world import World, until
from tests.lab.catalog import GIT_ENV
from tests.lab.shell import run

HOSTILE = ["; rm -rf", "--help", "ö", "n" * 300, "$(reboot)", "a\nb", "..", "a/../../b", "%00"]
VERBS = ["deploy", "update", "stop", "restart", "backup", "restore", "dns-update", "migrate"]
NAME = "sound"


@pytest.fixture(scope="module", autouse=True)
def sound(world: World) -> str:
    """A service that stays in order whatever is sent."""
    world.service(NAME, files_compose(), files_meta(NAME))
    world.ok(f"/services/{NAME}/deploy")
    return NAME


@pytest.fixture(autouse=True)
def _nothing_is_lost(world: World) -> None:
    container, head = world.container(NAME, "web"), world.revision()
    assert container
    assert head


def refused(answer: httpx2.Response, *statuses: int) -> dict[str, object]:
    """A problem that says what is wrong."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, object] = answer.json()
    assert told["detail"]
    assert "Traceback" not in answer.text
    return told


def works(world: World) -> None:
    """The controller answers, the service is the same, and its containers are."""
    assert world.get(f"/services/{NAME}").json()["problems"] == []
    assert world.docker("inspect", "-f", "{{.State.Running}}", world.container(NAME, "web")) == (
        "true"
    )
    run("git", "-C", world.lab.git.bare, "fsck", "--strict")


@pytest.mark.parametrize("verb", VERBS)
def test_a_body_that_is_no_json_is_refused(world: World, verb: str) -> None:
    for body in (b"{", b"nodes=main", b"\xff\xfe"):
        answer = world.http.post(f"/services/{NAME}/{verb}", content=body)
        refused(answer, 400)


@pytest.mark.parametrize("verb", VERBS)
def test_a_body_of_ten_megabytes_is_refused(world: World, verb: str) -> None:
    body = b'{"nodes": ["' + b"n" * (10 * 1024 * 1024) + b'"]}'
    refused(world.http.post(f"/services/{NAME}/{verb}", content=body), 413)
    works(world)


def test_a_file_of_ten_megabytes_is_refused(world: World) -> None:
    headers = {"If-Match": world.revision(), "Content-Type": "application/octet-stream"}
    path, head = f"/catalog/files/{NAME}/large.txt", world.revision()
    refused(world.http.put(path, content=b"x" * (10 * 1024 * 1024), headers=headers), 413)
    assert world.revision() == head


@pytest.mark.parametrize("token", ["wrong", "Bearer", "ö", "x" * 5000])
def test_a_wrong_token_is_refused_everywhere(world: World, token: str) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()}
    with httpx2.Client(base_url=f"{world.lab.url}/api/v1", headers=headers, timeout=60) as http:
        refused(http.get("/services"), 401)
        refused(http.post(f"/services/{NAME}/stop"), 401)
        refused(http.put("/catalog/files/a/b", content=b"x", headers={"If-Match": "*"}), 401)
        for way in ("channel", "bundles/k/s", "streams/s"):
            call = http.post if way.startswith("streams") else http.get
            assert call(f"{world.lab.url}/api/agent/{way}").status_code in (400, 401, 404, 405)
    works(world)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_service_is_refused(world: World, name: str) -> None:
    for verb in VERBS:
        answer = world.http.post(f"/services/{quote(name, safe='')}/{verb}", content=b"{}")
        refused(answer, 404, 422)
    refused(world.http.get(f"/services/{quote(name, safe='')}/instances/main/logs"), 404, 422)
    works(world)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_file_breaks_nothing(world: World, name: str) -> None:
    headers = {"If-Match": world.revision(), "Content-Type": "application/octet-stream"}
    path = f"/catalog/files/{quote(name, safe='')}/composia-meta.yaml"
    answer = world.http.put(path, content=files_meta("odd").encode(), headers=headers)
    if answer.status_code != 200:
        refused(answer, 404, 422)
    works(world)
    outside = Path(world.lab.state).parent
    assert not any((outside / odd).exists() for odd in ("b", "composia-meta.yaml"))


@pytest.mark.parametrize(
    "path", [".git/config", "a/.GIT/hooks/post-merge", "../outside", "a/../../outside", "//etc/x"]
)
def test_a_path_that_leaves_the_catalog_is_refused(world: World, path: str) -> None:
    head = world.revision()
    headers = {"If-Match": head, "Content-Type": "application/octet-stream"}
    address = f"/catalog/files/{quote(path, safe='')}"
    refused(world.http.put(address, content=b"x", headers=headers), 404, 422)
    refused(world.http.get(address), 404, 422)
    assert world.revision() == head
    works(world)


def test_a_file_is_written_whatever_there_is_when_one_says_so(world: World) -> None:
    headers = {"If-Match": "*", "Content-Type": "application/octet-stream"}
    answer = world.http.put(f"/catalog/files/{NAME}/note.txt", content=b"hi", headers=headers)
    assert answer.status_code == 200, answer.text
    assert world.get(f"/catalog/files/{NAME}/note.txt").content == b"hi"


@pytest.mark.parametrize(
    "include", ["../other", "./data/../../other", "/etc", "./a/../..", "..", "~/x", "a\\u0000b"]
)
def test_an_include_that_leaves_the_folder_is_refused_with_its_place(
    world: World, include: str
) -> None:
    meta = files_meta("leaves").replace("./data/uploads]", f'"{include}"]')
    world.service("leaves", files_compose(), meta)
    (problem, *_) = world.get("/services/leaves").json()["errors"]
    assert problem["file"] == "leaves/composia-meta.yaml"
    assert problem["line"]
    refused(world.post("/services/leaves/backup"), 422)
    works(world)


def test_a_folder_that_leads_out_by_a_link_is_not_saved(world: World) -> None:
    world.service("linked", files_compose(), files_meta("linked"))
    world.ok("/services/linked/deploy")
    uploads, secret = world.folder("linked") / "data/uploads", world.lab.state / "outside"
    secret.mkdir()
    (secret / "secret.txt").write_text("not yours")
    uploads.rmdir()
    uploads.symlink_to(secret)
    task = world.do("/services/linked/backup", {"data_items": ["uploads"]})
    assert task["status"] == "failed"
    assert "link" in task["error"]["message"]
    assert [record["snapshot_id"] for record in world.backups(service="linked")] == [None]
    assert (secret / "secret.txt").read_text() == "not yours"


def test_a_link_of_the_catalog_that_leads_out_is_not_deployed(world: World, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "-q", world.lab.git.bare, clone)
    folder = clone / "escapes"
    folder.mkdir()
    (folder / "docker-compose.yaml").write_text(files_compose())
    (folder / "composia-meta.yaml").write_text(files_meta("escapes"))
    (folder / "passwd").symlink_to("../../../../etc/passwd")
    for words in (["add", "-A"], ["commit", "-qm", "Escape"], ["push", "-q", "origin", "HEAD"]):
        run("git", "-C", clone, *words, env={**os.environ, **GIT_ENV})
    until(lambda: world.get("/services/escapes").status_code == 200, "the new service")
    answer = world.post("/services/escapes/deploy")
    if answer.status_code == 202:
        task = world.wait(answer.json()["id"])
        assert task["status"] == "failed"
        assert "passwd" in task["error"]["message"]
    else:
        refused(answer, 409, 422)
    assert not (world.folder("escapes") / "passwd").exists()
    works(world)
