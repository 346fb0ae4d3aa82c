"""The command line: the table of contents."""

from __future__ import annotations

from importlib import import_module

import click

from composia.cli.exits import EXITS, WHERE, told_to_people
from composia.cli.words import written

#: Where each command is, and what it is for: imported when it is called, so that the rest is quick.
COMMANDS = {
    "services": ("services:services", "List the services, their backups, and what is wrong."),
    "service": ("services:service", "Look at one service."),
    "deploy": ("services:deploy", "Bring a service to what the catalog has."),
    "update": ("services:update", "Pull newer images, then deploy."),
    "stop": ("services:stop", "Stop a service; containers and volumes stay."),
    "restart": ("services:restart", "Stop and start the same containers."),
    "dns-update": ("services:dns_update", "Point a service's names to its nodes."),
    "migrate": ("migrate:migrate", "Move a service to another node, with its data."),
    "backup": ("backups:backup", "Back a service's data items up."),
    "backups": ("backups:backups", "List the backups, look into one, or forget it."),
    "restore": ("backups:restore", "Bring a service's data back."),
    "rollback": ("tasks:rollback", "Bring back what a restore replaced, or take back a move."),
    "tasks": ("tasks:tasks", "List the tasks, the newest first."),
    "task": ("tasks:task", "Look at one task, cancel it, try it again, or abandon it."),
    "logs": ("tasks:logs", "Show the log of a task, or of a service's containers."),
    "schedules": ("schedules:schedules", "List what happens by itself, and what was missed."),
    "nodes": ("nodes:nodes", "List the nodes."),
    "node": ("nodes:node", "Look at one node."),
    "catalog": ("catalog:catalog", "Read and write the files of the catalog."),
    "repo": ("repo:repo", "Look at the rustic repository; make, check and tidy it."),
    "notifications": ("notifications:notifications", "List what people are told, or try it out."),
    "config": ("config:config", "Tell the controller about a changed config.yaml."),
    "login": ("config:login", "Keep address and access token for this user."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
    "init": ("init:init", "Write a config.yaml and a catalog to begin with."),
    "doctor": ("doctor:doctor", "Check whether everything is here that Composia needs."),
}

#: What other tools call it when they list what there is.
LISTINGS = ("status", "ps", "ls", "list")


class _Commands(click.Group):
    """Finds its commands in the table, and those that were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(name for name in self.commands if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"composia.cli.{module}"), name)
        command.epilog = WHERE
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click looks for what was meant among those that were imported already.
            name = error.command_name
            if meant := _meant(name, args[1:]) or self._below(ctx, name):
                ctx.fail(f"No such command {name!r}. Did you mean `composia {meant}`?")
            raise click.NoSuchCommand(name, None, self.list_commands(ctx), ctx) from None

    def _below(self, ctx: click.Context, name: str) -> str:
        """The commands of that name that are parts of others."""
        groups = [(one, self.get_command(ctx, one)) for one in COMMANDS]
        found = [
            f"{one} {name}"
            for one, group in groups
            if isinstance(group, click.Group) and name in group.commands
        ]
        return "` or `composia ".join(found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        rows = [(name, COMMANDS[name][1]) for name in COMMANDS] + list(added.items())
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        with told_to_people():
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as error:
                raise self._placed(error) or error from None

    def _placed(self, error: click.NoSuchOption) -> click.UsageError | None:
        """What is said of an option of ours that was given to a command."""
        given = {name: one for one in self.params for name in one.opts}.get(error.option_name)
        if not isinstance(given, click.Option) or error.ctx is None:
            return None
        command = written(error.ctx).removeprefix("composia ")
        line = error.option_name if given.is_flag else f"{error.option_name} … {command}"
        return click.UsageError(
            f"{error.message} It goes before the command: `composia {line}`.", error.ctx
        )


def _meant(name: str, more: list[str]) -> str | None:
    """What other tools call something that is here by another name."""
    if name == "help":
        return " ".join([*(more if more and more[0] in COMMANDS else ()), "--help"])
    if name == "version":
        return "--version"
    return "services" if name in LISTINGS else None


@click.group(cls=_Commands, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="composia", message="composia %(version)s")
@click.option("--url", help="The controller's address.  [COMPOSIA_URL]")
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
      composia migrate my-app --from main --to edge
      composia logs -f TASK                follow a task
    """
    ctx.obj = {**(ctx.obj or {}), "url": url, "token_file": token_file}
