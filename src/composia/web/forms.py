"""Forms, read into the same models as the API's bodies."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import ImmutableMultiDict

from composia.controller.api.problems import invalid
from composia.errors import Invalid

Wanted = TypeVar("Wanted", bound=BaseModel)
#: The field that names lists of which one has to be ticked.
OFFERED = "offered"


async def parsed(request: Request, model: type[Wanted], lists: Collection[str] = ()) -> Wanted:
    """The form as this model: an empty field is its default. Raises Invalid.

    `lists` are the fields that may come several times; of those that the form names in `offered`
    at least one has to come, for none would be all of them.
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
    for name in map(str, sent.getlist(OFFERED)):
        if name in lists and name not in fields:
            raise Invalid(f"choose at least one of the {name.replace('_', ' ')}")
    fields.pop(OFFERED, None)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None
