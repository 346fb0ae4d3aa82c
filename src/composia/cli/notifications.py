"""`composia notifications`: what people are told, and whether it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.filters import refuse_unknown
from composia.cli.options import as_json, at_most, names_of
from composia.cli.words import Verbs

if TYPE_CHECKING:
    from composia.client import Client
    from composia.model.notification import Notification

#: The exit code when a test message did not arrive, or there is nowhere to send it.
NOT_ARRIVED = 1
NOTHING_OPEN = "Nothing is open. `--all` shows what is over."


def _event(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from composia.model.notification import EventName

    if value and value not in [*EventName]:
        raise click.BadParameter(f"{value!r} is none of {', '.join(EventName)}")
    return value


@click.group(cls=Verbs, invoke_without_command=True)
@click.option("--service", "-s", shell_complete=names_of("services"), help="Only of this service.")
@click.option(
    "--state",
    type=click.Choice(["open", "acknowledged", "settled"]),
    help="Only those; by default all that is not settled.",
)
@click.option("--event", callback=_event, help="Only of this: backup_failed, node_offline, ...")
@click.option("--all", "all_", is_flag=True, help="Those that are settled too.")
@at_most(50)
@as_json
@click.pass_context
def notifications(
    ctx: click.Context,
    /,
    *,
    service: str | None,
    state: str | None,
    event: str | None,
    all_: bool,
    limit: int,
    json_: bool,
) -> None:
    """List what is wrong and who was told, or try the targets out.

    \b
    Examples:
      composia notifications                 what is open
      composia notifications --all           and what is over
      composia notifications test            a message to every target
      composia notifications ack ID          tell it no more
    """
    if ctx.invoked_subcommand:
        return
    filters = {"service": service, "state": state, "event": event}
    found = call(lambda client: _narrowed(client, limit, all_=all_, **filters))
    narrowed = any(filters.values())
    _show(found, json_=json_, empty=_nothing(all_=all_ or bool(state), narrowed=narrowed))


def _nothing(*, all_: bool, narrowed: bool) -> str:
    """What is said of an empty list; other notifications may be open."""
    if all_:
        return "None is like that." if narrowed else "No notifications yet."
    return "None of that is open. `--all` shows what is over." if narrowed else NOTHING_OPEN


@notifications.command("list")
@as_json
def list_(*, json_: bool) -> None:
    """List what is open: the same as without a command.

    \b
    Example:
      composia notifications list
    """
    _show(call(lambda client: _found(client, 50)), json_=json_, empty=NOTHING_OPEN)


async def _narrowed(
    client: Client, limit: int, *, all_: bool, **filters: str | None
) -> list[Notification]:
    found = await _found(client, limit, all_=all_, **filters)
    if not found:
        await refuse_unknown(client, client.notifications, filters)
    return found


async def _found(
    client: Client, limit: int, *, all_: bool = False, state: str | None = None, **more: str | None
) -> list[Notification]:
    if all_ or state:
        return await client.notifications(limit, state=state, **more)
    # What is open or acknowledged may be older than much that is over.
    states = ("open", "acknowledged")
    found = [await client.notifications(limit, state=one, **more) for one in states]
    return sorted([*found[0], *found[1]], key=lambda one: one.id, reverse=True)


def _show(found: list[Notification], *, json_: bool, empty: str) -> None:
    if json_:
        tables.show_json(found)
        return
    tables.show_table(
        ("NOTIFICATION", "STATE", "SINCE", "WHAT", "TOLD"),
        [[one.id, one.state, tables.when(one.since), _what(one), _delivered(one)] for one in found],
        empty=empty,
    )


@notifications.command()
@as_json
def test(*, json_: bool) -> None:
    """Send a message to every target now, and say which arrived.

    \b
    Example:
      composia notifications test
    """
    tried = call(lambda client: client.test_notifications())
    if json_:
        tables.show_json(tried)
    else:
        tables.show_table(
            ("TARGET", "ARRIVED", "WHY NOT"),
            [[one.target, "yes" if one.ok else "failed", one.error or "-"] for one in tried],
            empty="No target is configured: name some under `controller.notifications.urls`.",
        )
    if not tried or not all(one.ok for one in tried):
        raise SystemExit(NOT_ARRIVED)


@notifications.command()
@click.argument("notification")
@as_json
def ack(notification: str, *, json_: bool) -> None:
    """Acknowledge it: it is told no more, unless it happens anew. Its end is still told.

    \b
    Example:
      composia notifications ack ID
    """
    found = call(lambda client: client.acknowledge(notification))
    if json_:
        tables.show_json(found)
        return
    click.echo(f"{found.title}: {found.state}")


def _what(one: Notification) -> str:
    times = f" ({one.times} times)" if one.times > 1 else ""
    return f"{one.title}{times}: {one.reason}" if one.reason else one.title + times


def _delivered(one: Notification) -> str:
    sent = sum(1 for delivery in one.deliveries if delivery.sent_at)
    waiting = [delivery for delivery in one.deliveries if not delivery.sent_at]
    if not one.deliveries:
        return "nobody"
    failed = [f"{delivery.target}: {delivery.error}" for delivery in waiting if delivery.error]
    return "; ".join([f"{sent} of {len(one.deliveries)}", *failed])
