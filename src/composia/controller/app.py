"""The controller as an application: its API, its pages' ground, and what watches it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from structlog import get_logger

from composia import __version__
from composia.controller import agents, api, repository
from composia.controller.controller import Controller, opened
from composia.controller.metrics import metrics
from composia.controller.trail import Noted
from composia.errors import ComposiaError
from composia.model.config import ControllerConfig, Scope

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_log = get_logger("composia.controller")


def create_app(config: ControllerConfig, config_file: Path | None = None) -> FastAPI:
    """The controller as an application; it works from its start-up to its shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with opened(config, config_file) as controller:
                app.state.controller = controller
                _log.info("controller starts", version=__version__, state_dir=str(config.state_dir))
                yield
        except ComposiaError as error:
            app.state.failure = error
            raise
        _log.info("controller ends")

    app = FastAPI(
        title="Composia",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    api.mount(app)
    app.router.routes.extend((*agents.router.routes, *repository.router.routes))
    app.add_middleware(Noted)
    _watch(app)
    return app


def _watch(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> Response:
        controller: Controller = request.app.state.controller
        await controller.store.repository_id()
        # Without a token: no more than that.
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", include_in_schema=False)
    async def prometheus(request: Request) -> Response:
        controller: Controller = request.app.state.controller
        # It names services and nodes: a token like for any other call.
        controller.gate.caller(request.headers.get("authorization")).must(Scope.READ)
        text = await metrics(controller)
        return PlainTextResponse(text, media_type=_PROMETHEUS)
