"""The failure points around a step; off unless they are armed, see `tools/failpoints.py`."""

from __future__ import annotations

import os
import signal

from composia.errors import Failure
from composia.tools import failpoints


def kill_at(step: str, moment: str) -> None:
    """The end of this process, where that is armed."""
    if failpoints.fire(step, moment, (failpoints.KILL_CONTROLLER,)):
        os.kill(os.getpid(), signal.SIGKILL)


def fail_at(step: str, moment: str) -> None:
    """Raises Failure, where that is armed."""
    if failpoints.fire(step, moment, (failpoints.ERROR,)):
        raise Failure(f"{step}: a failure point was armed")
