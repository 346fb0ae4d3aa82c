from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Cancelled, CommandFailed, Failure, GivenUp, NodeLost
from composia.model.node import NodeState
from composia.operations import messages
from composia.operations.messages import Outcome, StateChanged
from composia.operations.service import Deploy
from composia.tools.cancelling import to_the_end
from tests.contract.nodes_world import (
    Asked,
    ChannelWorld,
    NodesWorld,
    channel_world,
    memory_world,
)
from tests.waiting import until
from tests.workflow.office import ref

WORLDS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[NodesWorld]]] = {
    "channel": channel_world,
    "memory": memory_world,
}


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, state_dir: Path) -> AsyncIterator[NodesWorld]:
    async with WORLDS[request.param](state_dir) as made:
        yield made


def a_question(number: int = 1, *, sent: bool = False) -> Asked:
    return Asked(f"01TASK:deploy:main:{number}", Deploy(service=ref()), sent=sent)


async def asked(world: NodesWorld, question: Asked) -> Outcome:
    async with asyncio.timeout(30):
        return await world.nodes.ask("main", question)


async def changes() -> dict[str, Any]:
    return {"changed": True}


async def test_a_question_has_an_answer(world: NodesWorld) -> None:
    world.works(changes)
    question = a_question()

    outcome = await asked(world, question)

    assert outcome.result == {"changed": True}
    assert question.sendings == 1


async def test_an_error_is_an_answer(world: NodesWorld) -> None:
    async def fails() -> dict[str, Any]:
        raise CommandFailed("no space left", hint="Free some.")

    world.works(fails)

    outcome = await asked(world, a_question())

    assert outcome.error is not None
    assert isinstance(outcome.error.as_error(), CommandFailed)
    assert outcome.error.hint == "Free some."


async def test_a_repeated_question_has_the_first_answer(world: NodesWorld) -> None:
    world.works(changes)
    await asked(world, a_question())

    again = await asked(world, a_question(sent=True))

    assert again.result == {"changed": True}
    assert world.done == ["main: deploy"]


async def test_a_question_survives_a_cut(world: NodesWorld) -> None:
    gate = asyncio.Event()

    async def waits() -> dict[str, Any]:
        await gate.wait()
        return {"changed": True}

    world.works(waits)
    question = a_question()
    asking = asyncio.create_task(asked(world, question))
    await question.was_sent.wait()
    await until_done(world)
    await world.cut()
    await question.is_waiting.wait()
    gate.set()
    await world.join()

    outcome = await asking

    assert outcome.result == {"changed": True}
    assert world.done == ["main: deploy"]
    assert question.waited[0].for_ == "node main is not connected"


async def test_a_node_that_stays_away_is_lost(world: NodesWorld) -> None:
    await world.cut()

    with pytest.raises(NodeLost) as lost:
        await asked(world, a_question())

    assert lost.value.hint
    assert world.done == []


async def test_a_question_that_was_sent_waits_longer_than_that(world: NodesWorld) -> None:
    world.works(changes)
    await world.cut()
    asking = asyncio.create_task(asked(world, a_question(sent=True)))
    await asyncio.sleep(0.5)
    await world.join()

    outcome = await asking

    assert outcome.result == {"changed": True}


async def test_a_question_with_a_patience_of_its_own_does_not(world: NodesWorld) -> None:
    world.works(never)
    question = a_question()
    question.patience = 0.1
    asking = asyncio.create_task(asked(world, question))
    await question.was_sent.wait()

    await world.cut()

    with pytest.raises(NodeLost):
        await asking
    await world.join()
    question = a_question(2)
    world.works(changes)
    assert (await asked(world, question)).result == {"changed": True}


async def test_an_agent_that_died_meanwhile_says_interrupted(world: NodesWorld) -> None:
    world.works(never)
    question = a_question()
    asking = asyncio.create_task(asked(world, question))
    await until_done(world)
    world.kill()

    outcome = await asking

    assert outcome.error is not None
    assert outcome.error.as_error().may_retry


async def test_a_cancel_ends_what_is_under_way(world: NodesWorld) -> None:
    world.works(never)
    question = a_question()
    asking = asyncio.create_task(asked(world, question))
    await until_done(world)
    question.cancelled.set()

    outcome = await asking

    assert outcome.error is not None
    assert isinstance(outcome.error.as_error(), Cancelled)


async def test_a_cancelled_question_that_was_never_sent_is_not_asked(world: NodesWorld) -> None:
    await world.cut()
    question = a_question()
    asking = asyncio.create_task(asked(world, question))
    await question.is_waiting.wait()
    question.cancelled.set()

    with pytest.raises(Cancelled):
        await asking

    assert world.done == []


async def test_a_question_revoked_before_it_came_is_never_performed(world: NodesWorld) -> None:
    world.works(changes)
    question = a_question(sent=True)
    question.cancelled.set()

    outcome = await asked(world, question)

    assert outcome.error is not None
    assert world.done == []


async def test_a_lost_node_can_be_given_up(world: NodesWorld) -> None:
    await world.cut()
    question = a_question(sent=True)
    asking = asyncio.create_task(asked(world, question))
    await question.is_waiting.wait()
    question.cancelled.set()
    question.abandoned.set()

    with pytest.raises(Cancelled, match="given up"):
        await asking


async def test_a_cancel_waits_for_the_engine_of_its_node_and_can_be_given_up(
    tmp_path: Path,
) -> None:
    async with channel_world(tmp_path) as world:
        ends = asyncio.Event()
        world.works(partial(clears_up, ends))
        question = a_question()
        asking = asyncio.create_task(asked(world, question))
        await until_done(world)
        question.cancelled.set()
        await question.goes_on.wait()
        await tells_of_its_engine(world, answers=False)
        await question.is_waiting.wait()
        question.abandoned.set()

        with pytest.raises(GivenUp, match="deploy is not known: the Docker engine of main"):
            await asking

        # Its agent ends all the same what is left of it, and that is acknowledged.
        ends.set()
        await until(lambda: question.key in world.agent.acknowledged)


async def test_an_engine_that_is_back_ends_the_wait_of_a_cancel(tmp_path: Path) -> None:
    async with channel_world(tmp_path) as world:
        ends = asyncio.Event()
        world.works(partial(clears_up, ends))
        await tells_of_its_engine(world, answers=False)
        question = a_question()
        asking = asyncio.create_task(asked(world, question))
        await until_done(world)
        assert not question.waited
        question.cancelled.set()
        await question.is_waiting.wait()
        [waiting] = question.waited
        assert waiting.for_.startswith("the Docker engine of main does not answer: the task ends")
        await tells_of_its_engine(world, answers=True)
        await question.goes_on.wait()
        # Of no use where the engine answers: the node clears up, and says so.
        question.abandoned.set()
        ends.set()

        outcome = await asking
        assert outcome.error is not None
        assert outcome.error.message == "cancelled"


async def test_an_undo_whose_engine_is_away_says_so_and_can_be_given_up(tmp_path: Path) -> None:
    async with channel_world(tmp_path) as world:
        world.works(never)
        question = a_question()
        question.insists = True
        asking = asyncio.create_task(asked(world, question))
        await until_done(world)
        await tells_of_its_engine(world, answers=False)
        await question.is_waiting.wait()
        waiting = question.waited[-1]
        assert waiting.for_ == "the Docker engine of main does not answer"
        question.abandoned.set()

        with pytest.raises(GivenUp, match="the Docker engine of main"):
            await asking


async def tells_of_its_engine(world: ChannelWorld, *, answers: bool) -> None:
    await world.agent.tell(StateChanged(state=world.agent.state(docker=answers)))
    await until(lambda: has_docker(world.nodes.states()["main"]) == answers)


def has_docker(state: NodeState | None) -> bool:
    return state is not None and state.docker


async def clears_up(ends: asyncio.Event) -> dict[str, Any]:
    """What is to be undone before a cancel takes effect."""
    await to_the_end(ends.wait())
    return {}


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def until_done(world: NodesWorld) -> None:
    await until(lambda: world.done)


async def test_a_question_too_long_for_the_channel_is_refused_and_the_node_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with channel_world(tmp_path) as world:
        world.works(changes)
        with monkeypatch.context() as patched:
            patched.setattr(messages, "LARGEST_MESSAGE", 100)
            with pytest.raises(Failure, match="too long to be asked"):
                await asked(world, a_question())
        assert (await asked(world, a_question(2))).result == {"changed": True}
