"""What a model's JSON schema knows at a place: its keys, and which of them are secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = Mapping[str, Any]


@cache
def of(model: type[BaseModel]) -> Schema:
    """The model's schema as a user's file sees it."""
    return model.model_json_schema()


def keys_at(model: type[BaseModel], data: Any, loc: tuple[str | int, ...]) -> list[str]:
    """The keys that a mapping at this place of the data may have, secrets' `_file` ones too."""
    found = []
    for name, part in _properties(_at(of(model), of(model), data, loc)):
        found.append(name)
        if is_secret(of(model), part):
            found.append(f"{name}_file")
    return found


def properties(root: Schema, node: Schema, value: Any) -> dict[str, Schema]:
    """The keys of the mapping `value` at a node, each with its own node."""
    return dict(_properties(_chosen(root, node, value)))


def items(root: Schema, node: Schema, value: Any) -> Schema:
    """The node of the entries of the list `value`."""
    for branch in _chosen(root, node, value):
        if "items" in branch:
            return dict(branch["items"])
    return {}


def is_secret(root: Schema, node: Schema) -> bool:
    """Whether what stands there, or in the list there, must never be shown."""
    for branch in _branches(root, node):
        if branch.get("writeOnly") or ("items" in branch and is_secret(root, branch["items"])):
            return True
    return False


def _at(root: Schema, node: Schema, value: Any, loc: tuple[str | int, ...]) -> list[Schema]:
    for part in loc:
        if isinstance(part, int):
            node = items(root, node, value)
            value = value[part] if isinstance(value, list) else value
        else:
            node = properties(root, node, value).get(part, {})
            value = value.get(part) if isinstance(value, dict) else None
    return _chosen(root, node, value)


def _chosen(root: Schema, node: Schema, value: Any) -> list[Schema]:
    """The branches that the value's own discriminator picks; all of them where it picks none."""
    node = _resolved(root, node)
    key = node.get("discriminator", {}).get("propertyName")
    tag = value.get(key) if key and isinstance(value, dict) else None
    if tag is not None and (target := node["discriminator"]["mapping"].get(tag)):
        return _chosen(root, {"$ref": target}, value)
    branches = [*node.get("oneOf", ()), *node.get("anyOf", ())]
    if not branches:
        return [node]
    return [chosen for branch in branches for chosen in _chosen(root, branch, value)]


def _branches(root: Schema, node: Schema) -> Iterator[Schema]:
    node = _resolved(root, node)
    yield node
    for branch in [*node.get("oneOf", ()), *node.get("anyOf", ())]:
        yield from _branches(root, branch)


def _properties(branches: list[Schema]) -> Iterator[tuple[str, Schema]]:
    for branch in branches:
        yield from branch.get("properties", {}).items()


def _resolved(root: Schema, node: Schema) -> Schema:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    return node
