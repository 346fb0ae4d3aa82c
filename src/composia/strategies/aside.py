"""Where a restore keeps what it has fetched, and what it replaced: `site.aside/<task>/`.

Every place is written down before anything is put there, so that whoever clears up, in this task or
after a crash, removes all of it and nothing else.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.tools import durable
from composia.tools.containers import Volume
from composia.tools.docker import Docker
from composia.tools.durable import Kept
from composia.tools.exchange import AnyPath, existing
from composia.tools.mounts import is_mount_point, mount_of, remove
from composia.tools.threads import in_thread

#: The label of volumes that stand aside; its value is the task.
LABEL = "io.composia.task"
#: Bytes of the longest name that Linux knows.
NAME_MAX = 255


class Staging(BaseModel):
    """A place of ours: a path, or the `_data` of a volume."""

    model_config = ConfigDict(frozen=True)

    path: AnyPath | None = None
    volume: str | None = None


class _Places(BaseModel):
    model_config = ConfigDict(frozen=True)

    places: tuple[Staging, ...] = ()


class Aside:
    """One task's folder among those that lie aside."""

    def __init__(self, aside: Path, task: str) -> None:
        self.folder = aside / task
        self.task = task

    def read(self, name: str, kind: type[Kept]) -> Kept | None:
        """A file of ours; None where it is not there."""
        return durable.read(self.folder / name, kind)

    def write(self, name: str, value: BaseModel) -> None:
        """Keep a file, whole or not at all, and on the disk when this returns."""
        self._make()
        durable.keep(self.folder / name, value, indent=1)

    def remove(self, name: str) -> None:
        """Remove a file of ours; harmless when it is not there."""
        (self.folder / name).unlink(missing_ok=True)
        if self.folder.is_dir():
            durable.sync(self.folder)

    def beside(self, live: Path, name: str) -> Path:
        """A place that can be exchanged with `live`: its parent is there, it is not.

        Below our own folder where that is on the same mount, else next to the live path, and in it
        where something is mounted exactly there.
        """
        near = live if is_mount_point(live) else existing(live.parent)
        self._make()
        if mount_of(near) == mount_of(self.folder):
            place = self.folder / _short(f"{name}-{live.name}")
        else:
            place = near / _short(f".composia-{self.task}-{name}-{live.name}")
        self._remember(Staging(path=place))
        return place

    async def volume(self, docker: Docker, name: str, key: str) -> Volume:
        """A fresh plain volume, to trade its content with another one."""
        volume = f"composia-{self.task}-{name}-{key}"
        self._remember(Staging(volume=volume))
        return await docker.create_volume(volume, {LABEL: self.task})

    async def discard(self, docker: Docker) -> None:
        """Remove everything of this task that lies aside. Raises Conflict at a mount in it."""
        for place in self._places():
            if place.path:
                await in_thread(remove, place.path)
            if place.volume:
                await docker.remove_volume(place.volume)
        await in_thread(remove, self.folder)

    def _places(self) -> tuple[Staging, ...]:
        return (self.read("places.json", _Places) or _Places()).places

    def _remember(self, place: Staging) -> None:
        if place not in self._places():
            self.write("places.json", _Places(places=(*self._places(), place)))

    def _make(self) -> None:
        # Nobody but us looks in: what is restored has its owners' modes, and so have secrets in it.
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(exist_ok=True, mode=0o700)


def _short(name: str) -> str:
    """The same where it is a legal name, else cut off between two characters, with a digest."""
    written = os.fsencode(name)
    if len(written) <= NAME_MAX:
        return name
    end = f"-{hashlib.sha256(written).hexdigest()[:16]}"
    at = NAME_MAX - len(end)
    while written[at] & 0xC0 == 0x80:
        at -= 1
    return os.fsdecode(written[:at]) + end
