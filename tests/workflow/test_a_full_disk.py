"""The controller's disk is full for a moment: every task ends all the same, and holds nothing."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import OperationalError

from composia.controller.asking import Question
from composia.errors import CommandFailed
from composia.main import Lossy
from composia.model.task import Status
from tests.e2e.disks import disk
from tests.waiting import until
from tests.workflow.office import Office, deploy
from tests.workflow.test_moves import ANSWERS, ends, looks, plan


class Full:
    """A disk that is full from when a node is asked on, until somebody frees it."""

    def __init__(self, folder: Path) -> None:
        self.filler = folder / "filler"

    async def changes(self, question: Question) -> dict[str, Any]:
        """A step that ends on a full disk."""
        self.fill()
        return {"changed": True}

    async def fails(self, question: Question) -> dict[str, Any]:
        """One that does not end well."""
        self.fill()
        raise CommandFailed("no such image")

    def fill(self) -> None:
        """Leave not one block."""
        with self.filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """There is room again."""
        self.filler.unlink()


async def has_ended(office: Office, task: str) -> bool:
    return (await office.task(task)).status.ended


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """With a small disk for its logs alone."""
    with disk(tmp_path / "logs", "size=64k"):
        made = Office(tmp_path)
        await made.start()
        yield made
        await made.stop()


async def test_a_line_that_cannot_be_written_changes_no_end(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Full(office.folder / "logs")
    office.nodes.on("deploy", full.changes)

    good = await office.submit(deploy())
    await until(lambda: has_ended(office, good.id))
    office.nodes.on("deploy", full.fails)
    bad = await office.submit(deploy())
    await until(lambda: has_ended(office, bad.id))

    assert (await office.task(good.id)).status is Status.SUCCEEDED
    error = (await office.task(bad.id)).error
    assert error is not None
    assert error.message == "no such image"
    assert capsys.readouterr().out.count("lines of tasks are lost") == 1
    full.free()
    await office.ended((await office.submit(deploy())).id)


async def test_a_database_that_cannot_be_written_strands_no_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with disk(tmp_path / "state", "size=16m") as small:
        office, full = Office(small.folder), Full(small.folder)
        await office.start()
        office.nodes.on("deploy", full.changes)
        stuck = await office.submit(deploy())
        await until(lambda: waits(capsys), 60)

        full.free()
        await until(lambda: has_ended(office, stuck.id), 60)

        assert (await office.task(stuck.id)).status is Status.SUCCEEDED
        office.nodes.on("deploy", waits_not)
        assert (await office.ended((await office.submit(deploy())).id)).status is Status.SUCCEEDED
        await office.stop()


def waits(capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether anything is about to be written again."""
    return "the database cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["1_export_data", "5_start_on_target"])
async def test_a_move_waits_for_the_disk_and_is_not_half_undone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    with disk(tmp_path / "state", "size=16m") as small:
        office, full = Office(small.folder), Full(small.folder)
        await office.start()
        for name in ANSWERS:
            office.nodes.on(name, ends)
        office.nodes.on("0_check", looks)

        async def fills(question: Question) -> dict[str, Any]:
            if question.operation.op != "receive_data":
                full.fill()
            return await ends(question)

        office.nodes.on(step, fills)
        task = await office.submit(plan())
        await until(lambda: waits(capsys), 60)
        full.free()
        await until(lambda: has_ended(office, task.id), 60)

        ended = await office.task(task.id)
        assert ended.status is Status.SUCCEEDED, ended.error
        # Nothing was done twice, and nothing taken back.
        assert office.nodes.done.count(f"edge: {step}") == 1
        assert not any("undo" in one for one in office.nodes.done)
        await office.stop()


async def test_an_answer_that_could_not_be_kept_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is room for a short error by the time there was none for the answer.
    refused: list[str] = []
    keep = SystemDatabase.record_operation_result

    def keeps(database: SystemDatabase, result: Any, *more: Any, **options: Any) -> None:
        if result["function_name"] == "deploy" and not refused:
            refused.append(result["output"])
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        keep(database, result, *more, **options)

    monkeypatch.setattr(SystemDatabase, "record_operation_result", keeps)
    office = Office(tmp_path)
    await office.start()
    office.nodes.on("deploy", waits_not)
    task = await office.ended((await office.submit(deploy())).id)
    await office.stop()

    assert refused
    assert task.status is Status.SUCCEEDED, task.error
    assert office.nodes.done.count("main: deploy") == 1


async def waits_not(question: Question) -> dict[str, Any]:
    return {"changed": True}


def test_the_log_of_the_process_stops_nobody() -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        with pytest.raises(OSError, match="No space left"):
            full.write("something happened\n")

        lines = Lossy(full)
        lines.write("something happened\n")
        lines.flush()
