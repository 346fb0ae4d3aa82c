"""Names: what may be called what, and the closest known one to a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
#: Folder names that are safe in Git, in Docker's mounts and as an argument.
FOLDER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Name: TypeAlias = Annotated[str, Field(pattern=NAME_PATTERN)]

#: A place that is wrong: keys from the model down, and what is wrong there.
Misfit: TypeAlias = tuple[tuple[str | int, ...], str]


class Noun(BaseModel):
    """A part of a file that a user writes: frozen, strict, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like this one."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """A hint for an unknown name; the whole list where nothing looks like it and it is short."""
    if found := closest(name, known):
        return f"Did you mean `{found}`?"
    return f"Known: {', '.join(sorted(known)[:20])}." if known else None


def refuse(misfits: Iterable[Misfit]) -> None:
    """Refuse a model for the places that are wrong in it; fine where there are none."""
    found = tuple(misfits)
    if found:
        raise PydanticCustomError(
            "misfits", "{text}", {"text": "; ".join(msg for _, msg in found), "misfits": found}
        )


def repeated(names: Iterable[str]) -> list[tuple[int, str]]:
    """The positions of names that have been there before."""
    seen: set[str] = set()
    found = []
    for position, name in enumerate(names):
        if name in seen:
            found.append((position, name))
        seen.add(name)
    return found
