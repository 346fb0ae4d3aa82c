"""Completion for shells, names included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from composia.client import Client

#: Seconds that a person waits for a Tab.
PATIENCE = 2.0


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      bash:  composia completion bash > ~/.local/share/bash-completion/completions/composia
      zsh:   composia completion zsh > ~/.zfunc/_composia
      fish:  composia completion fish > ~/.config/fish/completions/composia.fish
    """
    kind = get_completion_class(shell)
    assert kind
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "composia", "_COMPOSIA_COMPLETE").source())


def known(ctx: click.Context, kinds: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Names that begin so, from the controller; none when it does not answer in time."""
    import asyncio

    from composia.errors import ComposiaError

    with ctx.scope():
        try:
            found = asyncio.run(asyncio.wait_for(_all_names(ctx, kinds), PATIENCE))
        except (ComposiaError, click.UsageError, TimeoutError, OSError):
            return []
    return [
        CompletionItem(name, help=remark) for name, remark in found if name.startswith(incomplete)
    ]


async def _all_names(ctx: click.Context, kinds: Sequence[str]) -> list[tuple[str, str]]:
    from composia.cli.connect import access
    from composia.client import Client

    root = ctx.find_root()
    # Nothing has been invoked yet that would have put them there.
    given = {name: root.params.get(name) for name in ("url", "token_file")}
    root.obj = {**(root.obj or {}), **given}
    # Only tests have a transport.
    async with Client(*access(), transport=root.obj.get("transport")) as client:
        return [name for kind in kinds for name in await _names(client, kind)]


async def _names(client: Client, kind: str) -> list[tuple[str, str]]:
    if kind == "services":
        return [(one.name, ", ".join(one.nodes)) for one in await client.services()]
    if kind == "nodes":
        return [(one.id, one.display_name) for one in await client.nodes()]
    if kind == "tasks":
        return [(one.id, one.title) for one in await client.tasks()]
    return [
        (one.id, f"{one.service} {one.data_item} {one.time:%Y-%m-%d %H:%M}")
        for one in await client.backups()
    ]
