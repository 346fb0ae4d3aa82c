"""`composia backup`, `backups` and `restore`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.filters import narrowed
from composia.cli.options import (
    as_json,
    asks_first,
    at_most,
    item_options,
    names_of,
    node_options,
    service_argument,
    sure,
    waits,
)
from composia.cli.watch import hand_in
from composia.cli.words import Verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composia.model.backup import Backup


@click.command()
@service_argument
@item_options
@node_options
@waits
def backup(
    service: str,
    items: tuple[str, ...],
    nodes: tuple[str, ...],
    *,
    json_: bool,
    wait: bool,
    dry_run: bool,
) -> None:
    """Back a service's data items up.

    Ends with 1 when any item was not saved whole.

    \b
    Examples:
      composia backup my-app
      composia backup my-app --item uploads --node main
    """
    wanted = {"data_items": list(items) or None, "nodes": list(nodes) or None}
    hand_in(
        lambda client: client.act("backup", service, dry_run=dry_run, **wanted),
        wait=wait,
        json_=json_,
    )


def _meant(words: Sequence[str]) -> str | None:
    """An id of ours begins with a digit; any other word alone is a service."""
    if len(words) > 1:
        return None
    name = shlex.quote(words[0])
    return f"show {name}" if words[0][:1].isdigit() else f"--service {name}"


@click.group(cls=Verbs, invoke_without_command=True, lists="", meant=_meant)
@click.option("--service", "-s", shell_complete=names_of("services"), help="Only of this service.")
@click.option("--item", "-i", help="Only of this data item.")
@click.option("--node", "-n", shell_complete=names_of("nodes"), help="Only of this node.")
@click.option(
    "--status",
    type=click.Choice(["success", "partial", "failed", "unproven"]),
    help="Only such as ended so.",
)
@at_most(50)
@as_json
@click.pass_context
def backups(ctx: click.Context, /, *, json_: bool, limit: int, **filters: str | None) -> None:
    """List the backups, the newest first; or look into one.

    \b
    Examples:
      composia backups --service my-app
      composia backups files ID
      composia backups download ID files/data/uploads/a.jpg
    """
    if ctx.invoked_subcommand:
        return
    filters["data_item"] = filters.pop("item")
    found = call(lambda client: narrowed(client, partial(client.backups, limit), filters))
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("BACKUP", "SERVICE", "ITEM", "NODE", "STATUS", "KIND", "TIME", "SIZE", "ADDED"),
        [
            (one.id, one.service, one.data_item, one.node, _status(one), str(one.kind),
             tables.when(one.time), tables.size(one.size), tables.size(one.added))
            for one in found
        ],
        empty=tables.NONE_SUCH
        if any(filters.values())
        else "No backups yet. `composia backup SERVICE` makes the first.",
    )  # fmt: skip


def _status(backup: Backup) -> str:
    """What has become of it since goes before how it ended."""
    if backup.missing:
        return "missing in the repository"
    return "damaged" if backup.damaged else str(backup.status)


@backups.command()
@click.argument("backup", shell_complete=names_of("backups"))
@as_json
def show(backup: str, *, json_: bool) -> None:
    """Show a backup's record, with the snapshot's id for rustic.

    \b
    Example:
      composia backups show ID
    """
    found = call(lambda client: client.backup(backup))
    if json_:
        tables.show_json(found)
        return
    fields = [
        ("backup", found.id),
        ("of", f"{found.data_item} of {found.service} on {found.node}"),
        ("status", _status(found)),
        ("kind", str(found.kind)),
        ("time", tables.when(found.time)),
        ("size", f"{tables.size(found.size)} in {found.files} files"),
        ("added", tables.size(found.added)),
        ("took", f"{found.duration:.1f} s"),
        ("snapshot", found.snapshot_id or "-"),
        ("strategy", found.strategy or "-"),
        ("task", found.task_id or "-"),
        ("verified", _verified(found)),
        ("copies", ", ".join(found.copies) or "none"),
        ("error", found.error or "-"),
        ("warnings", "\n".join(found.warnings) or "none"),
    ]
    tables.show_fields(fields)


def _verified(backup: Backup) -> str:
    when = f"{tables.when(backup.verified_at)}: " if backup.verified_at else ""
    return f"{when}{backup.verification}" if backup.verification else "never"


@backups.command()
@click.argument("backup", shell_complete=names_of("backups"))
@waits
def verify(backup: str, *, json_: bool, wait: bool, dry_run: bool) -> None:
    """Prove a backup: restore it to a place of its own, and compare.

    A dump is imported into a throw-away database of the service's own image, and its rows are
    counted. Nothing live is touched, the service need not run, and nothing is left behind.

    \b
    Example:
      composia backups verify ID
    """
    hand_in(
        lambda client: client.ask(f"/backups/{backup}/verify", dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@backups.command()
@click.argument("backup", shell_complete=names_of("backups"))
@click.argument("path", default="")
@as_json
def files(backup: str, path: str, *, json_: bool) -> None:
    """List what is in a backup, or in a folder of it.

    \b
    Example:
      composia backups files ID files/data/uploads
    """
    found = call(lambda client: client.backup_files(backup, path))
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("TYPE", "SIZE", "PATH"),
        [(one.type, tables.size(one.size), one.path) for one in found],
        empty="Nothing is in there.",
    )


@backups.command()
@click.argument("backup", shell_complete=names_of("backups"))
@click.argument("path", default="")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The new file; by default its name."
)
def download(backup: str, path: str, output: Path | None) -> None:
    """Download a file of a backup, or a folder as tar.

    \b
    Examples:
      composia backups download ID files/data/uploads/a.jpg
      composia backups download ID files/data/uploads -o uploads.tar
    """
    target = output or Path(PurePosixPath(path).name or f"{backup}.tar")
    if target.exists():
        raise click.UsageError(f"{target} is there already: name another with --output")
    size = call(lambda client: client.download(backup, path, target))
    click.echo(f"{target}: {tables.size(size)}")


without_safety_copy = click.option(
    "--without-safety-copy",
    is_flag=True,
    help="Do not save first what lies on a mount point and is replaced there.",
)

where_to = click.option(
    "--to",
    type=click.Choice(["in_place", "scratch"]),
    default="in_place",
    show_default=True,
    help="In the place of the live data, or into a folder beside it that is kept for 7 days.",
)


@backups.command("restore")
@click.argument("backup", shell_complete=names_of("backups"))
@click.option("--node", "-n", shell_complete=names_of("nodes"), help="Instead of its own.")
@where_to
@click.option("--path", help="Only this file or folder, as `backups files` names it.")
@click.option("--from", "source", help="A copy off site, instead of the repository.")
@without_safety_copy
@asks_first
@waits
def restore_one(
    backup: str,
    *,
    yes: bool,
    json_: bool,
    wait: bool,
    dry_run: bool,
    **wanted: str | bool | None,
) -> None:
    """Restore this backup.

    \b
    Examples:
      composia backups restore ID
      composia backups restore ID --path files/data/uploads/a.jpg --to scratch
      composia backups restore ID --from s3        # the repository is gone
    """
    if wanted["to"] == "in_place" and not dry_run:
        sure("Replace the live data? What is replaced is kept for a day.", yes=yes)
    wanted["from"] = wanted.pop("source")
    hand_in(
        lambda client: client.ask(f"/backups/{backup}/restore", wanted, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@backups.command()
@click.argument("backup", shell_complete=names_of("backups"))
@asks_first
@waits
def forget(backup: str, *, yes: bool, json_: bool, wait: bool, dry_run: bool) -> None:
    """Take a backup out of the repository for good.

    \b
    Example:
      composia backups forget ID
    """
    if not dry_run:
        sure(f"Forget backup {backup} for good?", yes=yes)
    hand_in(
        lambda client: client.ask(f"/backups/{backup}", dry_run=dry_run, method="DELETE"),
        wait=wait,
        json_=json_,
    )


def _utc(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value in (None, "latest"):
        return value
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        raise click.BadParameter("write a time as in 2026-11-20T10:00:00Z, or `latest`") from None
    # Without a zone it is meant as this machine's clock shows it.
    return time.astimezone(UTC).isoformat()


@click.command()
@service_argument
@click.option("--node", "-n", shell_complete=names_of("nodes"), help="Where to; default: its node.")
@item_options
@click.option(
    "--backup",
    "-b",
    "ids",
    multiple=True,
    shell_complete=names_of("backups"),
    help="This backup, instead of the newest good one; several times.",
)
@click.option(
    "--at",
    callback=_utc,
    metavar="TIME",
    help="As it was at this time, as in 2026-11-20T10:00:00Z (without a zone: this machine's); "
    "default: latest.",
)
@click.option(
    "--unproven",
    is_flag=True,
    help="Where an item has no good backup: also one that was adopted, never proven.",
)
@where_to
@click.option("--path", help="Only this file or folder, as `backups files` names it.")
@click.option("--from", "source", help="A copy off site, instead of the repository.")
@without_safety_copy
@asks_first
@waits
def restore(
    service: str,
    items: tuple[str, ...],
    ids: tuple[str, ...],
    *,
    yes: bool,
    json_: bool,
    wait: bool,
    dry_run: bool,
    **wanted: str | bool | None,
) -> None:
    """Bring a service's data back.

    The backups are fetched and checked beside the live data first; what is replaced is kept for a
    day, and `composia rollback TASK` brings it back.

    \b
    Examples:
      composia restore my-app
      composia restore my-app --item uploads --at 2026-11-20T10:00:00Z
      composia restore my-app --node edge --to scratch
      composia restore my-app --unproven           # after `composia repo adopt`
      composia restore my-app --from s3            # the repository is gone
    """
    if wanted["to"] == "in_place" and not dry_run:
        sure(f"Replace the live data of {service}? It is kept for a day.", yes=yes)
    wanted["from"] = wanted.pop("source")
    body = {**wanted, "data_items": list(items) or None, "backup_ids": list(ids) or None}
    hand_in(
        lambda client: client.act("restore", service, dry_run=dry_run, **body),
        wait=wait,
        json_=json_,
    )
