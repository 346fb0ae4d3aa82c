"""Secrets of a file: inline, as `${ENV_NAME}`, or in a file of their own under `KEY_file`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from composia.errors import Problem
from composia.tools import schema
from composia.tools.yaml import Document, Loc

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: Bytes that a secret's file may have.
MAX_BYTES = 64 * 1024


def resolved(
    document: Document, model: type[BaseModel], env: Mapping[str, str]
) -> tuple[Document, list[Problem]]:
    """The document with every secret inline, and where one could not be had.

    Relative files are meant from the document's own folder.
    """
    work = _Resolving(document, schema.of(model), env)
    data = work.value(document.data, schema.of(model), ())
    return Document(document.file, data, document.keys, document.values), work.problems


def files_of(document: Document, model: type[BaseModel]) -> tuple[Path, ...]:
    """The files in which secrets of the document are."""
    work = _Resolving(document, schema.of(model), {})
    work.value(document.data, schema.of(model), ())
    return tuple(dict.fromkeys(work.files))


@dataclass(slots=True)
class _Resolving:
    document: Document
    root: schema.Schema
    env: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def value(self, value: Any, node: schema.Schema, loc: Loc) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, node, loc)
        if isinstance(value, list):
            inner = schema.items(self.root, node, value)
            return [self.value(one, inner, (*loc, place)) for place, one in enumerate(value)]
        if isinstance(value, str) and schema.is_secret(self.root, node):
            return self._inline(value, loc)
        return value

    def _mapping(self, value: dict[str, Any], node: schema.Schema, loc: Loc) -> dict[str, Any]:
        known = schema.properties(self.root, node, value)
        found = {}
        for key, part in value.items():
            stem = key.removesuffix("_file")
            if key not in known and stem in known and schema.is_secret(self.root, known[stem]):
                found[stem] = self._from_file(part, value, known[stem], (*loc, key))
            else:
                found.setdefault(key, self.value(part, known.get(key, {}), (*loc, key)))
        return found

    def _inline(self, value: str, loc: Loc) -> str:
        if not (name := _VARIABLE.fullmatch(value)):
            return value
        if not self.env.get(name[1]):
            self._refuse(loc, f"the environment variable {name[1]} is not set")
        return self.env.get(name[1]) or _fitting(loc)

    def _from_file(
        self, path: Any, around: dict[str, Any], node: schema.Schema, loc: Loc
    ) -> str | list[str]:
        key = str(loc[-1])
        stem = key.removesuffix("_file")
        if stem in around:
            self._refuse(loc, f"`{stem}` and `{key}` are both given; keep one of them")
            return _fitting(loc)
        text = self._read(path, loc) if isinstance(path, str) and path else ""
        if not isinstance(path, str) or not path:
            self._refuse(loc, "must be the path of a file")
        is_list = "items" in node
        return [line for line in text.splitlines() if line.strip()] if is_list else text

    def _read(self, path: str, loc: Loc) -> str:
        file = Path(self.document.file).parent / path
        self.files.append(file)
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
            text = content.decode()
        except OSError as error:
            msg = f"{file} cannot be read: {error.strerror}"
            self._refuse(loc, f"{msg}; mend that, or name another file")
        except UnicodeDecodeError:
            self._refuse(loc, f"{file} is not text")
        else:
            if not text.strip() or len(content) > MAX_BYTES:
                self._refuse(loc, f"{file} is empty or larger than {MAX_BYTES // 1024} KiB")
            return text.strip()
        return _fitting(loc)

    def _refuse(self, loc: Loc, msg: str) -> None:
        self.problems.append(self.document.problem(loc, msg))


def _fitting(loc: Loc) -> str:
    # In the place of a secret that cannot be had, so that other places are looked at too.
    return "-".join(map(str, loc))
