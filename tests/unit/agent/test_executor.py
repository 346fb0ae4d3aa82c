"""One question, one answer: what becomes of a question, whatever comes in between."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.agent import executor as executors
from composia.agent import journal as journals
from composia.agent.channel import Channel
from composia.agent.executor import LIMIT, Executor
from composia.agent.journal import Journal
from composia.agent.outbox import Outbox
from composia.agent.sites import Errand, Sites
from composia.errors import Failure
from composia.model.service import ServiceRef
from composia.operations import fence, hold, messages
from composia.operations.backup import SaveData
from composia.operations.base import Files
from composia.operations.fence import Fence
from composia.operations.leaving import ExportData, ResumeSource
from composia.operations.messages import Acknowledge, Ask, Outcome, Revoke
from composia.operations.repository import ForgetSnapshot
from composia.operations.restore import ExchangeBack
from composia.operations.service import Stop
from composia.operations.verifying import VerifyFiles
from composia.strategies.base import Notes, Site, Wanted
from composia.tools import durable, failpoints
from composia.tools.rustic import Entry, SnapshotInfo
from tests.twins.compose import ProjectCompose
from tests.twins.engine import MemoryEngine
from tests.twins.site import Twins

KEY = "01TASK:forget_snapshot:main:1"
#: A container of ours.
OURS = "composia-01task-1"


def ref(name: str = "my-app") -> ServiceRef:
    return ServiceRef(
        name=name, folder=name, project=name, compose_files=("c.yaml",), revision="r1"
    )


def a_question(key: str = KEY, service: str = "my-app", epoch: int = 0) -> Ask:
    return _ask(key, ForgetSnapshot(service=ref(service), snapshot_id="a" * 64, epoch=epoch))


def a_stop(key: str = KEY) -> Ask:
    return _ask(key, Stop(service=ref()))


def a_proof(key: str) -> Ask:
    wanted = Wanted(item="uploads", backup_id="01B", snapshot_id="a" * 64, saved_by="files.copy")
    return _ask(key, VerifyFiles(service=ref(), wanted=wanted))


def _ask(key: str, operation: Any) -> Ask:
    task, step, _, _ = key.split(":")
    return Ask(key=key, task=task, step=step, operation=operation)


class SlowEngine(MemoryEngine):
    """A repository that answers when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.begun = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.breaks: Exception | None = None

    async def repository_id(self, *, far: bool = False) -> str:
        return "ab" * 32

    async def snapshots(self) -> Sequence[SnapshotInfo]:
        await self._when_let()
        return []

    async def list_files(
        self, snapshot_id: str, path: str, *, deep: bool = False
    ) -> Sequence[Entry]:
        await self._when_let()
        return []

    async def _when_let(self) -> None:
        self.asked += 1
        self.begun.set()
        await self.answers.wait()
        if self.breaks:
            raise self.breaks


class FullDisk:
    """A disk that takes no outcomes, or nothing else with these bytes, until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: bytes = b'"outcome":{') -> None:
        self.is_full = True
        #: How many it has not taken.
        self.refused = 0
        self._of = of
        self._write = durable.write
        monkeypatch.setattr(durable, "write", self.write)

    def write(self, path: Path, content: bytes) -> None:
        if self.is_full and self._of in content:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(path, content)


class TwinSites(Sites):
    """Sites made of twins, one for all services."""

    def __init__(self, twins: Twins, compose: ProjectCompose, files_change: bool) -> None:
        self.twins = twins
        self.files_change = files_change
        self.project = compose
        self.docker = twins.docker
        self.node = "main"

    async def check_out(self, errand: Errand, files: Files) -> bool:
        return self.files_change

    def site(self, errand: Errand, notes: Notes, *, files_changed: bool = False) -> Site:
        return replace(self.twins.site, compose=self.project, notes=notes, task=errand.task)


class Agent:
    """An executor and what it says, on a journal that outlives it."""

    def __init__(self, tmp_path: Path) -> None:
        self.engine = SlowEngine()  # type: ignore[abstract]
        self.twins = Twins(tmp_path / "services" / "my-app", engine=self.engine)
        self.compose = ProjectCompose(self.twins)
        self.folder = tmp_path / "journal"
        self.said: list[Outcome] = []
        #: What was added to the logs of tasks.
        self.lines: list[str] = []
        #: Whether an operation finds other files, and how much was said when they were shown.
        self.files_change = False
        self.shown: list[int] = []
        self.showing = asyncio.Event()
        self.may_show = asyncio.Event()
        self.may_show.set()
        self.more = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Executor]:
        """An agent from its start to a gentle end."""
        journal, outbox = Journal(self.folder), Outbox()
        executor = self._executor(journal, outbox)
        writing = asyncio.create_task(outbox.empty_into(self._hear))
        await asyncio.sleep(0)
        await executor.put_all_right()
        try:
            yield executor
        finally:
            await executor.close()
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            journal.close()

    async def killed_while(self, ask: Ask, at_work: Callable[[], Awaitable[Any]]) -> None:
        """Begin with a question, and end without any clearing up, as kill -9 does."""
        journal, outbox = Journal(self.folder), Outbox()
        executor = self._executor(journal, outbox)
        await executor.ask(ask)
        await at_work()
        folders = (self.folder, self.twins.site.state)
        kept = {path: path.read_bytes() for folder in folders for path in folder.glob("*.json")}
        await executor.close()
        journal.close()
        for path, content in kept.items():
            path.write_bytes(content)

    def _executor(self, journal: Journal, outbox: Outbox) -> Executor:
        sites = TwinSites(self.twins, self.compose, self.files_change)
        return Executor("main", journal, sites, outbox, lambda: None, self._shown)

    async def _shown(self) -> None:
        self.shown.append(len(self.said))
        self.showing.set()
        await self.may_show.wait()

    async def outcome(self, key: str = KEY, times: int = 1) -> Outcome:
        async with asyncio.timeout(30):
            while len(self.outcomes(key)) < times:
                await self.more.wait()
        return self.outcomes(key)[-1]

    def outcomes(self, key: str = KEY) -> list[Outcome]:
        return [one for one in self.said if one.key == key]

    async def line(self) -> str:
        """The first line of a log, when there is one."""
        async with asyncio.timeout(30):
            while not self.lines:
                await self.more.wait()
        return self.lines[0]

    async def _hear(self, text: str) -> None:
        match json.loads(text)["type"]:
            case "outcome":
                self.said.append(Outcome.model_validate_json(text))
            case "log":
                self.lines.append(json.loads(text)["line"])
        self.more.set()
        self.more = asyncio.Event()


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


async def test_a_repeated_question_gets_the_first_answer(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question())
        first = await agent.outcome()
        await executor.ask(a_question())
        assert await agent.outcome(times=2) == first
    assert agent.engine.asked == 1


async def test_an_outcome_too_long_for_the_channel_is_told_as_a_failure(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "LARGEST_MESSAGE", 1000)
    agent.engine.breaks = Failure("x" * 1000)
    async with agent.running() as executor:
        await executor.ask(a_question())
        outcome = await agent.outcome()
    assert outcome.error
    assert "too long to be told" in outcome.error.message


async def test_one_that_an_older_agent_has_kept_is_told_so_too(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.engine.breaks = Failure("x" * 1000)
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.outcome()
    for module in (messages, journals):
        monkeypatch.setattr(module, "LARGEST_MESSAGE", 1000)
    async with agent.running() as executor:
        executor.tell_outcomes()
        again = await agent.outcome(times=2)
    assert again.error
    assert "too long to be told" in again.error.message


async def test_the_node_is_shown_with_its_new_files_before_the_answer(agent: Agent) -> None:
    agent.files_change = True
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.outcome()
    assert agent.shown == [0]


async def test_the_node_is_shown_with_what_runs_before_the_answer(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_stop())
        await agent.outcome()
    assert agent.shown == [0]


async def test_a_cancel_while_the_node_is_shown_undoes_nothing_that_was_done(agent: Agent) -> None:
    agent.files_change = True
    agent.may_show.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.showing.wait()
        executor.cancel(KEY)
        await asyncio.sleep(0)
        agent.may_show.set()
        assert (await agent.outcome()).error is None


async def test_an_agent_ends_when_what_has_ended_is_kept_and_told(agent: Agent) -> None:
    agent.files_change = True
    agent.may_show.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.showing.wait()
        closing = asyncio.create_task(executor.close())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        agent.may_show.set()
        await closing
        assert (await agent.outcome()).error is None


async def test_the_first_answer_outlives_the_agent(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question())
        first = await agent.outcome()
    async with agent.running() as executor:
        await executor.ask(a_question())
        assert await agent.outcome(times=2) == first
    assert agent.engine.asked == 1


async def test_a_question_repeated_while_it_is_worked_on_is_worked_on_once(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.engine.begun.wait()
        await executor.ask(a_question())
        agent.engine.answers.set()
        assert (await agent.outcome()).error is None
    assert agent.engine.asked == 1


async def test_what_is_urgent_waits_for_its_own_service_alone(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        keys = [f"01TASK{number}:forget_snapshot:main:1" for number in range(LIMIT + 1)]
        for number, key in enumerate(keys):
            await executor.ask(a_question(key, service=f"service-{number}"))
        await _until(lambda: agent.engine.asked == LIMIT)
        urgent = "01MOVE:undo_source:main:1"
        await executor.ask(_ask(urgent, ResumeSource(service=ref("moving"))))
        assert (await agent.outcome(urgent)).error is None
        # All places are taken, and the others wait for one as they did.
        assert agent.engine.asked == LIMIT
        agent.engine.answers.set()
        for key in keys:
            await agent.outcome(key)


async def test_a_cancelled_question_answers_cancelled(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.engine.begun.wait()
        executor.cancel(KEY)
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Cancelled"


async def test_one_that_is_cancelled_as_it_comes_answers_too(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        executor.cancel(KEY)
        error = (await agent.outcome()).error
        await executor.revoke("01NEVER:step:main:1")
        executor.cancel("01NEVER:step:main:1")
        await agent.outcome("01NEVER:step:main:1")
    assert error
    assert error.kind == "Cancelled"


async def test_a_revoked_question_that_never_came_finds_its_tombstone(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.revoke(KEY)
        await agent.outcome()
    async with agent.running() as executor:
        await executor.ask(a_question())
        error = (await agent.outcome(times=2)).error
    assert error
    assert error.kind == "Cancelled"
    assert agent.engine.asked == 0


async def test_revoking_what_has_ended_answers_how_it_ended(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question())
        first = await agent.outcome()
        await executor.revoke(KEY)
        assert await agent.outcome(times=2) == first


async def test_revoking_what_runs_ends_it(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.engine.begun.wait()
        await executor.revoke(KEY)
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Cancelled"


async def test_an_agent_that_is_told_to_end_answers_interrupted(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.engine.begun.wait()
    async with agent.running() as executor:
        await executor.ask(a_question())
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Interrupted"


async def test_a_killed_agent_answers_interrupted_and_does_not_begin_again(agent: Agent) -> None:
    agent.engine.answers.clear()
    await agent.killed_while(a_question(), agent.engine.begun.wait)
    async with agent.running() as executor:
        await executor.ask(a_question())
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Interrupted"
    assert agent.engine.asked == 1


async def test_a_stop_that_was_killed_is_finished_before_it_is_answered(agent: Agent) -> None:
    async def at_work() -> None:
        await agent.compose.stopping.wait()
        # It is not over before the agent is: only an agent that is killed does not wait for it.
        asyncio.get_running_loop().call_soon(agent.compose.ends.set)

    agent.twins.docker.add("web", project="app")
    agent.compose.ends.clear()
    await agent.killed_while(a_stop(), at_work)
    agent.twins.docker.starts_by_itself("web")
    agent.twins.docker.change("web", restart_policy="always")
    async with agent.running():
        await agent.outcome()
    assert agent.twins.docker.policies() == {"web": "no"}
    assert agent.twins.docker.running() == set()


async def test_nothing_is_answered_while_the_engine_is_away(agent: Agent) -> None:
    agent.engine.answers.clear()
    await agent.killed_while(a_question(), agent.engine.begun.wait)
    agent.twins.docker.away = 1000
    async with agent.running() as executor:
        await executor.ask(a_question())
        await executor.ask(a_question("02TASK:forget_snapshot:main:1"))
        await asyncio.sleep(0.1)
        assert agent.said == []
        assert agent.engine.asked == 1
        agent.engine.answers.set()
        agent.twins.docker.away = 0
        assert (await agent.outcome()).error
        assert (await agent.outcome("02TASK:forget_snapshot:main:1")).error is None


async def left(agent: Agent, ask: Ask, **notes: Mapping[str, Any]) -> None:
    """What an agent that was killed in the middle has left in its journal, and a container."""
    journal = Journal(agent.folder)
    await journal.begin(ask)
    notes["at work"] = {"container": OURS}
    for name, facts in notes.items():
        await journal.note(ask.key, name, dict(facts))
    journal.close()
    agent.twins.docker.add(OURS, one_off=True)


@pytest.fixture
def tries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "AGAIN", 0.01)


@pytest.mark.usefixtures("tries_at_once")
async def test_nothing_starts_on_the_data_of_a_container_that_does_not_end(agent: Agent) -> None:
    docker, site = agent.twins.docker, agent.twins.site
    docker.add("web", folder=site.folder)
    held = await hold.to_leave_stopped(site)
    fence.put_up(site.state, Fence(task="01TASK", side="source", epoch=0, held=held))
    await hold.leave_stopped(held, site)
    await left(agent, _ask(KEY, ExportData(service=ref(), wire="w", cargo=())))
    docker.refuses_kills = 2
    async with agent.running():
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Interrupted"
    assert docker.done.index(f"kill {OURS}") < docker.done.index("start web")
    assert docker.running() == {"web"}
    assert agent.lines[0].startswith(
        f"Waiting for containers of an earlier agent to end: {OURS}: Docker: could not kill"
    )
    assert f"docker rm -f {OURS}" in agent.lines[0]


@pytest.mark.usefixtures("tries_at_once")
async def test_a_container_that_cannot_be_looked_at_hinders_no_recovery(agent: Agent) -> None:
    await left(agent, a_proof(KEY))
    agent.twins.docker.refuses_lists = 1
    async with agent.running():
        error = (await agent.outcome()).error
    assert error
    assert error.kind == "Interrupted"
    assert agent.twins.docker.running() == set()


@pytest.mark.usefixtures("tries_at_once")
async def test_what_a_save_had_stopped_waits_for_no_container_that_only_reads(
    agent: Agent,
) -> None:
    docker = agent.twins.docker
    docker.add("web", folder=agent.twins.site.folder)
    await hold.leave_stopped(await hold.to_leave_stopped(agent.twins.site), agent.twins.site)
    noted = agent.twins.notes.noted["held"]
    await left(agent, _ask(KEY, SaveData(service=ref(), items=())), held=noted)
    docker.refuses_kills = 1000
    async with agent.running():
        outcome = await agent.outcome()
    assert outcome.error
    assert outcome.error.kind == "Failure"
    assert docker.running() == {"web", OURS}
    assert docker.done.count("start web") == 1


@pytest.mark.usefixtures("tries_at_once")
async def test_what_waits_for_a_container_is_put_right_by_the_next_agent(agent: Agent) -> None:
    await left(agent, a_proof(KEY))
    agent.twins.docker.refuses_kills = 1000
    async with agent.running() as executor:
        await agent.line()
        # A cancel would end what is owed; the agent's own end does not.
        executor.cancel(KEY)
        await executor.revoke(KEY)
    assert agent.said == []
    agent.twins.docker.refuses_kills = 0
    async with agent.running():
        await agent.outcome()
    assert agent.twins.docker.running() == set()


async def test_what_is_waited_for_is_told_again_and_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "AGAIN", 0.01)
    await left(agent, a_proof(KEY))
    agent.twins.docker.refuses_kills = 5
    async with agent.running():
        await agent.outcome()
    assert len(agent.lines) == 1
    monkeypatch.setattr(executors, "REMIND", 0.0)
    agent.lines.clear()
    await left(agent, a_proof("02TASK:verify:main:1"))
    agent.twins.docker.refuses_kills = 5
    async with agent.running():
        await agent.outcome("02TASK:verify:main:1")
    assert len(agent.lines) == 5


async def test_one_service_is_worked_on_once_at_a_time_and_others_side_by_side(
    agent: Agent,
) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_question("01A:step:main:1"))
        await executor.ask(a_question("01B:step:main:1"))
        await executor.ask(a_question("01C:step:main:1", service="other"))
        await _until(lambda: agent.engine.asked == 2)
        await asyncio.sleep(0.05)
        assert agent.engine.asked == 2
        agent.engine.answers.set()
        await agent.outcome("01B:step:main:1")


async def test_a_proof_goes_on_beside_its_service_and_one_at_a_time(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        await executor.ask(a_proof("01A:verify:main:1"))
        await executor.ask(a_proof("01B:verify:main:1"))
        await executor.ask(a_question("01C:step:main:1"))
        await _until(lambda: agent.engine.asked == 2)
        await asyncio.sleep(0.05)
        assert agent.engine.asked == 2
        agent.engine.answers.set()
        await agent.outcome("01B:verify:main:1")


async def test_no_more_than_four_operations_run_at_once(agent: Agent) -> None:
    agent.engine.answers.clear()
    async with agent.running() as executor:
        for number in range(6):
            await executor.ask(a_question(f"0{number}:step:main:1", service=f"app-{number}"))
        await _until(lambda: agent.engine.asked == 4)
        await asyncio.sleep(0.05)
        assert agent.engine.asked == 4
        agent.engine.answers.set()
        await agent.outcome("05:step:main:1")


async def test_a_question_of_an_older_epoch_is_refused(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question("01A:step:main:1", epoch=2))
        await agent.outcome("01A:step:main:1")
    async with agent.running() as executor:
        await executor.ask(a_question("01B:step:main:1", epoch=1))
        error = (await agent.outcome("01B:step:main:1")).error
    assert error
    assert error.kind == "Conflict"
    assert agent.engine.asked == 1


async def test_an_epoch_that_the_disk_did_not_take_is_kept_with_the_next_question(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, of=b'"my-app": 2')
    journal = Journal(agent.folder)
    with pytest.raises(Failure, match="cannot be written"):
        await journal.begin(a_question("01A:step:main:1", epoch=2))
    disk.is_full = False
    await journal.begin(a_question("01B:step:main:1", epoch=2))
    journal.close()
    assert Journal(agent.folder).epochs == {"my-app": 2}


async def test_a_late_note_takes_no_outcome_from_the_disk(agent: Agent) -> None:
    journal = Journal(agent.folder)
    await journal.begin(a_question())
    ending = asyncio.create_task(journal.end(Outcome(key=KEY)))
    await asyncio.sleep(0)
    with pytest.raises(Failure, match="has ended"):
        await journal.note(KEY, "asking_caddy", {})
    await ending
    journal.close()
    assert [one.key for one in Journal(agent.folder).unacknowledged()] == [KEY]


async def test_an_error_nobody_thought_of_is_an_answer_too(agent: Agent) -> None:
    agent.engine.breaks = KeyError("odd")
    async with agent.running() as executor:
        await executor.ask(a_question())
        error = (await agent.outcome()).error
    assert error
    assert "internal error" in error.message


async def test_an_armed_error_fails_the_operation_in_its_middle(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "failpoints.json"
    point = {"step": "stop", "moment": "stopping", "action": "error"}
    file.write_text(json.dumps([point]))
    monkeypatch.setenv(failpoints.VARIABLE, str(file))
    agent.twins.docker.add("web", project="app")
    async with agent.running() as executor:
        await executor.ask(a_stop("01TASK:stop:main:1"))
        error = (await agent.outcome("01TASK:stop:main:1")).error
    assert error
    assert error.message == "failure point stop:stopping"
    assert agent.twins.docker.running() == {"web"}
    assert agent.twins.docker.policies() == {"web": "always"}


async def test_what_the_disk_does_not_take_is_told_to_nobody(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    async with agent.running() as executor:
        await executor.ask(a_question())
        await _until(lambda: disk.refused > 0)
        executor.tell_outcomes()
        await executor.ask(a_question())
        await executor.revoke(KEY)
        await asyncio.sleep(0.02)
        assert agent.said == []
        assert executor.open_keys == (KEY,)
        disk.is_full = False
        assert (await agent.outcome()).error is None
    assert len(agent.said) == 1
    assert agent.engine.asked == 1


async def test_a_full_disk_keeps_no_agent_from_listening(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question("01OLD:step:main:1"))
        await agent.outcome("01OLD:step:main:1")
        disk = FullDisk(monkeypatch)
        async with asyncio.timeout(30):
            await executor.revoke(KEY)
            executor.acknowledge("01OLD:step:main:1")
        await _until(lambda: disk.refused > 1)
        # Whatever else is heard of it meanwhile, its tombstone is all that becomes of it.
        executor.cancel(KEY)
        await executor.ask(a_question())
        await executor.revoke(KEY)
        assert agent.outcomes() == []
        disk.is_full = False
        error = (await agent.outcome()).error
        assert error
        assert error.kind == "Cancelled"
        assert set(executor.open_keys) == {"01OLD:step:main:1", KEY}
        executor.acknowledge("01OLD:step:main:1")
        await _until(lambda: executor.open_keys == (KEY,))
    assert agent.engine.asked == 1


async def test_a_slow_disk_keeps_no_agent_from_listening(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    written, write = threading.Event(), durable.write

    def slow(path: Path, content: bytes) -> None:
        assert written.wait(30)
        write(path, content)

    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.outcome()
        monkeypatch.setattr(durable, "write", slow)
        channel = Channel(nothing, "", "main", Outbox(), executor, nothing, nothing, nothing)
        async with asyncio.timeout(30):
            for message in (Acknowledge(key=KEY), Revoke(key="01NEVER:step:main:1")):
                await channel._hear(message.model_dump_json())
        assert set(executor.open_keys) == {"01NEVER:step:main:1", KEY}
        written.set()
    # What was under way has come to its end with the agent.
    async with agent.running() as executor:
        assert executor.open_keys == ("01NEVER:step:main:1",)


async def test_an_acknowledgement_that_the_disk_does_not_take_is_none(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(agent.folder)
    await journal.begin(a_question())
    await journal.end(Outcome(key=KEY, result={}))
    disk = FullDisk(monkeypatch)
    with pytest.raises(Failure, match="cannot be written"):
        await journal.acknowledge(KEY)
    assert [one.key for one in journal.unacknowledged()] == [KEY]
    disk.is_full = False
    await journal.acknowledge(KEY)
    journal.close()
    assert Journal(agent.folder).unacknowledged() == []


async def test_an_acknowledged_outcome_is_forgotten_after_a_day(agent: Agent) -> None:
    journal = Journal(agent.folder)
    await journal.begin(a_question())
    await journal.end(Outcome(key=KEY, result={}))
    await journal.acknowledge(KEY)
    await journal.expire(datetime.now(UTC) + timedelta(hours=23))
    assert journal.get(KEY)
    await journal.expire(datetime.now(UTC) + timedelta(hours=25))
    journal.close()
    assert Journal(agent.folder).get(KEY) is None


async def test_the_journal_knows_the_tasks_at_work_and_those_that_they_bring_back(
    agent: Agent,
) -> None:
    journal = Journal(agent.folder)
    back = ExchangeBack(service=ref("other"), of_task="00OLD")
    for ask in (a_question(), _ask("02TASK:exchange_back:main:1", back), a_stop("03T:stop:main:1")):
        await journal.begin(ask)
    await journal.end(Outcome(key="03T:stop:main:1", result={}))
    assert journal.tasks_at_work() == {"01TASK", "02TASK", "00OLD"}
    journal.close()


async def test_outcomes_are_told_again_until_they_are_acknowledged(agent: Agent) -> None:
    async with agent.running() as executor:
        await executor.ask(a_question())
        await agent.outcome()
        executor.tell_outcomes()
        await agent.outcome(times=2)
        executor.acknowledge(KEY)
        await _until(lambda: executor.open_keys == ())
        executor.tell_outcomes()
        await asyncio.sleep(0.02)
    assert len(agent.outcomes()) == 2
    async with agent.running() as executor:
        assert executor.open_keys == ()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # twins tell nobody
            await asyncio.sleep(0.005)
