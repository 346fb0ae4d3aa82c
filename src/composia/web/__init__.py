"""The pages: what people see and press, over the same functions as the API."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Match, Mount
from starlette.types import Scope

from composia.web import (
    backups,
    browser,
    door,
    files,
    history,
    home,
    instances,
    live,
    moving,
    nodes,
    notifications,
    repository,
    restoring,
    restoring_all,
    schedules,
    services,
    settings,
    tasks,
)
from composia.web.answers import install
from composia.web.assets import STATIC, Built
from composia.web.guard import Guarded
from composia.web.listings import Listings
from composia.web.sessions import Attempts

#: In the order of the navigation.
ROUTERS = (
    door,
    live,
    home,
    services,
    instances,
    moving,
    files,
    history,
    backups,
    browser,
    restoring,
    restoring_all,
    tasks,
    schedules,
    nodes,
    repository,
    notifications,
    settings,
)
#: What belongs to programs, whose errors are problems and never pages.
OTHERS = ("/api/", "/healthz", "/readyz", "/metrics")


def mount(app: FastAPI) -> None:
    """Add the pages to an application that has its `state.controller` before the first call."""
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    # One state: the controller is the same, whichever part of the application is asked.
    pages.state = app.state
    pages.state.attempts = Attempts()
    pages.state.listings = Listings()
    for module in ROUTERS:
        pages.router.routes.extend(module.router.routes)
    pages.mount("/static", Built(STATIC))
    install(pages)
    pages.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    # Around the application as a whole: its answer to a bug of ours is guarded too.
    app.router.routes.append(_Pages("", app=Guarded(pages)))


class _Pages(Mount):
    def matches(self, scope: Scope) -> tuple[Match, Any]:
        if str(scope.get("path", "")).startswith(OTHERS):
            return Match.NONE, {}
        return super().matches(scope)


__all__ = ["mount"]
