from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from composia.controller import logs as logging
from composia.controller.logs import Logs, secrets_of
from composia.controller.store.times import Ids
from composia.model.config import ControllerConfig
from composia.tools.age import new_identity


async def test_a_secret_of_the_config_is_in_no_line(tmp_path: Path) -> None:
    config = ControllerConfig.model_validate_json(
        '{"access_tokens": [{"name": "admin", "token": "planted-admin"}],'
        ' "nodes": [{"id": "main", "token": "planted-node"}]}'
    )
    logs = Logs(tmp_path, secrets_of(config))
    logs.begin("t")

    logs.write("t", "planted-admin and planted-node are said")

    assert "planted" not in await logs.read("t")
    logs.close()


async def test_no_line_of_a_secret_with_several_is_in_a_line(tmp_path: Path) -> None:
    keys = [new_identity()[0], new_identity()[0]]
    config = ControllerConfig.model_validate(
        {"secrets": {"identity": "# of mine\n#\n\n" + "\n".join(keys)}}
    )
    logs = Logs(tmp_path, secrets_of(config))
    assert not {"", "#"} & secrets_of(config), "they stand in any line"
    logs.begin("t")

    logs.write("t", f"said: {keys[1]}")

    assert "AGE-SECRET-KEY" not in await logs.read("t")
    logs.close()


async def test_a_followed_log_ends_with_its_task(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.begin("t")
    logs.write("t", "first")
    lines = logs.follow("t")
    first = await anext(lines)

    logs.write("t", "second\nthird", "main deploy")
    logs.end("t")
    async with asyncio.timeout(30):
        rest = [line async for line in lines]

    assert first.endswith(" first")
    assert [line.split(" ", 1)[1] for line in rest] == [
        "main deploy: second",
        "main deploy: third",
    ]


async def test_the_log_of_an_old_task_is_read_to_its_end(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.begin("t")
    logs.write("t", "done")
    logs.end("t")

    lines = [line async for line in logs.follow("t")]

    assert len(lines) == 1


async def test_a_task_without_a_log_has_none(tmp_path: Path) -> None:
    assert await Logs(tmp_path).read("t") == ""


async def test_nobody_else_reads_the_logs(tmp_path: Path) -> None:
    Logs(folder := tmp_path / "logs").close()
    (older := folder / f"{Ids().next()}.log").touch()
    older.chmod(0o644)
    (folder / "other.log").touch()
    (folder / "other.log").chmod(0o640)

    logs = Logs(folder)
    logs.begin("t")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()} == {
        "t.log": 0o600,
        older.name: 0o600,
        "other.log": 0o640,
    }
    logs.close()


async def test_lines_and_logs_that_do_not_end_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_LARGEST", 200_000)
    logs = Logs(tmp_path)
    logs.begin("t")

    for _ in range(5):
        logs.write("t", "x" * 100_000)
    logs.end("t")

    lines = (await logs.read("t")).splitlines()
    assert all(len(line) < 70_000 for line in lines)
    assert "characters more" in lines[0]
    assert [line for line in lines if "The log is full" in line] == lines[3:]
    assert len(lines) == 4
