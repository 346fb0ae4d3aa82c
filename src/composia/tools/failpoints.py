"""Failure points: off unless the process was started with `COMPOSIA_FAILPOINTS=<file>`.

The file is a JSON list of `{"step", "moment", "action"}`; the process that fires one takes it out
first, so that it fires once whatever the action does to the process.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

VARIABLE = "COMPOSIA_FAILPOINTS"
ERROR = "error"
KILL_CONTROLLER = "kill-controller"


def kill_agent(node: str) -> str:
    """The action that ends the agent of a node."""
    return f"kill-agent:{node}"


def fire(step: str, moment: str, actions: Collection[str] = (KILL_CONTROLLER, ERROR)) -> str | None:
    """The action armed for that moment, taken out of the file; only one of those that are ours."""
    name = os.environ.get(VARIABLE)
    return _take(Path(name), step, moment, actions) if name else None


def _take(path: Path, step: str, moment: str, actions: Collection[str]) -> str | None:
    # A step of a move may be called without its number.
    names = (step, step.lstrip("0123456789").removeprefix("_"))
    with _alone(path):
        armed = _read(path)
        for point in armed:
            if point.get("step") not in names or point.get("moment") != moment:
                continue
            if point.get("action") in actions:
                _write(path, [other for other in armed if other is not point])
                return str(point["action"])
    return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    # Controller and agents share the file.
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> list[dict[str, Any]]:
    with suppress(OSError, ValueError):
        armed = json.loads(path.read_text())
        return [point for point in armed if isinstance(point, dict)]
    return []


def _write(path: Path, armed: list[dict[str, Any]]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(armed))
    scratch.replace(path)
