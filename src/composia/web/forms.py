"""Forms, read into the same models as the API's bodies."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from composia.controller.api.problems import invalid

Wanted = TypeVar("Wanted", bound=BaseModel)


async def parsed(request: Request, model: type[Wanted], lists: Collection[str] = ()) -> Wanted:
    """The form as this model: an empty field is its default. Raises Invalid.

    `lists` are the fields that may come several times.
    """
    async with request.form(max_files=0, max_fields=2000) as form:
        fields: dict[str, Any] = {}
        for name in form:
            values = [str(value) for value in form.getlist(name) if str(value)]
            if values:
                fields[name] = values if name in lists else values[-1]
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None
