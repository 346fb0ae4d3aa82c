"""Errors as people see them: a page, or a few lines where they pressed."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from composia import errors
from composia.controller.api.problems import invalid, status_of
from composia.errors import ComposiaError, Told
from composia.web.live import STREAM
from composia.web.templating import render
from composia.web.visit import SignedOut, door_for, is_htmx, landing, visitor


def install(pages: FastAPI) -> None:
    """Answer every error for people."""
    pages.add_exception_handler(SignedOut, _on_signed_out)
    pages.add_exception_handler(ComposiaError, _on_ours)
    pages.add_exception_handler(RequestValidationError, _on_invalid)
    pages.add_exception_handler(HTTPException, _on_http)
    pages.add_exception_handler(Exception, _on_bug)


async def problem(request: Request, status: HTTPStatus, told: Told) -> Response:
    """What is wrong, and the next step."""
    template = "problem_lines.html" if is_htmx(request) else "problem.html"
    visit = await visitor(request)
    text = render(template, request=request, status=status, told=told, visit=visit)
    return HTMLResponse(text, status)


async def _on_signed_out(request: Request, _error: Exception) -> Response:
    if is_htmx(request):
        page = urlsplit(request.headers.get("hx-current-url", "/"))
        path = landing(f"{page.path}?{page.query}" if page.query else page.path)
        return Response(status_code=401, headers={"HX-Redirect": door_for(path)})
    if request.url.path in STREAM:
        return Response(status_code=401)
    path = landing(f"{request.url.path}?{request.url.query}".removesuffix("?"))
    return RedirectResponse(door_for(path if request.method == "GET" else "/"), 303)


async def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComposiaError)
    return await problem(request, status_of(type(error)), error.as_told())


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await problem(
        request, HTTPStatus.UNPROCESSABLE_ENTITY, invalid(error.errors()).as_told()
    )


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = "There is no such page." if status is HTTPStatus.NOT_FOUND else status.phrase
    return await problem(request, status, Told(kind="", message=message))


async def _on_bug(request: Request, error: Exception) -> Response:
    # Whatever is broken may be what tells who calls.
    status, told = HTTPStatus.INTERNAL_SERVER_ERROR, errors.told(error)
    template = "problem_lines.html" if is_htmx(request) else "problem.html"
    text = render(template, request=request, status=status, told=told, visit=None)
    return HTMLResponse(text, status)
