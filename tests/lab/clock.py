"""A clock that can be set, for a process of the lab; the machine's own goes on as it is."""

from __future__ import annotations

from pathlib import Path

from tests.lab import paths
from tests.lab.shell import run

SOURCE = paths.FILES / "clock.c"
VARIABLE = "COMPOSIA_LAB_CLOCK"


class Clock:
    """What the processes that are started with it take for the time; seconds alone go on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.library = folder / "clock.so"
        run("gcc", "-O2", "-shared", "-fPIC", "-o", self.library, SOURCE)
        #: By how many it is wrong.
        self.seconds = 0
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let it go wrong by so many, at once."""
        self.seconds = seconds
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    @property
    def environment(self) -> dict[str, str]:
        """What a process with this clock is started with."""
        return {"LD_PRELOAD": str(self.library), VARIABLE: str(self.file)}
