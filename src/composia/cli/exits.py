"""How the command ends: the only place that knows exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from composia.cli.tables import harmless

OK = 0
FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4

_JSON = "composia.json"

#: The controller's own hint is for those who write HTTP.
WHO_YOU_ARE = (
    "Run `composia login` again, or set COMPOSIA_TOKEN: the tokens are in config.yaml, under "
    "controller.access_tokens."
)

EXITS = """\b
Exit codes:
  0  done
  1  it was tried and failed, or only partly succeeded
  2  the command was not written correctly
  3  refused: nothing was tried (unknown name, wrong token, held by another task, ...)
  4  the controller cannot be reached
"""

#: The last line of a command's help.
WHERE = "Exit codes: composia --help"


@contextmanager
def told_to_people() -> Iterator[None]:
    """Every error of ours as a message, its places and a hint on stderr, and an exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        _end(error)


def wants_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    """Called with --json: an error is JSON then, too."""
    ctx.find_root().meta[_JSON] = value or ctx.find_root().meta.get(_JSON, False)
    return value


def _end(error: Exception) -> NoReturn:
    from composia.client import Unreachable
    from composia.errors import ComposiaError, Failure, Unauthenticated

    if not isinstance(error, ComposiaError):
        raise error
    say(
        error.message,
        WHO_YOU_ARE if isinstance(error, Unauthenticated) else error.hint,
        [str(problem) for problem in error.problems if problem.msg not in error.message],
    )
    if click.get_current_context().find_root().meta.get(_JSON):
        click.echo(json.dumps({"error": error.as_told().model_dump(mode="json")}, indent=2))
    if isinstance(error, Unreachable):
        sys.exit(UNREACHABLE)
    sys.exit(FAILED if isinstance(error, Failure) else REFUSED)


def say(message: str, hint: str | None, places: list[str] | None = None) -> None:
    """What is wrong, where, and what to do, on stderr."""
    click.secho(f"Error: {harmless(message)}", fg="red", err=True)
    for place in places or []:
        click.echo(f"  {harmless(place)}", err=True)
    if hint:
        click.echo(f"  {harmless(hint)}", err=True)
