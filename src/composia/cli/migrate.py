"""`composia migrate`: a service goes to another node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from composia.cli import tables, watch
from composia.cli.connect import call
from composia.cli.options import asks_first, item_options, names_of, service_argument, sure, waits

if TYPE_CHECKING:
    from composia.client import Client, Planned


@click.command()
@service_argument
@click.option("--from", "source", shell_complete=names_of("nodes"), help="The node it is on.")
@click.option("--to", "target", required=True, shell_complete=names_of("nodes"), help="Where to.")
@item_options
@click.option(
    "--leave-behind", "left", multiple=True, help="A volume or bind that may stay; several times."
)
@click.option(
    "--source-is-gone", "gone", is_flag=True, help="You have seen that the source never comes back."
)
@asks_first
@waits
def migrate(service: str, target: str, *, json_: bool, wait: bool, **chosen: Any) -> None:
    """Move a service to another node, with its data, its site and its names.

    Until it has answered on the target, whatever goes wrong is undone by itself. After that a
    failure leaves it open: `composia task retry`, `composia rollback` or `composia task abandon`.

    \b
    Examples:
      composia migrate my-app --from main --to edge --dry-run
      composia migrate my-app --to edge
      composia migrate my-app --to edge --item uploads --leave-behind cache
    """
    body = {
        "source_node": chosen["source"],
        "target_node": target,
        "data_items": list(chosen["items"]) or None,
        "leave_behind": list(chosen["left"]),
        "source_is_gone": chosen["gone"],
    }
    if chosen["dry_run"]:
        _show(call(lambda client: _planned(client, service, body)), json_=json_)
        return
    _confirm(service, target, gone=chosen["gone"], yes=chosen["yes"])
    watch.hand_in(lambda client: client.act("migrate", service, **body), wait=wait, json_=json_)


def _confirm(service: str, target: str, *, gone: bool, yes: bool) -> None:
    if gone:
        sure(
            f"Is the machine that {service} ran on gone for good? Two at once would part its data.",
            yes=yes,
        )
    else:
        sure(f"Move {service} to {target}? It is down for some seconds.", yes=yes)


async def _planned(client: Client, service: str, body: dict[str, Any]) -> Planned:
    from composia.client import Planned

    answer = await client.act("migrate", service, dry_run=True, **body)
    assert isinstance(answer, Planned)
    return answer


def _show(planned: Planned, *, json_: bool) -> None:
    plan = planned.plan
    if json_ or plan["plan"] == "rescue":
        watch.finish(planned, json_=json_)
        return
    click.echo(f"Would: {planned.title}")
    click.echo()
    rows = [("moves", one["source"], one["how"]) for one in plan["moves"]]
    rows += [("stays", one["source"], one["how"]) for one in plan["stays"]]
    tables.show_table(("", "DATA", "HOW"), rows, empty="It keeps no data.")
    click.echo()
    downtime = plan["downtime"]
    tables.show_fields(
        [
            ("outage, about", f"{downtime['total_seconds']:.1f} s"),
            ("  stop and start", f"{downtime['stop_and_start_seconds']:.1f} s"),
            ("  compare files", f"{downtime['compare_files_seconds']:.1f} s"),
            ("  dump and import", f"{downtime['dump_and_import_seconds']:.1f} s"),
            ("names", ", ".join(_record(one) for one in plan["records"]) or "none"),
        ]
    )
    watch.only_shown()


def _record(record: dict[str, Any]) -> str:
    return f"{record['hostname']} -> {', '.join(record['values'])}"
