"""`composia repo`: where the snapshots are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.options import as_json, asks_first, item_options, names_of, sure, waits
from composia.cli.watch import hand_in
from composia.cli.words import LIST, Verbs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from composia.model.shown import CopyView, RepositoryView

#: A controller that has lost its database is the likelier one to ask.
NONE_KNOWN = (
    "none known: `composia repo adopt` takes the one that is there; the first backup makes one"
)


def _meant(words: Sequence[str]) -> str | None:
    return "status" if words[0] in LIST else None


@click.group(cls=Verbs, meant=_meant)
def repo() -> None:
    """Look at the rustic repository; make, check and tidy it.

    \b
    Examples:
      composia repo status
      composia repo check --read-data
      composia repo forget --dry-run
      composia repo prune
      composia repo adopt
      composia repo copy
    """


@repo.command()
@as_json
def status(*, json_: bool) -> None:
    """Show the repository, as the records know it.

    \b
    Example:
      composia repo status
    """
    found = call(lambda client: client.repository())
    if json_:
        tables.show_json(found)
        return
    tables.show_fields(
        [
            ("repository", found.repository_id or NONE_KNOWN),
            ("service", found.service or "none has `infra.rustic`"),
            ("nodes", ", ".join(found.nodes) or "-"),
            ("snapshots", _counted(found)),
            ("added", tables.size(found.size)),
            ("last check", _last(found.last_check, found.last_check_succeeded, "sound")),
            ("last forget", _last(found.last_forget, found.last_forget_succeeded)),
            ("last prune", _last(found.last_prune, found.last_prune_succeeded)),
            ("data read", f"part {found.read_part}" if found.read_part else "-"),
            *((f"copy {copy.name}", _of_copy(copy)) for copy in found.copies),
        ]
    )


def _counted(found: RepositoryView) -> str:
    more = [
        f"{count} {what}"
        for count, what in ((found.unproven, "unproven"), (found.missing, "missing"))
        if count
    ]
    return f"{found.snapshots} ({', '.join(more)})" if more else str(found.snapshots)


def _of_copy(copy: CopyView) -> str:
    if copy.tried_at is None:
        return f"never: `composia repo copy {copy.name}`"
    if copy.problem:
        return f"failed {tables.when(copy.tried_at)}: {copy.problem}"
    return f"{copy.snapshots} snapshots, complete {tables.when(copy.complete_at)}"


def _last(time: datetime | None, succeeded: bool | None, well: str = "done") -> str:
    if succeeded is None:
        return "never"
    return f"{well if succeeded else 'failed'} {tables.when(time)}"


@repo.command()
@waits
def init(*, json_: bool, wait: bool, dry_run: bool) -> None:
    """Make the repository, where there was never one. The first backup does it too.

    \b
    Example:
      composia repo init
    """
    hand_in(lambda client: client.ask("/repository/init", dry_run=dry_run), wait=wait, json_=json_)


@repo.command()
@click.option("--read-data", is_flag=True, help="Read all data: finds damaged bytes, takes long.")
@click.option("--parts", type=click.IntRange(1), help="Read the next of so many parts of all data.")
@waits
def check(*, read_data: bool, parts: int | None, json_: bool, wait: bool, dry_run: bool) -> None:
    """Have rustic check the repository.

    \b
    Examples:
      composia repo check
      composia repo check --read-data
    """
    body = {"read_data": read_data, "parts": parts}
    hand_in(
        lambda client: client.ask("/repository/check", body, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@repo.command("copy")
@click.argument("names", nargs=-1)
@waits
def copy_(names: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool) -> None:
    """Copy all backups off site.

    To the places that config.yaml names, or to these of them. Afterwards each place is listed: only
    what is there counts.

    \b
    Examples:
      composia repo copy
      composia repo copy s3
    """
    body = {"names": list(names) or None}
    hand_in(
        lambda client: client.ask("/repository/copy", body, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@repo.command()
@click.option(
    "--service",
    "-s",
    "services",
    multiple=True,
    shell_complete=names_of("services"),
    help="Only backups of this service; several times.",
)
@item_options
@click.option(
    "--drop-missing",
    is_flag=True,
    help="Drop records whose snapshot was removed from the repository on purpose.",
)
@asks_first
@waits
def forget(
    services: tuple[str, ...],
    items: tuple[str, ...],
    *,
    drop_missing: bool,
    yes: bool,
    json_: bool,
    wait: bool,
    dry_run: bool,
) -> None:
    """Forget the backups that `keep` does not keep.

    Each data item on each node is looked at by itself. Only whole backups count; the newest whole
    one and the last verified one always stay. `composia repo prune` frees the space.

    \b
    Examples:
      composia repo forget --dry-run              # what goes, what stays, and why
      composia repo forget
      composia repo forget --service my-app --item uploads --yes
    """
    from composia.cli import verdicts
    from composia.client import Planned

    body = {
        "services": list(services) or None,
        "data_items": list(items) or None,
        "drop_missing": drop_missing,
    }
    if dry_run and not json_:
        planned = call(lambda client: client.ask("/repository/forget", body, dry_run=True))
        assert isinstance(planned, Planned)
        verdicts.show(planned)
        return
    if not dry_run:
        sure("Forget for good what --dry-run names?", yes=yes)
    hand_in(
        lambda client: client.ask("/repository/forget", body, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@repo.command()
@waits
def prune(*, json_: bool, wait: bool, dry_run: bool) -> None:
    """Free the space of what was forgotten.

    What no backup needs is marked, and removed by a prune 23 hours later or more: so what a mistake
    has marked can still be saved. Refused while the snapshot of any record is not to be seen.
    The repository is checked afterwards.

    \b
    Example:
      composia repo prune
    """
    hand_in(lambda client: client.ask("/repository/prune", dry_run=dry_run), wait=wait, json_=json_)


@repo.command()
@click.option("--repository-id", help="Take the repository of this id instead of the known one.")
@waits
def adopt(*, repository_id: str | None, json_: bool, wait: bool, dry_run: bool) -> None:
    """Make records for snapshots that have none.

    For a new controller, whose old database is lost, or for snapshots that were made by hand. They
    are unproven until verified: restored by id, or with `composia restore --unproven`.

    \b
    Examples:
      composia repo adopt
      composia repo adopt --repository-id ID      # another repository has taken its place
    """
    hand_in(
        lambda client: client.ask(
            "/repository/adopt", {"repository_id": repository_id}, dry_run=dry_run
        ),
        wait=wait,
        json_=json_,
    )
