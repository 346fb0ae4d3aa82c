"""Failure points: what the controller and the agents are told to do at a moment of a step."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.processes import write_whole
from tests.lab.shell import LabError

VARIABLE = "COMPOSIA_FAILPOINTS"


def arm(path: Path, where: str, action: str) -> None:
    """Add one failure point, `STEP:MOMENT`; the process that fires it takes it out."""
    step, colon, moment = where.partition(":")
    if not (step and colon and moment):
        raise LabError(f"{where!r} is not STEP:before, STEP:middle or STEP:after")
    if not (action in ("error", "kill-controller") or action.startswith("kill-agent:")):
        raise LabError(f"{action!r} is not kill-controller, kill-agent:NODE or error")
    point = {"step": step, "moment": moment, "action": action}
    write_whole(path, json.dumps([*armed(path), point], indent=2))


def armed(path: Path) -> list[dict[str, str]]:
    """The failure points that have not fired."""
    if not path.exists():
        return []
    found: list[dict[str, str]] = json.loads(path.read_text() or "[]")
    return found


def clear(path: Path) -> None:
    """Disarm all of them."""
    write_whole(path, "[]")
