"""`composia schedules`: what happens by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.filters import narrowed
from composia.cli.options import as_json, names_of
from composia.cli.words import Plural

if TYPE_CHECKING:
    from composia.model.shown import LastRunView, ScheduleView


@click.command(cls=Plural, one="schedules --service")
@click.option("--service", "-s", shell_complete=names_of("services"), help="Only of this service.")
@click.option(
    "--kind",
    type=click.Choice(["backup", "forget", "prune", "check", "verify", "copy"]),
    help="Only of this kind.",
)
@as_json
def schedules(*, json_: bool, **filters: str | None) -> None:
    """List what happens by itself: when next, how it went last, and what was missed.

    \b
    Examples:
      composia schedules
      composia schedules --service my-app --json
    """
    found = call(lambda client: narrowed(client, client.schedules, filters))
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("SCHEDULE", "WHEN", "NEXT", "LAST", "TASK", "REMARKS"),
        [_row(one) for one in found],
        empty=tables.NONE_SUCH
        if any(filters.values())
        else "Nothing happens by itself. `controller.backup.default_schedule` in config.yaml, or "
        "`schedule` under `backup.data` of a service, says when.",
    )


def _row(one: ScheduleView) -> tuple[str, ...]:
    return (
        one.key,
        f"{one.schedule} {one.timezone}",
        f"{one.next:%Y-%m-%d %H:%M:%SZ}" if one.next else "never",
        _last(one.last),
        (one.last.task if one.last else None) or "-",
        "; ".join(_remarks(one)) or "-",
    )


def _last(last: LastRunView | None) -> str:
    if last is None:
        return "-"
    return f"{last.status or 'nothing to do'} {last.time:%Y-%m-%d %H:%MZ}"


def _remarks(one: ScheduleView) -> list[str]:
    found = [
        f"waiting{_on(run.node)} since {run.time:%Y-%m-%d %H:%MZ}: {run.for_}"
        for run in one.waiting
    ]
    if one.last and one.last.remark:
        found.append(one.last.remark)
    for run in one.missed[:1]:
        times = sum(other.times for other in one.missed)
        found.append(
            f"missed {times}, last {run.time:%Y-%m-%d %H:%MZ}{_on(run.node)}: {run.reason}"
        )
    return found


def _on(node: str | None) -> str:
    return f" on {node}" if node else ""
