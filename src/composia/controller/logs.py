"""The logs of tasks: one file each, which can be followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, SecretStr
from structlog import get_logger

from composia.tools import durable

#: A secret shorter than this is a word that may stand anywhere.
_SHORTEST = 6
_CHUNK = 64 * 1024
#: Characters of a line, and bytes of a log: a node says as much as it likes.
_LONGEST = 64 * 1024
_LARGEST = 256 * 1024 * 1024
_FULL = "The log is full: what is said from here on is not kept."

_log = get_logger("composia.logs")


class Logs:
    """`log_dir/<task>.log`. No line is written with a secret of config.yaml in it.

    What the disk does not take is lost, and told once: no task ends otherwise for it.
    """

    def __init__(self, folder: Path, secrets: Iterable[str] = ()) -> None:
        self._folder = folder
        self._secrets: tuple[str, ...] = ()
        self.hide(secrets)
        self._open: dict[str, BinaryIO] = {}
        self._grown: dict[str, asyncio.Event] = {}
        #: Tasks whose log takes nothing more.
        self._full: set[str] = set()
        self._refused = False
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # An older Composia let everybody read them; the folder may be one for logs of all kinds.
        for older in folder.glob("[0-9A-Z]" * 26 + ".log"):
            older.chmod(0o600)

    def hide(self, secrets: Iterable[str]) -> None:
        """The values that no line may show."""
        wanted = {secret for secret in secrets if len(secret) >= _SHORTEST}
        self._secrets = tuple(sorted(wanted, key=len, reverse=True))

    def begin(self, task: str) -> None:
        """The task may write from now on, and be followed."""
        if task not in self._open:
            with self._lossy(task):
                durable.make_private(self._path(task))
                self._open[task] = self._path(task).open("ab", buffering=0)
                self._grown[task] = asyncio.Event()

    def end(self, task: str) -> None:
        """The task writes nothing more: whoever follows it comes to an end."""
        self._full.discard(task)
        if file := self._open.pop(task, None):
            with self._lossy(task):
                file.close()
            self._grown.pop(task).set()

    def write(self, task: str, line: str, where: str = "") -> None:
        """Add a line; `where`: the step and the node."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        start = f"{stamp} {where}: " if where else f"{stamp} "
        text = "".join(f"{start}{_cut(part)}\n" for part in self._safe(line).splitlines() or [""])
        file = self._open.get(task)
        if file is None or task in self._full:
            return
        with self._lossy(task):
            written = text.encode(errors="replace")
            if file.tell() + len(written) > _LARGEST:
                written = f"{start}{_FULL}\n".encode()
                self._full.add(task)
            file.write(written)
            self._refused = False
        self._grow(task)

    async def read(self, task: str) -> str:
        """All of it so far."""
        try:
            content = await asyncio.to_thread(self._path(task).read_bytes)
        except FileNotFoundError:
            return ""
        return content.decode(errors="replace")

    async def follow(self, task: str) -> AsyncIterator[str]:
        """Line by line from the first, until the task has ended."""
        if not self._path(task).exists():
            return
        rest = b""
        with self._path(task).open("rb") as file:
            while True:
                grown = self._grown.get(task)
                while chunk := file.read(_CHUNK):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line.decode(errors="replace")
                if grown is None:
                    return
                await grown.wait()

    def close(self) -> None:
        """Close all files."""
        for task in list(self._open):
            self.end(task)

    @contextmanager
    def _lossy(self, task: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._refused:
                _log.error("lines of tasks are lost", task=task, reason=str(error))
            self._refused = True

    def _grow(self, task: str) -> None:
        self._grown[task].set()
        self._grown[task] = asyncio.Event()

    def _safe(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "…")
        return line

    def _path(self, task: str) -> Path:
        return self._folder / f"{task}.log"


def _cut(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return f"{line[:_LONGEST]}… ({len(line) - _LONGEST} characters more)"


def secrets_of(model: BaseModel) -> set[str]:
    """Every secret value in a config, and the lines of those that have several."""
    found: set[str] = set()
    for name in type(model).model_fields:
        found |= _secrets(getattr(model, name))
    return found


def _secrets(value: object) -> set[str]:
    if isinstance(value, SecretStr):
        whole = value.get_secret_value()
        return {whole, *(line for line in whole.splitlines() if len(line.strip()) >= _SHORTEST)}
    if isinstance(value, BaseModel):
        return secrets_of(value)
    if isinstance(value, tuple | list):
        return {secret for part in value for secret in _secrets(part)}
    return set()
