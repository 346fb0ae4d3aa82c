"""A request handed in, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from composia.cli import exits, planned, tables

if TYPE_CHECKING:
    from composia.client import Client, Planned
    from composia.model.task import Task

#: What is not worth a line.
EMPTY: tuple[object, ...] = (None, [], (), {})


def hand_in(
    asked: Callable[[Client], Awaitable[Task | Planned]], *, wait: bool, json_: bool
) -> None:
    """Hand a request in, and wait for its task; leaves with the exit code of how it ended."""
    from composia.cli.connect import call
    from composia.cli.display import watched
    from composia.client import Planned

    async def work(client: Client) -> Task | Planned:
        answer = await asked(client)
        if isinstance(answer, Planned) or not wait:
            return answer
        return await watched(client, answer, quiet=json_)

    finish(call(work), json_=json_)


def finish(answer: Task | Planned, *, json_: bool) -> None:
    """Say what came of it, and leave with the exit code for it."""
    from composia.client import Planned

    if json_:
        tables.show_json(answer)
    if isinstance(answer, Planned):
        if not json_:
            click.echo(f"Would: {answer.title}")
            for line in planned.told(answer.plan):
                click.echo(f"  {line}")
            only_shown()
        return
    if not json_:
        tell(answer)
    if answer.status in ("failed", "cancelled"):
        click.get_current_context().exit(exits.FAILED)


def only_shown() -> None:
    """What a dry run ends with: that nothing has happened is no error."""
    click.echo("Nothing was done. The same command without --dry-run does it.")


def tell(task: Task) -> None:
    """How a task ended, what it made, and what to do next."""
    if not task.status.ended:
        click.echo(f"Task {task.id}: {task.title}")
        click.echo(f"  `composia logs -f {task.id}` follows it.")
        return
    spent = tables.took(task.started_at, task.finished_at)
    colour = tables.COLOURS.get(task.status)
    click.secho(f"{task.title}: {task.status} in {spent}", fg=colour)
    click.echo(f"  task {task.id}")
    if task.error:
        exits.say(task.error.message, task.error.hint)
    for name, value in (task.result or {}).items():
        if value not in EMPTY:
            click.echo(f"  {name}: {tables.harmless(_short(value))}")
    if "rollback" in task.actions:
        unsure = "" if task.status == "succeeded" else ", if it came to replace it"
        click.echo(f"  `composia rollback {task.id}` brings back what was before{unsure}.")
    if "retry" in task.actions:
        click.echo(f"  `composia task retry {task.id}` tries again.")
    if task.status.ended and "abandon" in task.actions:
        click.echo(f"  `composia task abandon {task.id}` leaves it as it stands.")


def _short(value: object) -> str:
    """A part of a result on one line, without what is empty in it."""
    match value:
        case dict():
            told = {name: part for name, part in value.items() if part not in EMPTY}
            return ", ".join(f"{name}: {_short(part)}" for name, part in told.items())
        case list():
            return ("; " if any(map(_is_nested, value)) else ", ").join(map(_short, value))
        case float():
            return f"{value:.2f}"
        case _:
            return str(value)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list)
