"""Bodies: JSON whatever the header says, strictly parsed; a missing one means all defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from composia.controller.api.problems import NotJson, TooLarge, invalid
from composia.tools import schema

#: Bytes: no request of ours needs more, and a file of the catalog is text.
LIMIT = 1024 * 1024
FILE_LIMIT = 8 * 1024 * 1024

Body = TypeVar("Body", bound=BaseModel)


def parsed(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the body as this model."""

    async def parse(request: Request) -> Body:
        request.state.keys = schema.of(model)["properties"].keys()
        found = parse_json(model, await raw(request, LIMIT) or b"{}")
        # As it was understood: however it is spelled, it is the same request.
        request.state.body = found.model_dump_json()
        return found

    return parse


def parse_json(model: type[Body], text: bytes) -> Body:
    """Raises NotJson, or Invalid with every place that is wrong."""
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        shape = schema.of(model)
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if any(one["type"] == "json_invalid" for one in found):
            raise NotJson(
                f"the body is no JSON: {found[0]['msg']}",
                hint=None if shape.get("required") else "A missing body means all defaults.",
            ) from None
        places = [{**one, "loc": ("body", *one["loc"])} for one in found]
        raise invalid(places, shape["properties"]) from None


async def raw(request: Request, limit: int) -> bytes:
    """The body's bytes. Raises TooLarge before more of it than the limit is kept."""
    kept = bytearray()
    if int(request.headers.get("content-length") or 0) > limit:
        raise _too_large(limit)
    async for chunk in request.stream():
        kept += chunk
        if len(kept) > limit:
            raise _too_large(limit)
    return bytes(kept)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes")


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` for a route whose body is this model; it may be missing where all is."""
    shape = model.model_json_schema()
    required = bool(shape.get("required"))
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": shape}}}
    }
