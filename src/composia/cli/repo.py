"""`composia repo`: where the snapshots are."""

from __future__ import annotations

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.options import as_json, waits
from composia.cli.watch import hand_in


@click.group()
def repo() -> None:
    """Look at the rustic repository, make it, or check it.

    \b
    Examples:
      composia repo status
      composia repo check --read-data
    """


@repo.command()
@as_json
def status(*, json_: bool) -> None:
    """Show the repository, as the records know it."""
    found = call(lambda client: client.repository())
    if json_:
        tables.show_json(found)
        return
    checked = {None: "never", True: "sound", False: "failed"}[found.last_check_succeeded]
    tables.show_fields(
        [
            ("repository", found.repository_id or "none yet: `composia repo init` makes it"),
            ("service", found.service or "none has `infra.rustic`"),
            ("nodes", ", ".join(found.nodes) or "-"),
            ("snapshots", str(found.snapshots)),
            ("added", tables.size(found.size)),
            ("last check", f"{checked} {tables.when(found.last_check)}"),
        ]
    )


@repo.command()
@waits
def init(*, json_: bool, wait: bool, dry_run: bool) -> None:
    """Make the repository, where there was never one. The first backup does it too."""
    hand_in(lambda client: client.ask("/repository/init", dry_run=dry_run), wait=wait, json_=json_)


@repo.command()
@click.option("--read-data", is_flag=True, help="Read all data: finds damaged bytes, takes long.")
@waits
def check(*, read_data: bool, json_: bool, wait: bool, dry_run: bool) -> None:
    """Have rustic check the repository."""
    hand_in(
        lambda client: client.ask("/repository/check", {"read_data": read_data}, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )
