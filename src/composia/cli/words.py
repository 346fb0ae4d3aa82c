"""Commands that say what was probably meant."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

#: Words for "show me all of them" that other tools have.
LIST = ("list", "ls")


class _Answering(click.Group):
    """A group that answers words which are none of its commands, nor nearly one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            if error.possibilities:
                raise
            self.refuse(ctx, args)

    def refuse(self, ctx: click.Context, words: Sequence[str]) -> NoReturn:
        """Say what was probably meant, or what there is. Raises UsageError."""
        raise NotImplementedError


class Nouns(_Answering):
    """`composia task`: what it does not know is taken for the name of one."""

    def refuse(self, ctx: click.Context, words: Sequence[str]) -> NoReturn:
        _refuse(ctx, words)


class Verbs(_Answering):
    """`composia repo`: what it does not know is answered by what it has.

    `lists` is its command that lists (the group itself: ""), `meant` the rest of a command line
    for words that are none of its commands, as far as one can tell.
    """

    def __init__(
        self,
        *given: Any,
        lists: str | None = None,
        meant: Callable[[Sequence[str]], str | None] = lambda words: None,
        **more: Any,
    ) -> None:
        super().__init__(*given, **more)
        self._lists = lists
        self._meant = meant

    def refuse(self, ctx: click.Context, words: Sequence[str]) -> NoReturn:
        ctx.fail(f"No such command {words[0]!r}. {self._answer(ctx, words)}")

    def _answer(self, ctx: click.Context, words: Sequence[str]) -> str:
        if words[0] in LIST and self._lists is not None:
            return f"`{f'{written(ctx)} {self._lists}'.strip()}` lists them."
        if meant := self._meant(words):
            return f"Did you mean `{written(ctx)} {meant}`?"
        return f"There are: {', '.join(self.list_commands(ctx))}."


class Plural(click.Command):
    """`composia tasks`: lists them, and names the command for one.

    `one` is that command, where it is not `show` of the singular.
    """

    allow_extra_args = True

    def __init__(self, *given: Any, one: str | None = None, **more: Any) -> None:
        super().__init__(*given, **more)
        self._one = one

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            _refuse(ctx, rest, self._one)
        return rest


def written(ctx: click.Context) -> str:
    """The command, as one writes it."""
    return f"{written(ctx.parent)} {ctx.info_name}" if ctx.parent else "composia"


def _refuse(ctx: click.Context, words: Sequence[str], one: str | None = None) -> NoReturn:
    singular = str(ctx.info_name).removesuffix("s")
    if words[0] in LIST:
        ctx.fail(f"No such command {words[0]!r}. `composia {singular}s` lists them.")
    if one:
        line = f"{one} {shlex.quote(words[-1])}"
    elif len(words) == 1:
        line = f"{singular} show {shlex.quote(words[0])}"
    else:
        line = _known(ctx, singular, words)
    ctx.fail(f"No such command {words[0]!r}. Did you mean `composia {line}`?")


def _known(ctx: click.Context, singular: str, words: Sequence[str]) -> str:
    """The same words behind `composia` or the command for one, whichever knows the first."""
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    below = root.get_command(ctx, singular)
    if isinstance(below, click.Group) and words[0] not in below.commands:
        return shlex.join(words) if root.get_command(ctx, words[0]) else f"{singular} --help"
    return f"{singular} {shlex.join(words)}"
