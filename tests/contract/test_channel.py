from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy.exc import OperationalError

from composia.controller.channel import UNREADABLE, Channel
from composia.controller.store.tasks import NewTask
from composia.errors import Conflict, NotFound
from composia.model.config import NodeConfig
from composia.model.task import Status
from composia.operations.messages import PROTOCOL, Ask, Hello, LogLine, Outcome, StateChanged
from composia.operations.readings import ContainerLogs
from composia.operations.service import Deploy
from tests.contract.nodes_world import Asked, ChannelWorld, channel_world
from tests.twins.agent import StandInAgent
from tests.waiting import until
from tests.workflow.office import deploy, ref

LOGS = ContainerLogs(service=ref())


@pytest.fixture
async def world(state_dir: Path) -> AsyncIterator[ChannelWorld]:
    async with channel_world(state_dir) as made:
        yield made


async def test_a_wrong_token_is_refused(world: ChannelWorld) -> None:
    agent = StandInAgent(world.agent.url, token="wrong")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await agent.connect()

    assert refused.value.status == 401
    await agent.end()


async def test_another_nodes_name_is_refused(world: ChannelWorld) -> None:
    agent = StandInAgent(world.agent.url, node="edge")

    await agent.connect()

    assert agent.close_code == 4400
    assert world.nodes.online("main")


async def test_another_protocol_shows_as_needs_update(world: ChannelWorld) -> None:
    await world.cut()
    world.agent.protocol = 0

    await world.agent.connect()

    assert world.nodes.needs_update("main")
    assert not world.nodes.online("main")


async def test_a_new_connection_takes_over(world: ChannelWorld) -> None:
    agent = StandInAgent(world.agent.url)

    await agent.connect()
    await until(lambda: world.agent.close_code is not None)

    assert world.agent.close_code == 4409
    assert world.nodes.online("main")
    await agent.end()


async def test_a_question_under_way_goes_on_with_the_new_connection(world: ChannelWorld) -> None:
    async def never(_ask: Ask, _agent: StandInAgent) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def changes(_ask: Ask, _agent: StandInAgent) -> dict[str, Any]:
        return {"changed": True}

    world.agent.on("deploy", never)
    asking = asyncio.create_task(world.nodes.ask("main", a_question()))
    await until(lambda: bool(world.agent.asked))
    agent = StandInAgent(world.agent.url)
    agent.on("deploy", changes)
    await agent.connect()

    outcome = await asyncio.wait_for(asking, 30)

    assert outcome.result == {"changed": True}
    await agent.end()


async def test_what_is_told_meanwhile_reaches_the_question(world: ChannelWorld) -> None:
    async def talks(ask: Ask, agent: StandInAgent) -> dict[str, Any]:
        await agent.say(ask, "pulling")
        return {"changed": True}

    world.agent.on("deploy", talks)
    question = a_question()

    await world.nodes.ask("main", question)

    assert (question.lines, question.notes) == (["pulling"], ["began"])
    assert [progress.bytes_done for progress in question.progress] == [1]


async def test_the_node_is_known_as_it_was_after_a_restart(world: ChannelWorld) -> None:
    state = StandInAgent.state(repo_dir="/srv")
    await world.agent.tell(StateChanged(state=state))
    await until(lambda: world.nodes.states()["main"] == state)
    await world.cut()

    async def is_stored() -> bool:
        _, stored = (await world.nodes._store.seen_nodes())["main"]
        return stored == state

    await until(is_stored)

    assert world.nodes.last_seen("main") is not None


async def test_an_outcome_of_a_task_that_ended_is_acknowledged(world: ChannelWorld) -> None:
    store = world.nodes._store
    await store.admit(NewTask(id="01OLD", created_by="x", source="x"), deploy())
    await store.end("01OLD", Status.CANCELLED)
    key = "01OLD:deploy:main:1"

    await world.agent.tell(Outcome(key=key, result={"changed": True}))
    await until(lambda: bool(world.agent.acknowledged))

    assert world.agent.acknowledged == [key]


async def test_an_outcome_of_a_task_that_goes_on_is_kept_by_the_agent(world: ChannelWorld) -> None:
    store = world.nodes._store
    await store.admit(NewTask(id="01NEW", created_by="x", source="x"), deploy())
    other = "01NONE:deploy:main:1"

    await world.agent.tell(Outcome(key="01NEW:deploy:main:1", result={"changed": True}))
    await world.agent.tell(Outcome(key=other, result={"changed": True}))
    await until(lambda: bool(world.agent.acknowledged))

    assert world.agent.acknowledged == [other]


async def test_messages_are_taken_while_one_is_worked_with(world: ChannelWorld) -> None:
    # Else the answer to a ping waits behind them, and a store that is slow cuts the node off.
    entered, go_on = asyncio.Event(), asyncio.Event()
    taken: list[str] = []

    async def slow(_message: object) -> None:
        entered.set()
        await go_on.wait()

    channel = Channel("main", Incoming(["one", "two", "three"], taken))  # type: ignore[arg-type]
    serving = asyncio.create_task(channel.serve(slow))
    await asyncio.wait_for(entered.wait(), 30)
    await until(lambda: len(taken) == 3)
    go_on.set()
    await channel.close(1000, "done")
    await serving


@pytest.mark.parametrize("wrong", ["{}", None], ids=["no message", "no text"])
async def test_what_came_before_an_unreadable_message_is_worked_with(wrong: str | None) -> None:
    lines: list[str] = []

    async def kept(message: LogLine) -> None:
        await asyncio.sleep(0)
        lines.append(message.line)

    incoming = Incoming(["one", "two"], [], wrong)
    channel = Channel("main", incoming)  # type: ignore[arg-type]
    await asyncio.wait_for(channel.serve(kept), 30)

    assert lines == ["one", "two"]
    assert incoming.closed == UNREADABLE


async def test_a_store_that_takes_nothing_cuts_no_node_off(
    world: ChannelWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def full(*_: object) -> None:
        tried.set()
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(world.nodes._store, "saw_node", full)
    world.nodes._nodes["main"].stored_at = None
    await world.agent.tell(StateChanged(state=StandInAgent.state()))
    await asyncio.wait_for(tried.wait(), 30)

    assert (await world.nodes.ask("main", a_question())).error is None
    assert world.agent.close_code is None


async def test_a_message_that_cannot_be_worked_with_cuts_no_node_off(
    world: ChannelWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def full(_task: str, _place: object) -> bool:
        asked.set()
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(world.nodes._store, "is_settled", full)
    await world.agent.tell(Outcome(key="01NONE:deploy:main:1", result={}))
    await asyncio.wait_for(asked.wait(), 30)

    assert (await world.nodes.ask("main", a_question())).error is None
    assert world.agent.close_code is None


async def test_who_showed_an_old_token_before_a_change_says_no_hello_after_it(
    world: ChannelWorld,
) -> None:
    await world.cut()
    headers = {"Authorization": "Bearer main-token"}
    changed = NodeConfig.model_validate({"id": "main", "token": "another-token"})
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{world.agent.url}/api/agent/channel") as socket,
    ):
        await until(lambda: bool(world.nodes._greeting))
        await world.nodes.reconfigure([changed])
        hello = Hello(
            protocol=PROTOCOL, node="main", version="0", state=StandInAgent.state(), open_keys=()
        )
        with suppress(ConnectionError):
            await socket.send_str(hello.model_dump_json())
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    assert not world.nodes.online("main")


async def test_a_node_that_config_yaml_names_again_is_waited_for(world: ChannelWorld) -> None:
    """Taken out by mistake while it was away, and put in again: a move may wait for it."""
    await world.cut()
    question = a_question()
    question.sent = True
    asking = asyncio.create_task(world.nodes.ask("main", question))
    await until(lambda: bool(question.waited))
    main = NodeConfig.model_validate({"id": "main", "token": "main-token"})
    await world.nodes.reconfigure([])
    await world.nodes.reconfigure([main])
    # Nothing that ran there is started elsewhere meanwhile.
    assert world.nodes.states()["main"] is not None
    await world.join()

    assert (await asyncio.wait_for(asking, 10)).error is None


async def test_a_reading_is_piped_through(world: ChannelWorld) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(100):
            yield f"{number}\n".encode() * 1000

    world.agent.reads = lambda _reading: lines()

    async with world.nodes.read("main", LOGS) as chunks:
        found = b"".join([chunk async for chunk in chunks])

    assert found == b"".join(f"{number}\n".encode() * 1000 for number in range(100))


async def test_a_reading_that_fails_says_why(world: ChannelWorld) -> None:
    def fails(_reading: Any) -> Any:
        raise NotFound("there is no container `x`")

    world.agent.reads = fails

    with pytest.raises(NotFound, match="no container"):
        async with world.nodes.read("main", LOGS) as chunks:
            await anext(chunks)


async def test_a_reading_ends_when_nobody_reads_any_more(world: ChannelWorld) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    world.agent.reads = lambda _reading: endless()

    async with world.nodes.read("main", LOGS) as chunks:
        await anext(chunks)
    await until(lambda: bool(world.agent.stopped))

    assert len(world.agent.stopped) == 1


async def test_a_node_that_is_away_reads_nothing(world: ChannelWorld) -> None:
    await world.cut()

    with pytest.raises(Conflict, match="main is not connected"):
        async with world.nodes.read("main", LOGS):
            pass


def a_question() -> Asked:
    return Asked("01TASK:deploy:main:1", Deploy(service=ref()))


class Incoming:
    """A connection over which these messages come, and then the wrong one, or none for ever."""

    def __init__(self, texts: list[str], taken: list[str], *wrong: str | None) -> None:
        self._texts = texts
        self._taken = taken
        self._wrong = list(wrong)
        self.closed: int | None = None

    async def receive_text(self) -> str:
        if len(self._taken) < len(self._texts):
            self._taken.append(self._texts[len(self._taken)])
            return LogLine(key="01A:x:main:1", line=self._taken[-1]).model_dump_json()
        if not self._wrong:
            await asyncio.Event().wait()
        if (text := self._wrong.pop()) is None:
            raise KeyError("text")
        return text

    async def close(self, code: int, reason: str) -> None:
        """Over."""
        self.closed = code
