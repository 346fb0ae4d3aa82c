"""Lists: in pages, each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from fastapi import FastAPI

from composia.model.catalog import Broken
from composia.model.config import RusticConfig
from tests.twins.office import PROBLEM, MemoryOffice

Client = httpx2.AsyncClient


def lists(app: FastAPI) -> Mapping[str, set[str]]:
    """The parameters of every GET that answers with a page, by its path."""
    return {
        path: {one["name"] for one in methods["get"]["parameters"]}
        for path, methods in app.openapi()["paths"].items()
        if "get" in methods and "/Page_" in str(methods["get"]["responses"]["200"])
    }


def test_every_list_is_asked_for_in_pages(app: FastAPI) -> None:
    found = lists(app)
    assert {"/api/v1/nodes", "/api/v1/catalog/files", "/api/v1/tasks"} <= found.keys()
    assert {path: sorted({"limit", "cursor"} - names) for path, names in found.items()} == {
        path: [] for path in found
    }


async def one_by_one(admin: Client, path: str) -> list[Any]:
    """What a list has, asked for in pages of one."""
    items: list[Any] = []
    params: dict[str, str] = {"limit": "1"}
    while True:
        page = (await admin.get(path, params=params)).json()
        (item,) = page["items"]
        items.append(item)
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]


async def test_nodes_go_on_where_their_page_ended(admin: Client) -> None:
    assert [one["id"] for one in await one_by_one(admin, "/nodes")] == ["edge", "main"]


def break_the_repositorys_service(office: MemoryOffice) -> None:
    """Its meta file is not even YAML: what it was for, nobody can tell."""
    known = office.catalog.known
    good = {name: one for name, one in known.services.items() if name != "infra-backup"}
    broken = Broken(folder="infra-backup", name=None, problems=(PROBLEM,), infra=None)
    office.catalog.known = known.model_copy(update={"services": good, "broken": (broken,)})


async def test_nodes_are_listed_whatever_is_wrong_with_the_repositorys_service(
    admin: Client, office: MemoryOffice
) -> None:
    break_the_repositorys_service(office)

    answer = await admin.get("/nodes")
    assert answer.status_code == 200, answer.text
    found = {one["id"]: one["repository"] for one in answer.json()["items"]}
    assert found == {"edge": False, "main": True}


async def test_which_node_holds_the_repository_is_not_guessed(
    admin: Client, office: MemoryOffice
) -> None:
    break_the_repositorys_service(office)
    office.config = office.config.model_copy(update={"rustic": RusticConfig()})

    assert (await admin.get("/nodes/main")).json()["repository"] is None


async def test_the_catalogs_files_go_on_where_their_page_ended(
    admin: Client, office: MemoryOffice
) -> None:
    names = ["a b/100%25", "a b/\udce4", "a b/\udcf6", "a b/ö", "other/docker-compose.yaml"]
    office.catalog.content = dict.fromkeys(names, b"")
    assert await one_by_one(admin, "/catalog/files") == [
        "a b/100%25",
        "a b/ö",
        "a b/\ufffd",
        "a b/\ufffd",
        "other/docker-compose.yaml",
    ]
