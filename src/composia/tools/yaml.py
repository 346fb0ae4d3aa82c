"""Reading YAML strictly: the place of every key and value is known, and nothing is guessed.

Scalars are what YAML 1.2 says: `on`, `no` and dates are text. Keys are always text. Tags are
refused, a key that is there twice is an error, and aliases cannot make a small file a large one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from composia.errors import Invalid, Problem

#: Bytes that a file may have, values that it may hold, and how deep they may be nested.
MAX_BYTES = 1024 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 32

Loc = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?", re.A)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data, and where each key and each value stands."""

    file: str
    data: Any
    keys: dict[Loc, Position] = field(default_factory=dict)
    values: dict[Loc, Position] = field(default_factory=dict)

    def problem(self, loc: Loc, msg: str, *, at_key: bool = False) -> Problem:
        """What is wrong at a place: at the key or the value, else at the nearest one around it."""
        position = self._position(loc, at_key)
        return Problem(loc=loc, msg=msg, file=self.file, line=position.line, column=position.column)

    def invalid(self, *problems: Problem) -> Invalid:
        """The error for a file in which these places are wrong."""
        return _invalid(self.file, problems)

    def _position(self, loc: Loc, at_key: bool) -> Position:
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        for length in range(len(loc), 0, -1):
            if found := first.get(loc[:length]) or second.get(loc[:length]):
                return found
            first, second = self.keys, self.values
        return Position(1, 1)


def load(text: str | bytes, file: str, *, tags: bool = False) -> Document:
    """Read a file; `tags`: some are fine in it. Raises Invalid with the place of what is wrong."""
    content = _decoded(text, file)
    reader = _Reader(file, tags=tags)
    try:
        return reader.read(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        quotes = _needs_quotes(content, mark)
        reader.refuse(_words(error) + quotes, mark)
    except yaml.YAMLError as error:
        # The reader knows no line for a character that YAML does not allow.
        reader.refuse(f"not YAML: {getattr(error, 'reason', 'it cannot be read')}", None)


def _decoded(text: str | bytes, file: str) -> str:
    if len(text) > MAX_BYTES:
        problem = Problem(msg=f"the file has more than {MAX_BYTES // 1024} KiB", file=file)
        raise _invalid(file, (problem,))
    if isinstance(text, str):
        text = text.encode(errors="surrogatepass")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        problem = Problem(msg="a byte that is not UTF-8", file=file, line=line, column=column)
        raise _invalid(file, (problem,)) from error


def _words(error: yaml.MarkedYAMLError) -> str:
    return "not YAML: " + ", ".join(part for part in (error.problem, error.context) if part)


def _needs_quotes(content: str, mark: Any) -> str:
    lines = content.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    return '; inside {...} write "${NAME}" in quotes' if "${" in line else ""


def _invalid(file: str, problems: tuple[Problem, ...]) -> Invalid:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(f"{file} is not right: {problems[0]}{more}", problems=problems)


@dataclass(slots=True)
class _Anchored:
    value: Any
    size: int


class _Reader:
    """One reading of one file, from the C parser's events."""

    def __init__(self, file: str, *, tags: bool = False) -> None:
        self.document = Document(file, None)
        self.tags = tags
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.count = 0
        self.events: Iterator[Any] = iter(())

    def read(self, content: str) -> Document:
        self.events = yaml.parse(content, Loader=yaml.CSafeLoader)
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return self.document
        data = self._value(next(self.events), ())
        next(self.events)
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            self.refuse("a second document; a file holds one", event.start_mark)
        if self.problems:
            raise self.document.invalid(*self.problems)
        return Document(self.document.file, data, self.document.keys, self.document.values)

    def refuse(self, msg: str, mark: Any) -> NoReturn:
        raise self.document.invalid(self._problem(msg, mark), *self.problems)

    def _problem(self, msg: str, mark: Any, loc: Loc = ()) -> Problem:
        place = _position(mark) if mark else None
        line, column = (place.line, place.column) if place else (None, None)
        return Problem(loc=loc, msg=msg, file=self.document.file, line=line, column=column)

    def _value(self, event: Any, loc: Loc) -> Any:
        self._count(1, event.start_mark)
        if len(loc) > MAX_DEPTH:
            self.refuse(f"nested more than {MAX_DEPTH} deep", event.start_mark)
        self.document.values[loc] = _position(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag not in (None, "!") and not self.tags:
            self.refuse(f"the tag {event.tag} is not understood here", event.start_mark)
        return self._anchored(event, loc)

    def _anchored(self, event: Any, loc: Loc) -> Any:
        before = self.count
        if event.anchor:
            # Until it is whole, an alias to it would be a loop.
            self.anchors[event.anchor] = None
        value = self._plain_value(event, loc)
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(value, self.count - before + 1)
        return value

    def _plain_value(self, event: Any, loc: Loc) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:
                self.refuse("a NUL character", event.start_mark)
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(loc)
        return self._mapping(loc)

    def _alias(self, event: yaml.AliasEvent) -> Any:
        anchored = self.anchors.get(event.anchor or "")
        if anchored is None:
            self.refuse(f"*{event.anchor} has no anchor before it", event.start_mark)
        self._count(anchored.size, event.start_mark)
        return anchored.value

    def _list(self, loc: Loc) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*loc, len(found))))
        return found

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event)
            place = (*loc, key)
            if key in found:
                self.problems.append(
                    self._problem(f"key `{key}` is there twice", event.start_mark, place)
                )
            self.document.keys[place] = _position(event.start_mark)
            found[key] = self._value(next(self.events), place)
        return found

    def _key(self, event: Any) -> str:
        self._count(1, event.start_mark)
        if not isinstance(event, yaml.ScalarEvent) or event.tag not in (None, "!"):
            self.refuse("a key must be plain text", event.start_mark)
        return str(event.value)

    def _count(self, more: int, mark: Any) -> None:
        self.count += more
        if self.count > MAX_VALUES:
            self.refuse(f"more than {MAX_VALUES} values, aliases counted", mark)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0] or event.style:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
