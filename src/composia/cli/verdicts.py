"""What retention would do, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from composia.cli import tables, watch

if TYPE_CHECKING:
    from composia.client import Planned


def show(planned: Planned) -> None:
    """Every item with its policy, and of each backup whether it stays and why."""
    click.echo(f"Would: {planned.title}")
    items = planned.plan["items"]
    if not items:
        click.echo("There are no backups.")
        return
    for item in items:
        click.echo()
        click.echo(f"{item['data_item']} of {item['service']} on {item['node']}: {_policy(item)}")
        tables.show_table(("", "BACKUP", "STATUS", "TIME", "WHY"), list(_rows(item)), empty="")
    click.echo()
    watch.only_shown()


def _rows(item: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in item["backups"]:
        yield (
            "stays" if one["keeps"] else "goes",
            one["backup_id"],
            "missing" if one["missing"] else one["status"],
            tables.when(datetime.fromisoformat(one["time"])),
            "; ".join(one["why"]),
        )


def _policy(item: Mapping[str, Any]) -> str:
    rules = {name: count for name, count in (item["keep"] or {}).items() if count}
    if not rules:
        return "no policy, everything stays"
    return ", ".join(f"{name} {'all' if count < 0 else count}" for name, count in rules.items())
