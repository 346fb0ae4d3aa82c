"""A document as a model, and pydantic's complaints as places in the file with words for people."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from composia.errors import Problem
from composia.tools import schema
from composia.tools.yaml import Document, Loc

Model = TypeVar("Model", bound=BaseModel)

_WORDS = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "missing": "is missing",
}


def parse(
    document: Document, model: type[Model], *, context: Any = None, known: Iterable[Problem] = ()
) -> Model:
    """The document as a model. Raises Invalid that names every wrong place at once.

    `known` are places that were found to be wrong before.
    """
    found = list(known)
    try:
        # JSON mode: the strict models take lists for tuples and text for enums, and nothing else.
        parsed = model.model_validate_json(json.dumps(document.data), context=context)
    except ValidationError as error:
        # What stands in for a secret that could not be had is not complained of as well.
        had = {(*one.loc[:-1], str(one.loc[-1]).removesuffix("_file")) for one in found if one.loc}
        found += [one for one in _Explained(document, model).all(error) if one.loc not in had]
    else:
        if not found:
            return parsed
    raise document.invalid(*sorted(found, key=_place))


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


class _Explained:
    """Explains pydantic's errors about one document."""

    def __init__(self, document: Document, model: type[BaseModel]) -> None:
        self.document = document
        self.model = model

    def all(self, error: ValidationError) -> list[Problem]:
        """Every wrong place."""
        every = error.errors(include_url=False)
        found = [problem for details in every for problem in self.of(details)]
        return [problem for problem in found if not self._is_echo(problem, found)]

    def _is_echo(self, problem: Problem, every: list[Problem]) -> bool:
        """Whether it only says again what another one says better."""
        misspelt = (f"did you mean `{problem.loc[-1]}`?" if problem.loc else "") or "\0"
        if problem.msg.endswith("is missing"):
            return any(p.loc[:-1] == problem.loc[:-1] and p.msg.endswith(misspelt) for p in every)
        inside = (p for p in every if p.loc[:-1] == problem.loc and p.loc)
        return problem.msg == _WORDS["too_short"] and any(inside)

    def of(self, details: ErrorDetails) -> Iterator[Problem]:
        """The places that one of pydantic's errors stands for."""
        kind = details["type"]
        loc, last = self._loc(details)
        if kind == "misfits":
            for below, msg in details["ctx"]["misfits"]:
                yield self.document.problem((*loc, *below), msg)
        elif kind == "extra_forbidden":
            yield self.document.problem(loc, self._unknown_key(loc), at_key=True)
        elif kind == "missing":
            yield self.document.problem((*loc, last), f"`{last}` is missing", at_key=True)
        else:
            yield self._other(loc, kind, details)

    def _other(self, loc: Loc, kind: str, details: ErrorDetails) -> Problem:
        ctx = details.get("ctx", {})
        if kind == "union_tag_not_found":
            return self.document.problem(loc, f"{_tag_key(ctx)} is missing", at_key=True)
        if kind == "union_tag_invalid":
            place = (*loc, _tag_key(ctx).strip("`"))
            return self.document.problem(place, _unknown_tag(ctx))
        return self.document.problem(loc, _said(kind, details))

    def _loc(self, details: ErrorDetails) -> tuple[Loc, str]:
        """The place in the data: without the tags of unions, and what was left over at its end."""
        found: list[str | int] = []
        value, rest = self.document.data, ""
        for part in details["loc"]:
            if _has(value, part):
                found.append(part)
                value = value[part]
            else:
                rest = str(part)
        return tuple(found), rest

    def _unknown_key(self, loc: Loc) -> str:
        key = str(loc[-1])
        return unknown_key(key, schema.keys_at(self.model, self.document.data, loc[:-1]))


def unknown_key(key: str, known: Collection[str]) -> str:
    """What is wrong with a key that is not known, with the closest one that is."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"unknown key `{key}`; did you mean `{near[0]}`?"
    listed = f"; known here: {', '.join(sorted(set(known)))}" if known else ""
    return f"unknown key `{key}`{listed}"


def in_words(kind: str, msg: str) -> str:
    """One of pydantic's complaints, in words for people."""
    return _WORDS.get(kind) or _reworded(msg)


def _said(kind: str, details: ErrorDetails) -> str:
    value = details["input"]
    if value is None:
        return "must not be empty"
    if kind == "string_type":
        return (
            "must be text" if isinstance(value, dict | list) else "must be text: put it in quotes"
        )
    return in_words(kind, details["msg"])


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _tag_key(ctx: Mapping[str, Any]) -> str:
    return f"`{ctx['discriminator'].strip(chr(39))}`"


def _unknown_tag(ctx: Mapping[str, Any]) -> str:
    known = re.findall(r"'([^']+)'", ctx["expected_tags"])
    tag = str(ctx["tag"])
    near = difflib.get_close_matches(tag, known, n=1, cutoff=0.75)
    did = f"; did you mean `{near[0]}`?" if near else ""
    return f"`{tag}` cannot be used here{did or '; known: ' + ', '.join(known)}"


def _reworded(msg: str) -> str:
    msg = msg.removeprefix("Value error, ")
    for theirs, ours in (
        ("Input should be", "must be"),
        ("Input should", "must"),
        ("String should", "must"),
    ):
        msg = msg.replace(theirs, ours)
    return msg[:1].lower() + msg[1:]
