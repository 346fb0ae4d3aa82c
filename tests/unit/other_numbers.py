"""What is noted about files, as it compares when the file systems are other ones by then."""

from __future__ import annotations

import json
from typing import Any


def after_a_reboot(noted: str) -> str:
    """JSON in which each device had the number that is another device's now."""
    return json.dumps(_shifted(json.loads(noted), "device"))


def of_another_disk(noted: str) -> str:
    """JSON of files that had the same numbers on another file system."""
    return json.dumps(_shifted(_shifted(json.loads(noted), "device"), "born"))


def _shifted(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_shifted(one, name) for one in value]
    if not isinstance(value, dict):
        return value
    shifted = {key: _shifted(one, name) for key, one in value.items()}
    return shifted | {name: value[name] + 1} if isinstance(value.get(name), int) else shifted
