"""Filters of a list: a name that is misspelt is refused, and not taken for an empty list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from composia.client import Client

Row = TypeVar("Row")
Listed = Callable[..., Awaitable[list[Row]]]


async def narrowed(
    client: Client, listed: Listed[Row], filters: Mapping[str, str | None]
) -> list[Row]:
    """What is listed with these filters. Raises NotFound for a name that nobody knows."""
    found = await listed(**filters)
    if not found:
        await refuse_unknown(client, listed, filters)
    return found


async def refuse_unknown(
    client: Client, listed: Listed[Row], filters: Mapping[str, str | None]
) -> None:
    """Raises NotFound for a filter that names what there is not, and was not."""
    from composia.workflows.objections import not_found

    for name, names_of in _NAMES.items():
        if wanted := filters.get(name):
            known = await names_of(client)
            # What has left the catalog or config.yaml is still named by its tasks and backups.
            if wanted not in known and not await listed(**{name: wanted}):
                raise not_found(_WORDS[name], wanted, known)


async def _services(client: Client) -> Collection[str]:
    return [one.name for one in await client.services()]


async def _nodes(client: Client) -> Collection[str]:
    return [one.id for one in await client.nodes()]


async def _items(client: Client) -> Collection[str]:
    return {item.name for one in await client.services() for item in one.data_items}


async def _types(_client: Client) -> Collection[str]:
    from composia.workflows import KINDS

    return KINDS


_NAMES = {"service": _services, "node": _nodes, "data_item": _items, "type": _types}
_WORDS = {"service": "service", "node": "node", "data_item": "data item", "type": "type of task"}
