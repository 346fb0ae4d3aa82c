"""`composia catalog`: the files that people write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from composia.cli import tables
from composia.cli.connect import call
from composia.cli.options import as_json

if TYPE_CHECKING:
    from composia.client import Client
    from composia.model.shown import Committed


@click.group()
def catalog() -> None:
    """Read and write the files of the catalog.

    \b
    Examples:
      composia catalog status
      composia catalog show my-app/composia-meta.yaml
      composia catalog put my-app/composia-meta.yaml < composia-meta.yaml
      composia catalog edit my-app/composia-meta.yaml
    """


@catalog.command()
@as_json
def status(*, json_: bool) -> None:
    """Show how the catalog stands to its remote."""
    found = call(lambda client: client.catalog())
    if json_:
        tables.show_json(found)
        return
    shown = [(name, str(value)) for name, value in found.items() if value not in (None, [], "")]
    tables.show_fields(shown)


@catalog.command()
@as_json
def files(*, json_: bool) -> None:
    """List all files."""
    found = call(lambda client: client.catalog_files())
    if json_:
        tables.show_json(found)
        return
    click.echo("\n".join(found) or "The catalog is empty.")


@catalog.command()
@click.argument("path")
def show(path: str) -> None:
    """Print a file."""
    content, _ = call(lambda client: client.read_file(path))
    sys.stdout.buffer.write(content)


@catalog.command()
@click.argument("path")
@click.argument("source", type=click.File("rb"), default="-")
def put(path: str, source: BinaryIO) -> None:
    """Commit a file's new content, from SOURCE or standard input."""
    content = source.read()

    async def write(client: Client) -> Committed:
        revision = (await client.catalog())["revision"]
        return await client.write_file(path, content, revision or "*")

    _committed(call(write))


@catalog.command()
@click.argument("path")
def edit(path: str) -> None:
    """Open a file in $EDITOR, and commit what you saved.

    Refused when somebody else has changed the catalog meanwhile.
    """
    content, revision = call(lambda client: client.read_file(path))
    edited = click.edit(content.decode(), extension=".yaml")
    if edited is None or edited.encode() == content:
        click.echo("Nothing has changed.")
        return
    _committed(call(lambda client: client.write_file(path, edited.encode(), revision)))


def _committed(made: Committed) -> None:
    click.echo(f"{made.path}: committed as {made.revision[:12]}")
