"""What all routes say of themselves in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from composia import errors
from composia.controller.api.bodies import documented
from composia.controller.api.problems import NotJson, TooLarge, responses
from composia.controller.api.streams import EVENT_SCHEMA, EVENT_STREAM
from composia.errors import ComposiaError
from composia.model.task import Task
from composia.workflows import AnyPlan


class Planned(BaseModel):
    """What would be done."""

    model_config = ConfigDict(frozen=True)

    title: str
    plan: AnyPlan


#: What may go wrong where a node reads something out: it is away, it fails, or it goes meanwhile.
FROM_A_NODE = (errors.Conflict, errors.Failure, errors.NodeLost)
_LOCATION = {
    "Location": {"description": "Where the task is.", "schema": {"type": "string"}},
}


def answers(*kinds: type[ComposiaError]) -> dict[str, Any]:
    """For a route that reads: the errors it may answer with."""
    return {"responses": responses(*kinds)}


def reads(media_type: str, *kinds: type[ComposiaError], **more: str) -> dict[str, Any]:
    """For a route that streams text or bytes."""
    content = {
        name: {"schema": EVENT_SCHEMA if name == EVENT_STREAM else {"type": "string"}}
        for name in (media_type, *more.values())
    }
    success = {"description": "As it comes.", "content": content}
    return {
        "response_model": None,
        "responses": {200: success, **responses(errors.NotFound, *kinds)},
    }


def hands_in(body: type[BaseModel] | None = None, *kinds: type[ComposiaError]) -> dict[str, Any]:
    """For a route that hands in a plan, with or without a body."""
    kinds = (errors.NotFound, errors.Conflict, *kinds)
    return {
        "status_code": 202,
        "response_model": None,
        "openapi_extra": documented(body) if body else None,
        "responses": {
            200: {"description": "With `dry_run`: the plan.", "model": Planned},
            202: {"description": "The task.", "model": Task, "headers": _LOCATION},
            **responses(*kinds, *((NotJson, TooLarge) if body else ())),
        },
    }


def asks(*kinds: type[ComposiaError]) -> dict[str, Any]:
    """For a route that asks something of a task."""
    return {
        "status_code": 202,
        "response_model": None,
        "responses": {
            202: {"description": "The task.", "model": Task, "headers": _LOCATION},
            **responses(errors.NotFound, errors.Conflict, *kinds),
        },
    }
