"""The REST API, `/api/v1`: the table of contents."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from composia.controller.api import (
    backups,
    catalog,
    moves,
    nodes,
    notifications,
    problems,
    repository,
    schedules,
    services,
    system,
    tasks,
)
from composia.controller.api.desk import Repeated, on_repeated
from composia.controller.api.queries import PREFIX

ROUTERS = (
    services, moves, tasks, backups, nodes, repository, catalog, schedules, notifications, system,
)  # fmt: skip


def mount(app: FastAPI) -> None:
    """Add every route, and have every error answered as a problem.

    The app has its `state.controller` before the first call.
    """
    for module in ROUTERS:
        app.router.routes.extend(module.router.routes)
    problems.install(app, _methods)
    app.add_exception_handler(Repeated, on_repeated)
    _describe(app)


def _methods(path: str) -> set[str]:
    """What may be done with an address, whichever of its routes does it."""
    return {
        method
        for module in ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute) and compile_path(route.path)[0].match(path)
        for method in route.methods or ()
    }


def _describe(app: FastAPI) -> None:
    plain = app.openapi

    def complete() -> dict[str, Any]:
        document = plain()
        schemas = document["components"]["schemas"]
        if "ProblemDetails" not in schemas:
            schema = problems.ProblemDetails.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
            schemas |= schema.pop("$defs")
            schemas["ProblemDetails"] = schema
        return document

    app.openapi = complete  # type: ignore[method-assign]  # as FastAPI's documentation has it


__all__ = ["PREFIX", "mount"]
