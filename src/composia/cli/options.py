"""Options that several commands have."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from composia.cli import exits

Command = TypeVar("Command", bound=Callable[..., Any])


def as_json(command: Command) -> Command:
    """--json, for programs."""
    return click.option(
        "--json", "json_", is_flag=True, callback=exits.wants_json, help="Print JSON, for programs."
    )(command)


def waits(command: Command) -> Command:
    """What every command that starts a task has."""
    command = click.option("--dry-run", is_flag=True, help="Show the plan, and do nothing.")(
        command
    )
    command = click.option(
        "--wait/--no-wait", default=True, help="Wait until the task ends (the default)."
    )(command)
    return as_json(command)


def asks_first(command: Command) -> Command:
    """--yes, for what replaces or drops something."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(command)


def at_most(usual: int) -> Callable[[Command], Command]:
    """--limit, of a list."""
    return click.option(
        "--limit",
        type=click.IntRange(1, 1000),
        default=usual,
        show_default=True,
        help="At most so many.",
    )


def service_argument(command: Command) -> Command:
    """SERVICE, completed."""
    return click.argument("service", shell_complete=names_of("services"))(command)


def node_options(command: Command) -> Command:
    """--node, several times."""
    return click.option(
        "--node",
        "-n",
        "nodes",
        multiple=True,
        shell_complete=names_of("nodes"),
        help="Only there; may be given several times.",
    )(command)


def item_options(command: Command) -> Command:
    """--item, several times."""
    return click.option(
        "--item", "-i", "items", multiple=True, help="Only this data item; several times."
    )(command)


def sure(question: str, *, yes: bool) -> None:
    """Ask, unless --yes was given; without a terminal nobody could answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say so with --yes.")
    click.confirm(question, abort=True)


def names_of(
    *kinds: str,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes what the controller knows; silent when it does not answer."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from composia.cli.completion import known

        return known(ctx, kinds, incomplete)

    return complete
