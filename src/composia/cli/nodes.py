"""`composia nodes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.options import as_json, names_of
from composia.cli.words import Nouns, Plural

if TYPE_CHECKING:
    from composia.model.shown import NodeView

#: Whether a node holds the repository, in words.
REPOSITORY = {True: "yes", False: "no", None: "not known: its service is broken"}


@click.command(cls=Plural)
@as_json
def nodes(*, json_: bool) -> None:
    """List the nodes.

    \b
    Example:
      composia nodes
    """
    found = call(lambda client: client.nodes())
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("NODE", "STATE", "AGENT", "DOCKER", "DISK FREE", "SERVICES", "LAST SEEN"),
        [
            (one.id, _state(one), _agent(one), _docker(one), _disk(one),
             ", ".join(one.services) or "-", tables.when(one.last_seen))
            for one in found
        ],
        empty="No nodes. Name them under controller.nodes in config.yaml, then "
        "`composia config reload`.",
    )  # fmt: skip


@click.group(cls=Nouns)
def node() -> None:
    """Look at one node.

    \b
    Example:
      composia node show main
    """


@node.command()
@click.argument("node", shell_complete=names_of("nodes"))
@as_json
def show(node: str, *, json_: bool) -> None:
    """Show a node with its containers.

    \b
    Example:
      composia node show main
    """
    found = call(lambda client: client.node(node))
    if json_:
        tables.show_json(found)
        return
    tables.show_fields(
        [
            ("node", f"{found.id} ({found.display_name})"),
            ("state", _state(found)),
            ("last seen", tables.when(found.last_seen)),
            ("agent", _agent(found)),
            ("docker", _docker(found)),
            ("repository", REPOSITORY[found.repository]),
            ("disks", _disk(found)),
        ]
    )
    click.echo()
    tables.show_table(
        ("CONTAINER", "PROJECT", "STATE", "HEALTH", "IMAGE"),
        [(one.name, one.project, one.state, one.health or "-", one.image)
         for one in found.containers],
        empty="No containers.",
    )  # fmt: skip


def _state(node: NodeView) -> str:
    if node.needs_update:
        return "needs update"
    return "online" if node.online else "offline"


def _agent(node: NodeView) -> str:
    return node.versions.composia if node.versions else "-"


def _docker(node: NodeView) -> str:
    if node.docker is False:
        return "does not answer"
    versions = node.versions
    return f"{versions.docker}, compose {versions.compose}" if versions else "-"


def _disk(node: NodeView) -> str:
    return "\n".join(
        f"{one.path}: {tables.size(one.free)} of {tables.size(one.total)}" for one in node.disks
    )
