"""`composia config` and `composia login`."""

from __future__ import annotations

import os
import sys

import click

from composia.cli import connect, tables
from composia.cli.options import as_json
from composia.cli.words import Verbs


@click.group(cls=Verbs)
def config() -> None:
    """Tell the controller about a changed config.yaml.

    \b
    Example:
      composia config reload
    """


@config.command()
@as_json
def reload(*, json_: bool) -> None:
    """Have config.yaml read again; a wrong file changes nothing.

    All of it counts at once, but for listen_addr, the folders and git: these are read when the
    controller starts.

    \b
    Example:
      composia config reload
    """
    found = connect.call(lambda client: client.reload())
    if json_:
        tables.show_json(found)
        return
    tables.show_fields(
        [("access tokens", ", ".join(found.access_tokens)), ("nodes", ", ".join(found.nodes))]
    )
    if found.needs_restart:
        click.echo(
            f"Restart the controller for what has changed in: {', '.join(found.needs_restart)}."
        )


@click.command()
@click.option("--url", help="The controller's address.")
def login(url: str | None) -> None:
    """Keep address and access token for this user, in ~/.config/composia/client.yaml.

    The token is asked for, or taken from COMPOSIA_TOKEN.

    \b
    Example:
      composia login --url https://composia.example.com
    """
    given = click.get_current_context().find_root().obj
    address = connect.checked(url) if url else connect.address()
    token = os.environ.get("COMPOSIA_TOKEN") or _asked()
    given |= {"url": address, "token": token}
    services = connect.call(lambda client: client.services())
    path = connect.keep(address, token)
    click.echo(f"{address} answers with {len(services)} services. Kept in {path}.")


def _asked() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the token: set COMPOSIA_TOKEN")
    token: str = click.prompt("Access token", hide_input=True)
    return token
