"""Errors as RFC 9457 problems: the only place that knows HTTP status codes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from composia import errors
from composia.errors import ComposiaError, Told
from composia.tools import parsing

MEDIA_TYPE = "application/problem+json"


class NotJson(errors.Invalid):
    """The body is no JSON at all."""


class TooLarge(errors.Invalid):
    """The body is larger than any that makes sense."""


#: The nearest class in an error's ancestry counts.
STATUS: Mapping[type[ComposiaError], HTTPStatus] = {
    NotJson: HTTPStatus.BAD_REQUEST,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Stale: HTTPStatus.PRECONDITION_FAILED,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Denied: HTTPStatus.FORBIDDEN,
    errors.NodeLost: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Failure: HTTPStatus.BAD_GATEWAY,
    ComposiaError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ProblemItem(BaseModel):
    """One place that is wrong."""

    loc: list[str | int] = Field(description="The path of keys to it.")
    msg: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


class ProblemDetails(BaseModel):
    """What is wrong, where, and what to do next (RFC 9457)."""

    type: str = Field(description="`about:blank`, or `urn:composia:problem:` and the kind.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    hint: str | None = None
    errors: list[ProblemItem] = []


def responses(*kinds: type[ComposiaError]) -> dict[int | str, dict[str, Any]]:
    """The answers to document for a route that may raise these, besides 401, 403 and 422."""
    always = (errors.Unauthenticated, errors.Denied, errors.Invalid)
    every: tuple[type[ComposiaError], ...] = (*always, *kinds)
    return {int(status): _documented(status) for status in map(status_of, every)}


def _documented(status: HTTPStatus) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}


def status_of(kind: type[ComposiaError]) -> HTTPStatus:
    """The status of an error's kind."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def install(app: FastAPI, methods: Callable[[str], set[str]]) -> None:
    """Answer every error as a problem; `methods` says what may be done with an address."""
    app.add_exception_handler(ComposiaError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, partial(_on_http, methods))
    app.add_exception_handler(Exception, _on_bug)


async def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComposiaError)
    return answer(request, status_of(type(error)), error.as_told())


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # It says itself in which part of the request: a body may have a key of that name.
    request.state.keys = ()
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, invalid(error.errors()).as_told())


async def _on_http(
    methods: Callable[[str], set[str]], request: Request, error: Exception
) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and methods(request.url.path):
        headers["Allow"] = ", ".join(sorted(methods(request.url.path)))
    told = Told(kind="", message=f"{request.method} {request.url.path}: {error.detail}")
    if error.status_code == HTTPStatus.NOT_FOUND:
        told = told.model_copy(update={"hint": "The routes are in /api/v1/openapi.json."})
    return answer(request, HTTPStatus(error.status_code), told, headers)


async def _on_bug(request: Request, error: Exception) -> Response:
    return answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, errors.told(error))


def invalid(found: Sequence[Any], known: Collection[str] = ()) -> errors.Invalid:
    """pydantic's complaints as one error; `known`: the keys that there are.

    What was sent is not repeated: it may be a secret.
    """
    problems = tuple(
        errors.Problem(loc=tuple(one["loc"]), msg=_in_words(one, known)) for one in found
    )
    return errors.Invalid("; ".join(str(problem) for problem in problems), problems=problems)


def _in_words(one: Mapping[str, Any], known: Collection[str]) -> str:
    if one["type"] == "extra_forbidden":
        return parsing.unknown_key(str(one["loc"][-1]), known)
    return parsing.in_words(one["type"], str(one["msg"]))


def answer(
    request: Request,
    status: HTTPStatus,
    told: Told,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem as a response."""
    body = ProblemDetails(
        type=f"urn:composia:problem:{told.kind}" if told.kind else "about:blank",
        title=status.phrase,
        status=int(status),
        detail=told.message,
        instance=request.url.path,
        hint=told.hint,
        errors=[
            ProblemItem(**problem.model_dump(exclude={"loc"}), loc=_place(request, problem))
            for problem in told.problems
        ],
    )
    told_headers = dict(headers or {})
    if status is HTTPStatus.UNAUTHORIZED:
        told_headers["WWW-Authenticate"] = 'Bearer realm="composia"'
    return JSONResponse(body.model_dump(mode="json"), status, told_headers, media_type=MEDIA_TYPE)


def _place(request: Request, problem: errors.Problem) -> list[str | int]:
    """The path of keys to it: what is wrong with a plan names those of the body as they are."""
    keys = getattr(request.state, "keys", ())
    is_of_body = problem.file is None and problem.loc[:1] and problem.loc[0] in keys
    return [*(("body",) if is_of_body else ()), *problem.loc]
