"""`composia catalog`: the files that people write."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from composia.cli import exits, tables
from composia.cli.connect import call
from composia.cli.options import as_json
from composia.cli.words import Verbs
from composia.errors import Conflict, Invalid
from composia.tools.bundle import ENCRYPTED

if TYPE_CHECKING:
    from composia.client import Client
    from composia.model.shown import Committed


def _meant(words: Sequence[str]) -> str | None:
    return f"show {shlex.quote(words[0])}" if "/" in words[0] else None


@click.group(cls=Verbs, lists="files", meant=_meant)
def catalog() -> None:
    """Read and write the files of the catalog.

    \b
    Examples:
      composia catalog status
      composia catalog pull
      composia catalog show my-app/composia-meta.yaml
      composia catalog put my-app/composia-meta.yaml < composia-meta.yaml
      composia catalog edit my-app/composia-meta.yaml
      composia catalog encrypt my-app/.env
    """


@catalog.command()
@as_json
def status(*, json_: bool) -> None:
    """Show how the catalog stands to its remote.

    \b
    Example:
      composia catalog status
    """
    _show(call(lambda client: client.catalog()), json_=json_)


@catalog.command()
@as_json
@click.pass_context
def pull(context: click.Context, *, json_: bool) -> None:
    """Look at the remote now, and not only every `pull_interval`.

    \b
    Example:
      composia catalog pull
    """
    found = call(lambda client: client.pull_catalog())
    _show(found, json_=json_)
    if found["state"] != "fresh":
        context.exit(exits.FAILED)


@catalog.command()
@as_json
def files(*, json_: bool) -> None:
    """List all files.

    \b
    Example:
      composia catalog files
    """
    found = call(lambda client: client.catalog_files())
    if json_:
        tables.show_json(found)
        return
    click.echo("\n".join(found) or "The catalog is empty.")


@catalog.command()
@click.argument("path")
def show(path: str) -> None:
    """Print a file.

    \b
    Example:
      composia catalog show my-app/composia-meta.yaml
    """
    content, _ = call(lambda client: client.read_file(path))
    sys.stdout.buffer.write(content)


@catalog.command()
@click.argument("path")
@click.argument("source", type=click.Path(exists=True, allow_dash=True), default="-")
def put(path: str, source: str) -> None:
    """Commit a file's new content, from SOURCE or standard input.

    \b
    Examples:
      composia catalog put my-app/composia-meta.yaml < composia-meta.yaml
      composia catalog put my-app/.env.age .env.age
    """
    content = _content(source)

    async def write(client: Client) -> Committed:
        revision = (await client.catalog())["revision"]
        return await client.write_file(path, content, revision or "*")

    _committed(call(write))


def _content(source: str) -> bytes:
    if source != "-":
        return _plain(Path(source))
    if sys.stdin.isatty():
        raise click.UsageError("nothing to write: no SOURCE, and standard input is a terminal")
    content = sys.stdin.buffer.read()
    if not content:
        raise click.UsageError("nothing to write: no SOURCE, and standard input is empty")
    return content


@catalog.command()
@click.argument("path")
def edit(path: str) -> None:
    """Open a file in $EDITOR, and commit what you saved.

    Refused when somebody else has changed the catalog meanwhile.

    \b
    Example:
      composia catalog edit my-app/composia-meta.yaml
    """
    content, revision = call(lambda client: client.read_file(path))
    edited = click.edit(content.decode(), extension=".yaml")
    if edited is None or edited.encode() == content:
        click.echo("Nothing has changed.")
        return
    _committed(call(lambda client: client.write_file(path, edited.encode(), revision)))


@catalog.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--recipient", "recipients", multiple=True, help="Whom it is for, as in age1…")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default="config.yaml",
    show_default=True,
    envvar="COMPOSIA_CONFIG",
    help="Without --recipient: for the identities of its controller.secrets.  [COMPOSIA_CONFIG]",
)
@click.option("--force", is_flag=True, help="Replace FILE.age where it is there already.")
def encrypt(
    files: tuple[Path, ...], recipients: tuple[str, ...], config: Path, *, force: bool
) -> None:
    """Write FILE.age beside each FILE, encrypted with age.

    They are files of this machine, and nothing is committed. Nodes get them decrypted, under their
    names without .age.

    \b
    Examples:
      composia catalog encrypt --config /srv/composia/config.yaml my-app/.env
      composia catalog encrypt --recipient age1… my-app/.env my-app/secrets/token
      git add my-app/.env.age && git rm --cached my-app/.env
    """
    from composia.tools.age import encrypted

    plain = [_plain(file) for file in files]
    paths = [_beside(file, force=force) for file in files]
    wanted = recipients or _recipients(config)
    try:
        made = [encrypted(content, wanted) for content in plain]
    except ValueError as error:
        raise Invalid(f"--recipient: {error}") from error
    for path, content in zip(paths, made, strict=True):
        _replace(path, content)
        click.echo(f"{path}: written, for {' and '.join(wanted)}")
    click.echo(f"  git add -- {shlex.join(map(str, paths))}")
    click.echo(f"  git rm --cached --ignore-unmatch -- {shlex.join(map(str, files))}")
    click.echo(
        "Then delete the plain ones, or name them in .gitignore. What was committed in plain"
    )
    click.echo("before stays in Git's history: change such secrets.")


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path))
def new_identity(file: Path) -> None:
    """Make an age identity, and keep it in FILE.

    It is the key to all that is encrypted for it.

    \b
    Example:
      composia catalog new-identity /srv/composia/age.key
    """
    from composia.tools.age import new_identity as made

    key, recipient = made()
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{file} is there already", hint="Name another file.") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be written: {error.strerror}") from error
    with os.fdopen(opened, "w") as written:
        written.write(f"# public key: {recipient}\n{key}\n")
    click.echo(f"{file}: keep a copy where it is safe; it is for {recipient}")
    click.echo("In config.yaml, under `controller`:")
    click.echo(f"  secrets: {{provider: age, identity_file: {file.absolute()}}}")


def _recipients(config: Path) -> Sequence[str]:
    from composia.model.config import load_config
    from composia.tools.age import Identities

    found = load_config(config).controller
    if found is None or found.secrets is None:
        raise Invalid(
            f"{config} has no controller.secrets",
            hint="Name whom it is for by --recipient, or make an identity: "
            "composia catalog new-identity FILE",
        )
    return Identities.parse(found.secrets.identity.get_secret_value()).recipients


def _beside(file: Path, *, force: bool) -> Path:
    if file.name.endswith(ENCRYPTED):
        raise Invalid(f"{file} is encrypted already", hint="Name the file in plain.")
    beside = file.with_name(file.name + ENCRYPTED)
    if not force and os.path.lexists(beside):
        raise Conflict(f"{beside} is there already", hint="--force replaces it.")
    return beside


def _plain(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)


def _show(found: Mapping[str, Any], *, json_: bool) -> None:
    if json_:
        tables.show_json(found)
        return
    shown = [(name, _told(value)) for name, value in found.items() if value not in (None, [], "")]
    tables.show_fields(shown)


def _told(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    with suppress(ValueError):
        return tables.when(datetime.fromisoformat(str(value)))
    return str(value)


def _committed(made: Committed) -> None:
    click.echo(f"{made.path}: committed as {made.revision[:12]}")
