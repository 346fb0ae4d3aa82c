"""`/settings`: who may sign in, what runs here, and signing out everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from composia.controller.api import system
from composia.model.config import READ_AT_START, AccessToken
from composia.web.sessions import end_everywhere
from composia.web.visit import COOKIE, AtVisit, Visit, to

router = APIRouter(prefix="/settings")


class TokenView(BaseModel):
    """An access token: never the token itself."""

    model_config = ConfigDict(frozen=True)

    name: str
    scope: str
    services: Literal["all"] | tuple[str, ...]
    enabled: bool


@router.get("")
async def show_settings(visit: AtVisit) -> Response:
    """All of it."""
    restart = visit.request.query_params.getlist("restart")
    return visit.page(
        "settings.html",
        tokens=[*_tokens(visit)],
        revision=visit.office.catalog.status.revision,
        nodes=len(visit.office.config.nodes),
        needs_restart=[name for name in READ_AT_START if name in restart],
    )


@router.post("/reload")
async def reload(visit: AtVisit) -> Response:
    """Read config.yaml again."""
    found = await system.reload_config(visit)
    return to("/settings?reloaded=1" + "".join(f"&restart={one}" for one in found.needs_restart))


@router.post("/sign-out")
async def sign_out(visit: AtVisit) -> Response:
    """End every session of this token."""
    await end_everywhere(visit.office, visit.session)
    answer = to("/login")
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer


def _tokens(visit: Visit) -> Iterator[TokenView]:
    """All of them for who may do all; else one's own."""
    for token in visit.office.config.access_tokens:
        if visit.may("admin") or token.name == visit.caller.name:
            yield _view(token)


def _view(token: AccessToken) -> TokenView:
    return TokenView(
        name=token.name, scope=token.scope, services=token.services, enabled=token.enabled
    )
