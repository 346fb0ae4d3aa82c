"""`composia services`, and what is done with one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.options import as_json, node_options, service_argument, waits
from composia.cli.watch import hand_in
from composia.cli.words import Nouns

if TYPE_CHECKING:
    from composia.model.shown import ServiceView


@click.group(cls=Nouns, invoke_without_command=True)
@as_json
@click.pass_context
def services(ctx: click.Context, /, *, json_: bool) -> None:
    """List the services: where they run, their last backups, and what is wrong.

    \b
    Examples:
      composia services
      composia services --json | jq '.[] | select(.problems != []) | .name'
      composia services caddy-sync my-app
    """
    if ctx.invoked_subcommand:
        return
    found = call(lambda client: client.services())
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("SERVICE", "STATE", "LAST BACKUP", "REMARKS"),
        [(one.name, _states(one), _backups(one), _remarks(one)) for one in found],
        empty="The catalog has no services yet. Add a folder with a docker-compose.yaml and a "
        "composia-meta.yaml to it, and commit.",
    )


def _states(service: ServiceView) -> str:
    if service.problems:
        return "broken"
    if not service.enabled:
        return "disabled"
    states = [f"{one.state} on {one.node}" for one in service.instances]
    return ", ".join(states) or "no node"


def _backups(service: ServiceView) -> str:
    lines = []
    for item in service.data_items:
        if item.scheduled or item.last_backup:
            last = item.last_backup
            lines.append(f"{item.name}: {tables.when(last.time) if last else 'never'}")
    return "\n".join(lines) or "-"


def _remarks(service: ServiceView) -> str:
    late = [one for one in service.data_items if one.overdue]
    remarks = [
        *(str(problem) for problem in service.problems),
        *(f"backup of {one.name} is overdue: {one.overdue}" for one in late),
        *(warning.message for warning in service.warnings),
    ]
    return "\n".join(remarks)


@services.command()
@service_argument
@node_options
@waits
def caddy_sync(
    service: str, nodes: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool
) -> None:
    """Bring a service's fragment on Caddy to what the catalog has.

    On all of its nodes, or on those that are named. Caddy validates it first: what it refuses
    changes nothing.

    \b
    Example:
      composia services caddy-sync my-app
    """
    _act("caddy-sync", service, nodes, json_=json_, wait=wait, dry_run=dry_run)


@click.group(cls=Nouns)
def service() -> None:
    """Look at one service.

    \b
    Example:
      composia service show my-app
    """


@service.command()
@service_argument
@as_json
def show(service: str, *, json_: bool) -> None:
    """Show a service with its containers, data items and warnings.

    \b
    Example:
      composia service show my-app
    """
    found = call(lambda client: client.service(service))
    if json_:
        tables.show_json(found)
        return
    tables.show_fields(
        [
            ("service", found.name),
            ("folder", found.folder),
            ("project", found.project or "-"),
            ("state", _states(found)),
            ("warnings", _remarks(found) or "none"),
        ]
    )
    click.echo()
    tables.show_table(
        ("CONTAINER", "NODE", "STATE", "HEALTH", "IMAGE"),
        [
            (one.name, instance.node, one.state, one.health or "-", one.image)
            for instance in found.instances
            for one in instance.containers
        ],
        empty=_no_containers(found),
    )
    click.echo()
    tables.show_table(
        ("DATA ITEM", "BACKUP", "RESTORE", "LAST GOOD BACKUP"),
        [
            (one.name, one.backup or "-", one.restore or "-",
             tables.when(one.last_backup.time) if one.last_backup else "never")
            for one in found.data_items
        ],
        empty="No data items: nothing of this service is backed up.",
    )  # fmt: skip


def _no_containers(service: ServiceView) -> str:
    unseen = [one.node for one in service.instances if one.state == "unknown"]
    if unseen:
        return f"What runs is not known: nothing is heard of {', '.join(unseen)}."
    return f"No containers. `composia deploy {service.name}` makes them."


@click.command()
@service_argument
@node_options
@waits
def deploy(service: str, nodes: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool) -> None:
    """Bring a service's files and containers to what the catalog has.

    Nothing that containers or people wrote is touched; where nothing has changed, nothing is done.

    \b
    Examples:
      composia deploy my-app
      composia deploy my-app --node main --dry-run
    """
    _act("deploy", service, nodes, json_=json_, wait=wait, dry_run=dry_run)


@click.command()
@service_argument
@node_options
@click.option(
    "--backup-first",
    is_flag=True,
    help="Save its data first; where that fails, nothing is updated.",
)
@waits
def update(
    service: str,
    nodes: tuple[str, ...],
    *,
    backup_first: bool,
    json_: bool,
    wait: bool,
    dry_run: bool,
) -> None:
    """Pull newer images, then deploy.

    A newer image may change data so that the older one cannot read it any more: with
    --backup-first all items under `backup.data` are saved before.

    \b
    Examples:
      composia update my-app
      composia update my-app --backup-first
    """
    body = {"backup_first": backup_first or None}
    _act("update", service, nodes, body, json_=json_, wait=wait, dry_run=dry_run)


@click.command()
@service_argument
@node_options
@waits
def stop(service: str, nodes: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool) -> None:
    """Stop a service's containers; they and their volumes stay.

    \b
    Example:
      composia stop my-app --node main
    """
    _act("stop", service, nodes, json_=json_, wait=wait, dry_run=dry_run)


@click.command()
@service_argument
@node_options
@waits
def restart(
    service: str, nodes: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool
) -> None:
    """Stop and start the same containers.

    \b
    Example:
      composia restart my-app
    """
    _act("restart", service, nodes, json_=json_, wait=wait, dry_run=dry_run)


@click.command("dns-update")
@service_argument
@node_options
@waits
def dns_update(
    service: str, nodes: tuple[str, ...], *, json_: bool, wait: bool, dry_run: bool
) -> None:
    """Point a service's names to the nodes where it runs.

    Records that somebody else made are left alone and named.

    \b
    Examples:
      composia dns-update my-app
      composia dns-update my-app --dry-run
    """
    _act("dns-update", service, nodes, json_=json_, wait=wait, dry_run=dry_run)


def _act(
    verb: str,
    service: str,
    nodes: tuple[str, ...],
    body: Mapping[str, Any] = MappingProxyType({}),
    *,
    json_: bool,
    wait: bool,
    dry_run: bool,
) -> None:
    hand_in(
        lambda client: client.act(
            verb, service, dry_run=dry_run, nodes=list(nodes) or None, **body
        ),
        wait=wait,
        json_=json_,
    )
