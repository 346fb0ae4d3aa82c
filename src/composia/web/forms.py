"""Forms, read into the same models as the API's bodies."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import ImmutableMultiDict

from composia.controller.api.problems import invalid

Wanted = TypeVar("Wanted", bound=BaseModel)


async def parsed(request: Request, model: type[Wanted], lists: Collection[str] = ()) -> Wanted:
    """The form as this model: an empty field is its default. Raises Invalid.

    `lists` are the fields that may come several times.
    """
    async with request.form(max_files=0, max_fields=2000) as form:
        return _as_model(form, model, lists)


def asked(request: Request, model: type[Wanted], lists: Collection[str] = ()) -> Wanted:
    """The same from an address: what a form would do, before it is sent. Raises Invalid."""
    return _as_model(request.query_params, model, lists)


def _as_model(
    sent: ImmutableMultiDict[str, Any], model: type[Wanted], lists: Collection[str]
) -> Wanted:
    fields: dict[str, Any] = {}
    for name in sent:
        values = [str(value) for value in sent.getlist(name) if str(value)]
        if values:
            fields[name] = values if name in lists else values[-1]
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None
