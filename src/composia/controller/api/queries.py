"""Query parameters that nobody reads are refused, as unknown keys of a body are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant

from composia.errors import Invalid, Problem, joined
from composia.model.names import did_you_mean

PREFIX = "/api/v1"


def api_router(tag: str, prefix: str = "") -> APIRouter:
    """A router whose routes are whole: FastAPI would build those of an included one anew."""
    return APIRouter(prefix=PREFIX + prefix, tags=[tag], dependencies=[Depends(known_query)])


async def known_query(request: Request) -> None:
    """Raises Invalid for a parameter that the route does not have, or that came twice."""
    known = set(_names(request.scope["route"].dependant))
    came = Counter(key for key, _ in request.query_params.multi_items())
    problems = tuple(
        Problem(loc=("query", name), msg="came more than once" if name in known else "is not known")
        for name, times in came.items()
        if times > 1 or name not in known
    )
    if problems:
        hints = (did_you_mean(name, known) for name in came if name not in known)
        raise Invalid(
            "; ".join(str(problem) for problem in problems),
            hint=joined(*dict.fromkeys(hints)) or None,
            problems=problems,
        )


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for below in dependant.dependencies:
        yield from _names(below)
