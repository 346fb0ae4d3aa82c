"""`/login` and `/logout`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from composia.controller.api.office import Office
from composia.controller.auth import hashed
from composia.errors import ComposiaError
from composia.web.sessions import LONGEST, Attempts, begin, caller_of
from composia.web.templating import render
from composia.web.visit import COOKIE, AtVisit, landing, must_be_from_here, to

router = APIRouter()


@router.get("/login")
async def show_door(request: Request, next: str = "/") -> Response:  # noqa: A002  # as it is in the address
    """Where people sign in; who has done so already goes on."""
    if await caller_of(request.app.state.controller, request.cookies.get(COOKIE)):
        return RedirectResponse(landing(next), 303)
    return HTMLResponse(_door(request, next))


@router.post("/login")
async def sign_in(
    request: Request,
    token: Annotated[str, Form(max_length=4096)] = "",
    next: Annotated[str, Form(max_length=4096)] = "/",  # noqa: A002  # as it is in the address
) -> Response:
    """A session for a token, and on to where they were going."""
    must_be_from_here(request)
    office: Office = request.app.state.controller
    attempts: Attempts = request.app.state.attempts
    try:
        session = await begin(office, token)
    except ComposiaError as error:
        await attempts.failed()
        return HTMLResponse(_door(request, next, error), 401)
    if caller := await caller_of(office, session):
        request.state.caller = caller.name
    answer = RedirectResponse(landing(next), 303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(LONGEST.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=_encrypted(request),
    )
    return answer


@router.post("/logout")
async def sign_out(visit: AtVisit) -> Response:
    """The session is over, on the server too."""
    await visit.office.store.end_session(hashed(visit.session))
    answer = to("/login")
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer


def _door(request: Request, path: str, error: ComposiaError | None = None) -> str:
    return render("login.html", request=request, next=landing(path), error=error, visit=None)


def _encrypted(request: Request) -> bool:
    # Whoever lies about it only loses the use of the cookie.
    told = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return "https" in (request.url.scheme, told)
