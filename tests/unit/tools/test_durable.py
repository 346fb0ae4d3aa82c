from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from composia.tools import durable


class Known(BaseModel):
    number: int


def test_what_is_kept_is_read_again_and_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "known.json"
    assert durable.read(path, Known) is None
    durable.keep(path, Known(number=1))
    durable.keep(path, Known(number=2))
    assert durable.read(path, Known) == Known(number=2)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_rubbish_does_not_pass_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    path.write_text("{")
    with pytest.raises(ValidationError):
        durable.read(path, Known)
