"""Lists: in pages, each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from fastapi import FastAPI

from tests.twins.office import MemoryOffice

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
