"""Commands that say what was probably meant."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NoReturn

import click

#: Words for "show me all of them" that other tools have.
LIST = ("list", "ls")


class Nouns(click.Group):
    """`composia task`: what it does not know is taken for the name of one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            if error.possibilities:
                raise
            _refuse(ctx, args)


class Plural(click.Command):
    """`composia tasks`: lists them, and names the command for one."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            _refuse(ctx, rest)
        return rest


def _refuse(ctx: click.Context, words: Sequence[str]) -> NoReturn:
    one = str(ctx.info_name).removesuffix("s")
    if words[0] in LIST:
        ctx.fail(f"No such command {words[0]!r}. `composia {one}s` lists them.")
    meant = words if len(words) > 1 else ["show", *words]
    ctx.fail(f"No such command {words[0]!r}. Did you mean `composia {one} {shlex.join(meant)}`?")
