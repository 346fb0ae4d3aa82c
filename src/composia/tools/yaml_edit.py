"""Changing one list of a YAML file and no other byte of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from composia.errors import Conflict, Invalid
from composia.tools.yaml import load

_BOM = "\ufeff"


def set_list(content: bytes, file: str, key: str, wanted: Sequence[str], *, after: str) -> bytes:
    """The file with these words under a key of its outermost mapping.

    Where the key is missing it comes below the key `after`. Comments, layout and quotes stay.
    Raises Invalid for a file that is no YAML, Conflict for one that a person has to change.
    """
    before = load(content, file).data
    if not isinstance(before, dict):
        raise _by_hand(file, key, wanted, "it is no mapping")
    text = content.decode()
    start = _BOM if text.startswith(_BOM) else ""
    done = start + _Editing(file, key, list(wanted), after).edited(text.removeprefix(_BOM))
    _prove(before, done, file, key, wanted)
    return done.encode()


@dataclass(frozen=True, slots=True)
class _Word:
    """A scalar: its text, and its place in the file."""

    text: str
    start: int
    end: int
    style: str | None


@dataclass(slots=True)
class _Found:
    """Where things are in a file."""

    #: The outermost mapping is written in braces.
    in_braces: bool = False
    #: The value of the key that a missing one comes after, and the column of that key.
    after: _Word | None = None
    column: int = 0
    #: The list: where it starts, whether it is written in brackets, and what is in it.
    list_start: int | None = None
    in_brackets: bool = False
    words: list[_Word] = field(default_factory=list)
    #: A value that is no list.
    scalar: _Word | None = None


class _Editing:
    """One edit, in steps that each leave a whole file."""

    def __init__(self, file: str, key: str, wanted: list[str], after: str) -> None:
        self.file = file
        self.key = key
        self.wanted = wanted
        self.after = after

    def edited(self, text: str) -> str:
        found = self._find(text)
        if found.list_start is None:
            return self._without_list(text, found)
        if not self.wanted and not found.in_brackets:
            raise self._by_hand("the list would be empty")
        while len(self._find(text).words) > len(self.wanted):
            text = self._drop(text)
        for position, word in enumerate(self.wanted[: len(self._find(text).words)]):
            text = self._swap(text, position, word)
        for word in self.wanted[len(self._find(text).words) :]:
            text = self._append(text, word)
        return text

    def _without_list(self, text: str, found: _Found) -> str:
        words = f"[{', '.join(_written(word, None) for word in self.wanted)}]"
        if found.scalar:
            start = found.scalar.start
            gap = "" if text[start - 1 : start].isspace() else " "
            return text[:start] + gap + words + text[found.scalar.end :]
        if found.after is None or found.after.style in ("|", ">"):
            raise self._by_hand(f"there is no key `{self.key}`")
        if found.in_braces:
            end = found.after.end
            return f"{text[:end]}, {self.key}: {words}{text[end:]}"
        newline = _newline(text)
        at = _line_end(text, found.after.end)
        line = f"{' ' * found.column}{self.key}: {words}"
        return _with_line(text, at, line, newline)

    def _drop(self, text: str) -> str:
        found = self._find(text)
        unwanted = (at for at, word in enumerate(found.words) if word.text not in self.wanted)
        at = next(unwanted, len(found.words) - 1)
        start, end = (
            self._span_in_brackets(found, at)
            if found.in_brackets
            else self._line_of(text, found.words[at])
        )
        if "#" in text[start:end]:
            raise self._by_hand(f"a comment would be lost with `{found.words[at].text}`")
        return text[:start] + text[end:]

    def _span_in_brackets(self, found: _Found, at: int) -> tuple[int, int]:
        words = found.words
        if at > 0:
            return words[at - 1].end, words[at].end
        return words[0].start, words[1].start if len(words) > 1 else words[0].end

    def _line_of(self, text: str, word: _Word) -> tuple[int, int]:
        start, end = _line_start(text, word.start), _line_end(text, word.end)
        if text[start : word.start].strip() != "-":
            raise self._by_hand("its list is written in an unusual way")
        return start, end

    def _swap(self, text: str, position: int, wanted: str) -> str:
        word = self._find(text).words[position]
        if word.text == wanted:
            return text
        return text[: word.start] + _written(wanted, word.style) + text[word.end :]

    def _append(self, text: str, wanted: str) -> str:
        found = self._find(text)
        last = found.words[-1] if found.words else None
        written = _written(wanted, last.style if last else None)
        if last is None:
            at = (found.list_start or 0) + 1
            return text[:at] + written + text[at:]
        if found.in_brackets:
            return f"{text[: last.end]}, {written}{text[last.end :]}"
        start, end = self._line_of(text, last)
        line = text[start : last.start] + written
        return _with_line(text, end, line, _newline(text))

    def _find(self, text: str) -> _Found:
        found = _Found()
        for key, column, value in self._pairs(text, found):
            if key == self.key:
                self._note_value(found, value)
            elif key == self.after and isinstance(value[0], yaml.ScalarEvent):
                found.after, found.column = _word(value[0]), column
        return found

    def _pairs(self, text: str, found: _Found) -> Iterator[tuple[str, int, list[Any]]]:
        """The outermost mapping's keys, each with its column and the events of its value."""
        events: Iterator[Any] = iter(list(yaml.parse(text, Loader=yaml.SafeLoader))[2:-2])
        outermost = next(events)
        found.in_braces = bool(outermost.flow_style)
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                return
            value, depth = [next(events)], 0
            depth += isinstance(value[0], yaml.CollectionStartEvent)
            while depth:
                value.append(next(events))
                depth += isinstance(value[-1], yaml.CollectionStartEvent)
                depth -= isinstance(value[-1], yaml.CollectionEndEvent)
            yield event.value, event.start_mark.column, value

    def _note_value(self, found: _Found, value: list[Any]) -> None:
        if any(getattr(event, "anchor", None) for event in value):
            raise self._by_hand("its value is used elsewhere in the file, or is taken from there")
        first: Any = value[0]
        if isinstance(first, yaml.ScalarEvent):
            found.scalar = self._plain(first)
        elif isinstance(first, yaml.SequenceStartEvent):
            start: Any = first.start_mark
            found.list_start = start.index
            found.in_brackets = bool(first.flow_style)
            found.words = [self._plain(event) for event in value[1:-1]]
        else:
            raise self._by_hand("it is a mapping")

    def _plain(self, event: Any) -> _Word:
        if not isinstance(event, yaml.ScalarEvent) or event.style in ("|", ">"):
            raise self._by_hand("its list is written in an unusual way")
        return _word(event)

    def _by_hand(self, why: str) -> Conflict:
        return _by_hand(self.file, self.key, self.wanted, why)


def _prove(before: Any, done: str, file: str, key: str, wanted: Sequence[str]) -> None:
    """Nothing but that list is other than before."""
    try:
        now = load(done, file).data
    except Invalid:
        now = None
    if now != {**before, key: list(wanted)}:
        raise _by_hand(file, key, wanted, "it is written in an unusual way")


def _by_hand(file: str, key: str, wanted: Sequence[str], why: str) -> Conflict:
    return Conflict(
        f"`{key}` of {file} cannot be changed without touching more: {why}",
        hint=f"Write `{key}: [{', '.join(wanted)}]` there yourself, commit and push it, "
        "and try again.",
    )


def _written(word: str, style: str | None) -> str:
    """A word in the quotes of its neighbours; in some where it would not be text without."""
    if style in ("'", '"'):
        return f"{style}{word}{style}"
    return word if load(word, "").data == word else f'"{word}"'


def _word(event: Any) -> _Word:
    start, end = event.start_mark.index, event.end_mark.index
    return _Word(event.value, start, end, event.style)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    """After its line break, or the end of the file."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _with_line(text: str, at: int, line: str, newline: str) -> str:
    """One more line, at the start of a line or the end of the file."""
    if at == 0 or text[at - 1] == "\n":
        return text[:at] + line + newline + text[at:]
    return text[:at] + newline + line + text[at:]
