"""A task, watched until it ends: bars on a terminal, lines anywhere else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import click

from composia.cli import tables

if TYPE_CHECKING:
    from rich.progress import TaskID

    from composia.client import Client
    from composia.model.task import Step, Task

#: Seconds between looks, when no event says that something has changed.
GLANCE = 1.0
#: Seconds that a controller may be away while somebody waits.
AWAY = 120.0


class Display(Protocol):
    def show(self, task: Task) -> None:
        """The task as it is now."""


async def watched(client: Client, task: Task, *, quiet: bool = False) -> Task:
    """Wait until it ends, showing how far it is."""
    if quiet:
        return await _until_ended(client, task, _Nothing())
    if sys.stdout.isatty():
        with _Bars() as bars:
            return await _until_ended(client, task, bars)
    return await _until_ended(client, task, _Lines())


async def _until_ended(client: Client, task: Task, display: Display) -> Task:
    display.show(task)
    changes = _Changes(client, task.id)
    try:
        while not task.status.ended:
            await changes.wait()
            task = await _looked(client, task)
            display.show(task)
    finally:
        await changes.close()
    return task


async def _looked(client: Client, task: Task) -> Task:
    from composia.client import Unreachable

    # A controller that restarts carries its tasks on: whoever waits need not notice.
    deadline = asyncio.get_running_loop().time() + AWAY
    while True:
        try:
            return await client.task(task.id)
        except Unreachable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(GLANCE)


class _Changes:
    """Wakes up when the controller says that the task has changed, or after a moment."""

    def __init__(self, client: Client, task: str) -> None:
        self._task = task
        self._changed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(client))

    async def wait(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), GLANCE)
        self._changed.clear()

    async def close(self) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening

    async def _listen(self, client: Client) -> None:
        from composia.errors import ComposiaError

        while True:
            with suppress(ComposiaError):
                async with client.events() as events:
                    await self._wake_on(events)
            await asyncio.sleep(GLANCE)

    async def _wake_on(self, events: AsyncIterator[tuple[str, str]]) -> None:
        async for kind, data in events:
            if kind == "task" and self._task in data:
                self._changed.set()


class _Nothing:
    def show(self, task: Task) -> None:
        return


class _Lines:
    """One line for each step that begins or ends."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._titled = False

    def show(self, task: Task) -> None:
        if not self._titled:
            click.echo(f"{task.title} (task {task.id})")
            self._titled = True
        for step in task.steps:
            name = tables.label(step)
            if self._shown.get(name) != step.status:
                self._shown[name] = step.status
                click.echo(f"  {name}: {step.status}")
        if task.waiting and self._shown.get("waiting") != task.waiting.for_:
            self._shown["waiting"] = task.waiting.for_
            click.echo(f"  waiting: {task.waiting.for_}")


class _Bars:
    """A bar a step, with bytes where the step counts them."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, task: Task) -> None:
        for step in task.steps:
            bar = self._bar(tables.label(step))
            done, total = _bytes(step)
            self._progress.update(bar, completed=done, total=total, said=_said(step, task))

    def _bar(self, name: str) -> TaskID:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=None, said="")
        return self._bars[name]


def _bytes(step: Step) -> tuple[int, int | None]:
    if step.status == "succeeded":
        return 1, 1
    if step.progress is None:
        return 0, None
    return step.progress.bytes_done, step.progress.bytes_total


def _said(step: Step, task: Task) -> str:
    if step.status == "running" and task.waiting:
        return f"waiting: {task.waiting.for_}"
    if step.status == "running" and step.progress:
        done, total = step.progress.bytes_done, step.progress.bytes_total
        return f"{tables.size(done)} of {tables.size(total)}" if total else tables.size(done)
    return str(step.status)
