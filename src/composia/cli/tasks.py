"""`composia tasks`, `task`, `logs` and `rollback`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import click

from composia.cli import tables, watch
from composia.cli.connect import call
from composia.cli.filters import narrowed
from composia.cli.options import as_json, asks_first, at_most, names_of, sure, waits
from composia.cli.watch import hand_in
from composia.cli.words import Nouns, Plural
from composia.errors import Conflict
from composia.model import ids

if TYPE_CHECKING:
    from composia.client import Client
    from composia.model.task import Task

#: A task's id; anything else that `logs` is given is a service.
TASK_ID = re.compile(ids.TASK_ID, re.IGNORECASE | re.ASCII)

#: What is asked before a task is abandoned: one that was left open, or one that waits.
AS_IT_STANDS = "Leave everything as it stands, and ask nobody any more?"
GONE_FOR_GOOD = (
    "Is the node, or its Docker engine, gone for good? What it still does is not known; the undo of"
    " a move starts the service again where it was."
)


def _as_written(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    return value.upper()


task_argument = click.argument("task", shell_complete=names_of("tasks"), callback=_as_written)


@click.command(cls=Plural)
@click.option("--service", "-s", shell_complete=names_of("services"), help="Only of this service.")
@click.option("--node", "-n", shell_complete=names_of("nodes"), help="Only on this node.")
@click.option("--type", "type_", help="Only of this type: backup, restore, deploy, ...")
@click.option(
    "--status",
    type=click.Choice(["pending", "running", "succeeded", "failed", "cancelled"]),
    help="Only such as are so.",
)
@at_most(20)
@as_json
def tasks(*, json_: bool, limit: int, type_: str | None, **filters: str | None) -> None:
    """List the tasks, the newest first.

    \b
    Examples:
      composia tasks --status running
      composia tasks --service my-app --type backup
    """
    filters["type"] = type_
    found = call(lambda client: narrowed(client, partial(client.tasks, limit), filters))
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("TASK", "STATUS", "TITLE", "BY", "CREATED", "TOOK"),
        [
            (one.id, str(one.status), one.title, one.created_by, tables.when(one.created_at),
             tables.took(one.started_at, one.finished_at))
            for one in found
        ],
        empty=tables.NONE_SUCH
        if any(filters.values())
        else "No tasks yet. `composia deploy SERVICE` makes the first.",
    )  # fmt: skip


@click.group(cls=Nouns)
def task() -> None:
    """Look at one task, cancel it, try it again, or abandon it.

    \b
    Examples:
      composia task show ID
      composia task cancel ID
      composia task retry ID
      composia task abandon ID
    """


@task.command()
@task_argument
@as_json
def show(task: str, *, json_: bool) -> None:
    """Show a task with its steps.

    \b
    Example:
      composia task show ID
    """
    found = call(lambda client: client.task(task))
    if json_:
        tables.show_json(found)
        return
    watch.tell(found)
    click.echo()
    tables.show_table(
        ("STEP", "STATUS", "TOOK", "ERROR"),
        [
            (tables.label(step), str(step.status), tables.took(step.started_at, step.finished_at),
             step.error.message if step.error else "")
            for step in found.steps
        ],
        empty="No step has begun.",
    )  # fmt: skip


@task.command()
@task_argument
@as_json
@click.option("--wait/--no-wait", default=True, help="Wait until it has ended (the default).")
def cancel(task: str, *, json_: bool, wait: bool) -> None:
    """Ask a task to end as soon as it is safe.

    Ends with 1, because a cancelled task has not done its work.

    \b
    Example:
      composia task cancel ID
    """
    hand_in(lambda client: client.ask(f"/tasks/{task}/cancel"), wait=wait, json_=json_)


@task.command()
@task_argument
@as_json
@click.option("--wait/--no-wait", default=True, help="Wait until it ends (the default).")
def retry(task: str, *, json_: bool, wait: bool) -> None:
    """Try a failed task again, from the step that failed.

    \b
    Example:
      composia task retry ID
    """
    hand_in(lambda client: client.ask(f"/tasks/{task}/retry"), wait=wait, json_=json_)


@task.command()
@task_argument
@asks_first
@as_json
def abandon(task: str, *, yes: bool, json_: bool) -> None:
    """Give up waiting for a node, or leave a half-done move as it stands.

    A node whose Docker engine does not answer can be given up too, after a `cancel`.

    Where the undo of a move waits for its target (undo_stop_target), this is your word that nothing
    runs there any more: the service starts again on the source.

    \b
    Example:
      composia task abandon ID
    """
    if not yes:
        ended = call(lambda client: client.task(task)).status.ended
        sure(AS_IT_STANDS if ended else GONE_FOR_GOOD, yes=yes)
    hand_in(lambda client: client.ask(f"/tasks/{task}/abandon"), wait=True, json_=json_)


@click.command()
@task_argument
@click.option(
    "--data",
    type=click.Choice(["carry", "discard"]),
    help="Of a move: what was written since goes back along (the default), or stays there.",
)
@asks_first
@waits
def rollback(
    task: str, data: str | None, *, yes: bool, json_: bool, wait: bool, dry_run: bool
) -> None:
    """Bring back the data that a restore replaced, or take back a move that was left open.

    \b
    Examples:
      composia rollback TASK
      composia rollback TASK --data discard
    """
    if not dry_run:
        sure(f"Undo what task {task} did?", yes=yes)
    body = {"data": data} if data else None
    hand_in(
        lambda client: client.ask(f"/tasks/{task}/rollback", body, dry_run=dry_run),
        wait=wait,
        json_=json_,
    )


@click.command()
@click.argument("what", metavar="TASK|SERVICE", shell_complete=names_of("tasks", "services"))
@click.option("--follow", "-f", is_flag=True, help="Go on, until the task ends or you do.")
@click.option("--node", "-n", shell_complete=names_of("nodes"), help="Of a service: which node.")
@click.option("--container", "-c", help="Of a service: only this container.")
@click.option("--tail", default=1000, show_default=True, help="Of a service: lines from before.")
def logs(what: str, *, follow: bool, node: str | None, container: str | None, tail: int) -> None:
    """Show the log of a task, or of a service's containers.

    Following a task ends with the task, and with its exit code.

    \b
    Examples:
      composia logs -f TASK
      composia logs my-app --node main --container web -f
    """
    if not TASK_ID.fullmatch(what):
        call(lambda client: _containers(client, what, node, follow, container, tail))
        return
    ended = call(lambda client: _task_log(client, what.upper(), follow=follow))
    if ended and ended.status in ("failed", "cancelled"):
        watch.tell(ended)
        click.get_current_context().exit(1)


async def _task_log(client: Client, task: str, *, follow: bool) -> Task | None:
    if not follow:
        click.echo(tables.harmless(await client.task_log(task)), nl=False)
        return None
    async with client.follow_task_log(task) as events:
        async for kind, data in events:
            if kind == "log":
                click.echo(tables.harmless(data))
    return await client.task(task)


async def _containers(
    client: Client,
    service: str,
    node: str | None,
    follow: bool,  # passed on by name from an option
    container: str | None,
    tail: int,
) -> None:
    where = node or await _only_node(client, service)
    wanted = {"container": container, "tail": tail}
    async with client.instance_logs(service, where, follow=follow, **wanted) as lines:
        async for line in lines:
            click.echo(tables.harmless(line))


async def _only_node(client: Client, service: str) -> str:
    instances = (await client.service(service)).instances
    nodes = [one.node for one in instances if one.containers]
    if not nodes:
        raise Conflict(
            f"{service} has no containers whose logs could be shown",
            hint=f"`composia deploy {service}` makes them.",
        )
    if len(nodes) > 1:
        raise click.UsageError(f"{service} runs on {', '.join(nodes)}: name one with --node")
    return nodes[0]
