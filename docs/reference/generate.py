"""Writes docs/reference/*.md from the models, or with --check says which of them is stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from composia.model.config import Config
from composia.model.meta import Meta
from composia.tools import schema

HERE = Path(__file__).parent
NAMES = {"string": "text", "integer": "number", "boolean": "true, false", "object": "mapping"}
INTRODUCTIONS = {
    "meta.md": (
        Meta,
        "# `composia-meta.yaml`\n\n"
        "One in each service's folder of the catalog, beside its compose file. Unknown keys are "
        "errors.\n",
    ),
    "config.md": (
        Config,
        "# `config.yaml`\n\n"
        "Starts the processes. Unknown keys are errors. A *secret* may be written as it is, as "
        '`"${ENV_NAME}"`, or put into a file that the key with `_file` added names '
        "(`token_file: /run/secrets/token`); two forms at once are an error. Relative paths are "
        "meant from the folder of the file. Durations are a number with ms, s, m, h or d.\n",
    ),
}


def main() -> int:
    """0 when every page is up to date, or was written."""
    stale = []
    for name, (model, introduction) in INTRODUCTIONS.items():
        text = "\n".join([introduction, *_Page(model).sections()]).rstrip() + "\n"
        page = HERE / name
        if "--check" not in sys.argv:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run bin/reference", file=sys.stderr)
    return len(stale)


class _Page:
    """The sections of one model's page."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.root = schema.of(model)

    def sections(self) -> Iterator[str]:
        """Each mapping of the file in the order in which it is met."""
        yield from self._section("", self.root)

    def _section(self, path: str, node: Mapping[str, Any]) -> Iterator[str]:
        if path:
            yield f"## `{path}`\n"
            yield f"{node.get('description', '').strip()}\n"
        yield "| key | type | default | what |\n|---|---|---|---|"
        required = node.get("required", ())
        for key, part in node["properties"].items():
            yield self._row(key, part, key in required)
        yield ""
        for key, part in node["properties"].items():
            for below, inner in self._mappings(part):
                yield from self._section(f"{path}.{key}{below}".lstrip("."), inner)

    def _row(self, key: str, part: Mapping[str, Any], required: bool) -> str:
        required = required or key == "strategy"
        default = "required" if required else _default(part)
        what = part.get("description") or self._resolved(part).get("description", "")
        if examples := part.get("examples"):
            shown = ", ".join(f"`{_shown(example)}`" for example in examples)
            what = f"{what} For example {shown}."
        return f"| `{key}` | {self._type(part)} | {default} | {_cell(what)} |"

    def _type(self, part: Mapping[str, Any]) -> str:
        if schema.is_secret(self.root, part):
            return "list of secrets" if "items" in part else "secret"
        names = [self._name(node) for node in self._branches(part)]
        return " or ".join(dict.fromkeys(name for name in names if name))

    def _name(self, node: Mapping[str, Any]) -> str:
        if "enum" in node or "const" in node:
            values = node.get("enum", [node.get("const")])
            return " or ".join(f"`{value}`" for value in values)
        if "items" in node:
            return f"list of {self._type(node['items'])}"
        if str(node.get("title", "")).startswith("a duration"):
            return "duration"
        names = {
            "string": "text",
            "integer": "number",
            "boolean": "true, false",
            "object": "mapping",
        }
        return names.get(node.get("type", ""), "")

    def _branches(self, part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        part = self._resolved(part)
        branches = [*part.get("oneOf", ()), *part.get("anyOf", ())]
        if not branches:
            yield part
        for branch in branches:
            yield from self._branches(branch)

    def _mappings(self, part: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The mappings that may stand there, with `[]` for a list and the strategy's name."""
        found = list(self._branches(part))
        several = sum("properties" in node for node in found) > 1
        for node in found:
            if "properties" in node:
                yield (f": {_tags(node)}" if several else ""), node
            elif "items" in node:
                yield from ((f"[]{below}", inner) for below, inner in self._mappings(node["items"]))

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in part:
            part = self.root["$defs"][part["$ref"].rpartition("/")[2]]
        return part


def _is_duration(part: Mapping[str, Any]) -> bool:
    return str(part.get("title", "")).startswith("a duration")


def _duration(seconds: float) -> str:
    """In the largest unit that needs no fraction, as one would write it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _tags(node: Mapping[str, Any]) -> str:
    tag = node["properties"]["strategy"]
    return ", ".join(tag.get("enum", [tag.get("const")]))


def _default(part: Mapping[str, Any]) -> str:
    value = part.get("default")
    if _is_duration(part):
        return f"`{_duration(value)}`"
    return "" if value in (None, "", [], {}) else f"`{_shown(value)}`"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
