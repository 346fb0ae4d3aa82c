"""Files that become something else while they are looked at."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from composia.agent import placing
from composia.agent.bundle import Bundle
from composia.agent.placing import Placing
from tests.twins.controller import a_bundle


@pytest.fixture
def swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that somebody makes a pipe as soon as it has been looked at."""
    file, look = tmp_path / "conf", os.stat
    file.write_text("1")
    file.chmod(0o600)

    def looked_at(name: Any, *args: Any, **more: Any) -> os.stat_result:
        found = look(name, *args, **more)
        if name == "conf":
            file.unlink()
            os.mkfifo(file)
        return found

    monkeypatch.setattr(os, "stat", looked_at)
    return file


def ends(work: Callable[[], object]) -> bool:
    """Whether it waits for nobody."""
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(30)
    return not worker.is_alive()


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(swapped: Path) -> None:
    assert ends(lambda: placing.same_content(swapped.parent, "conf", "1"))


def test_nor_is_it_where_only_the_mode_is_to_change(
    swapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(io.BytesIO(a_bundle({"conf": "1"})))
    monkeypatch.setattr(placing, "same_content", lambda *_: True)

    def put() -> None:
        with suppress(OSError):
            Placing(swapped.parent, bundle).put("conf", None)

    assert ends(put)
