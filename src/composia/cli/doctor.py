"""`composia doctor`: is everything here that Composia needs, and how to mend what is not."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from composia.cli.check import Check, Level
from composia.cli.checks import all_checks
from composia.cli.options import as_json
from composia.tools.shell import LocalShell

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default="config.yaml",
    show_default=True,
    envvar="COMPOSIA_CONFIG",
    help="The config.yaml to look at.  [COMPOSIA_CONFIG]",
)
@as_json
def doctor(path: Path, *, json_: bool) -> None:
    """Check Docker, compose, Git, rustic, folders, ports, clock and tokens of this machine.

    Exits with 1 when something must be mended first; warnings alone exit with 0.

    \b
    Example:
      composia doctor --config /srv/composia/config.yaml
    """
    checks = asyncio.run(looked_at(path))
    if json_:
        click.echo(
            json.dumps({"ok": not failed(checks), "checks": [asdict(one) for one in checks]})
        )
    else:
        show(checks)
    sys.exit(1 if failed(checks) else 0)


async def looked_at(path: Path) -> list[Check]:
    """All checks, done."""
    return [check async for check in all_checks(path, LocalShell())]


def failed(checks: list[Check]) -> bool:
    """Whether something must be mended."""
    return any(check.level is Level.FAIL for check in checks)


def show(checks: list[Check]) -> None:
    """One line a check, and how to mend it below."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        level = click.style(f"{check.level.value:4}", fg=_COLOURS[check.level])
        click.echo(f"{level}  {check.name:{width}}  {check.message}")
        if check.hint:
            click.echo(f"{'':{width + 8}}{check.hint}")
