"""One question, one answer: what the agent was asked, what it noted, and how that ended.

A file a key in `state_dir/journal`, on the disk before anything is done or answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from composia.errors import Failure
from composia.operations.messages import LARGEST_MESSAGE, Ask, Outcome
from composia.tools import durable

#: How long an acknowledged outcome is kept, and one that nobody has ever acknowledged.
ACKNOWLEDGED_KEPT = timedelta(days=1)
UNACKNOWLEDGED_KEPT = timedelta(days=60)

EPOCHS = "epochs.json"


class Entry(BaseModel):
    """One key. Without an ask it is a tombstone, without an outcome it has begun and not ended."""

    key: str
    ask: Ask | None = None
    #: The newest note of each name.
    notes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    #: Every container of ours that a note has ever named.
    containers: list[str] = Field(default_factory=list)
    outcome: Outcome | None = None
    ended_at: datetime | None = None
    acknowledged: bool = False


class Journal:
    """The keys of this agent. Writes are in the order of the calls, whoever is cancelled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = {entry.key: entry for entry in _entries(folder)}
        self._epochs = _read_epochs(folder / EPOCHS)
        #: What the disk has of them: another attempt writes what a full one did not take.
        self._epochs_kept = dict(self._epochs)
        #: Keys whose outcomes are being written.
        self._ending: set[str] = set()
        # One thread: a note of a cancelled operation cannot overtake its outcome.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    def get(self, key: str) -> Entry | None:
        """What is known of a key."""
        return self._entries.get(key)

    def unfinished(self) -> list[Entry]:
        """What has begun and not ended."""
        return [entry for entry in self._entries.values() if entry.outcome is None]

    def tasks_at_work(self) -> set[str]:
        """The tasks of which something has begun and not ended, and those that it is about."""
        asks = [entry.ask for entry in self.unfinished() if entry.ask]
        about = (getattr(ask.operation, "of_task", None) for ask in asks)
        return {*(ask.task for ask in asks), *(task for task in about if task)}

    def unacknowledged(self) -> list[Outcome]:
        """The outcomes that the controller may not have."""
        return [
            entry.outcome
            for entry in self._entries.values()
            if entry.outcome and not entry.acknowledged
        ]

    @property
    def epochs(self) -> dict[str, int]:
        """How many times each service has been placed anew."""
        return dict(self._epochs)

    def is_outdated(self, ask: Ask) -> bool:
        """Whether the service has been placed anew since the question was thought of."""
        return ask.operation.epoch < self._epochs.get(ask.operation.service.name, 0)

    async def begin(self, ask: Ask) -> None:
        """Write the question down before it is worked on."""
        entry = self._entries[ask.key] = Entry(key=ask.key, ask=ask)
        service, epoch = ask.operation.service.name, ask.operation.epoch
        if epoch > self._epochs.get(service, 0):
            self._epochs[service] = epoch
        if self._epochs != self._epochs_kept:
            known = dict(self._epochs)
            await self._keep(self._folder / EPOCHS, json.dumps(known).encode())
            self._epochs_kept = known
        await self._write(entry)

    async def note(self, key: str, name: str, facts: dict[str, Any]) -> None:
        """Keep a note. Raises Failure where it cannot be kept: then it must not be acted on."""
        entry = self._entries[key]
        if key in self._ending or entry.outcome:
            # It would take the outcome's place on the disk.
            raise Failure(f"{key} has ended: nothing is begun for it any more")
        entry.notes[name] = facts
        if container := facts.get("container"):
            entry.containers.append(str(container))
        await self._write(entry)

    async def end(self, outcome: Outcome) -> None:
        """Keep an outcome; of a key that never came it is a tombstone. Raises Failure.

        Until it is on the disk nobody hears of it here: the next agent would undo what was told.
        """
        self._ending.add(outcome.key)
        begun = self._entries.get(outcome.key) or Entry(key=outcome.key)
        # Nothing is put right from notes any more, and they may be long.
        facts = {"outcome": outcome, "ended_at": datetime.now(UTC), "notes": {}, "containers": []}
        await self._replace(begun.model_copy(update=facts))
        self._ending.discard(outcome.key)

    async def acknowledge(self, key: str) -> None:
        """The controller has stored the outcome. Raises Failure."""
        entry = self._entries.get(key)
        if entry and entry.outcome and not entry.acknowledged:
            await self._replace(entry.model_copy(update={"acknowledged": True}))

    async def expire(self, now: datetime) -> None:
        """Drop what nobody will ask for again."""
        for entry in list(self._entries.values()):
            kept = ACKNOWLEDGED_KEPT if entry.acknowledged else UNACKNOWLEDGED_KEPT
            if entry.ended_at and entry.ended_at + kept < now:
                del self._entries[entry.key]
                await self._do(durable.remove, self._path(entry.key))

    def close(self) -> None:
        """Finish writing."""
        self._writer.shutdown(wait=True)

    async def _replace(self, entry: Entry) -> None:
        await self._write(entry)
        self._entries[entry.key] = entry

    async def _write(self, entry: Entry) -> None:
        await self._keep(self._path(entry.key), entry.model_dump_json().encode())

    async def _keep(self, path: Path, content: bytes) -> None:
        try:
            await self._do(durable.write, path, content)
        except OSError as error:
            raise Failure(
                f"the agent's journal {self._folder} cannot be written: {error.strerror}",
                hint="Is the disk of state_dir full?",
            ) from error

    async def _do(self, write: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, write, *arguments)

    def _path(self, key: str) -> Path:
        return self._folder / f"{quote(key, safe=':')}.json"


def _entries(folder: Path) -> Iterator[Entry]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in sorted(folder.glob("*.json")):
        if path.name == EPOCHS or path.name.startswith("."):
            continue
        try:
            entry = Entry.model_validate_json(path.read_bytes())
            # Of an older version: every connection would end with it.
            if entry.outcome and path.stat().st_size > LARGEST_MESSAGE:
                entry.outcome = entry.outcome.fitting()
            yield entry
        except ValidationError as error:
            raise Failure(
                f"{path} cannot be understood: it may be of another version of Composia",
                hint="Start the agent once in the version that wrote it, or move the file away.",
            ) from error


def _read_epochs(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    return {str(name): int(epoch) for name, epoch in json.loads(path.read_bytes()).items()}
