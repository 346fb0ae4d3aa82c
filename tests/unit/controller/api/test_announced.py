"""What can go wrong is in the OpenAPI document, each status code of it."""

from __future__ import annotations

from typing import Any, NoReturn

import httpx2
import pytest
from fastapi import FastAPI

from composia.errors import ComposiaError, Conflict, Failure, NodeLost
from tests.twins.office import MemoryOffice

Client = httpx2.AsyncClient


def refusing(error: ComposiaError) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    return refuse


def announced(app: FastAPI, method: str, route: str) -> set[int]:
    answers = app.openapi()["paths"][f"/api/v1{route}"][method.lower()]["responses"]
    return {int(status) for status in answers}


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/backups/{id}/files", "/backups/01B1/files"),
        ("/backups/{id}/download", "/backups/01B1/download"),
        ("/services/{service}/instances/{node}/logs", "/services/my-app/instances/main/logs"),
    ],
)
async def test_a_node_may_go_before_it_has_answered(
    app: FastAPI, admin: Client, office: MemoryOffice, route: str, path: str
) -> None:
    office.nodes.read = refusing(NodeLost("node main does not answer"))  # type: ignore[method-assign]

    answer = await admin.get(path)

    assert answer.status_code == 503
    assert answer.status_code in announced(app, "GET", route)


@pytest.mark.parametrize("error", [Conflict("not from a file"), Failure("Git is gone")])
async def test_a_reload_may_be_refused(
    app: FastAPI, admin: Client, office: MemoryOffice, error: ComposiaError
) -> None:
    office.reload = refusing(error)  # type: ignore[method-assign]

    answer = await admin.post("/config/reload")

    assert answer.status_code in {409, 502} & announced(app, "POST", "/config/reload")


async def test_the_catalog_may_be_unreadable(
    app: FastAPI, admin: Client, office: MemoryOffice
) -> None:
    office.catalog.read = refusing(Failure("Git is gone"))  # type: ignore[method-assign]

    answer = await admin.get("/catalog/files/my-app/composia-meta.yaml")

    assert answer.status_code == 502
    assert answer.status_code in announced(app, "GET", "/catalog/files/{path}")
