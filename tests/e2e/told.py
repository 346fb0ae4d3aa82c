"""What others can read on this machine, while things come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def command_lines() -> list[str]:
    """Of all processes; one that ends meanwhile has none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def files(folder: Path, ending: str = "") -> Iterator[tuple[Path, bytes]]:
    """Those below a folder, each with its content; one that goes meanwhile is left out."""
    for here, _, names in os.walk(folder):
        for path in (Path(here, name) for name in names if name.endswith(ending)):
            with suppress(OSError):
                if path.is_file():
                    yield path, path.read_bytes()


def logs(folder: Path) -> list[str]:
    """The texts of all log files below a folder."""
    return [content.decode(errors="replace") for _, content in files(folder, ".log")]
