"""The command line: the table of contents."""

from __future__ import annotations

import click

from composia.cli.backups import backup, backups, restore
from composia.cli.catalog import catalog
from composia.cli.completion import completion
from composia.cli.config import config, login
from composia.cli.doctor import doctor
from composia.cli.exits import EXITS, told_to_people
from composia.cli.init import init
from composia.cli.nodes import node, nodes
from composia.cli.repo import repo
from composia.cli.services import deploy, restart, service, services, stop, update
from composia.cli.tasks import logs, rollback, task, tasks


class _Commands(click.Group):
    """Keeps the order of the table, and ends with the exit codes of cli/exits.py."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        with told_to_people():
            return super().invoke(ctx)


@click.group(cls=_Commands, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="composia", message="composia %(version)s")
@click.option("--url", envvar="COMPOSIA_URL", help="The controller's address.  [COMPOSIA_URL]")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    help="A file with the access token, instead of COMPOSIA_TOKEN.",
)
@click.pass_context
def cli(ctx: click.Context, url: str | None, token_file: str | None) -> None:
    """Deploy Docker Compose services, back their data up, and bring it back.

    \b
    Examples:
      composia services                    what there is, and what is wrong with it
      composia deploy my-app               from the catalog to its nodes
      composia backup my-app               all its data items, with progress
      composia restore my-app --at 2026-11-20T10:00:00Z
      composia logs -f TASK                follow a task
    """
    ctx.obj = {"url": url, "token_file": token_file}


for command in (
    services, service, deploy, update, stop, restart,
    backup, backups, restore, rollback,
    tasks, task, logs,
    nodes, node, catalog, repo, config,
    login, completion, init, doctor,
):  # fmt: skip
    cli.add_command(command)
