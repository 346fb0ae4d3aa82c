"""Questions on their way: sent, sent again on every new connection, and answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from composia.controller.asking import Question
from composia.controller.channel import Channel
from composia.controller.first import first
from composia.controller.node import KnownNode
from composia.errors import Cancelled, Failure, GivenUp, NodeLost, joined
from composia.model.task import StepProgress, Waiting
from composia.operations.messages import (
    LARGEST_MESSAGE,
    Ask,
    Cancel,
    LogLine,
    Noted,
    Outcome,
    Progress,
    Revoke,
)

_GONE = "Add the node to config.yaml again."


@dataclass(slots=True)
class _Asked:
    question: Question
    outcome: asyncio.Future[Outcome]


class Questions:
    """What is asked of which node now. `patience`: seconds that a question waits for its node."""

    def __init__(self, nodes: Mapping[str, KnownNode], patience: float) -> None:
        self._nodes = nodes
        self._patience = patience
        self._asked: dict[tuple[str, str], _Asked] = {}

    def question(self, node: str, key: str) -> Question | None:
        """What this node is asked under this key."""
        asked = self._asked.get((node, key))
        return asked.question if asked else None

    def heard(self, node: str, message: Progress | LogLine | Noted) -> None:
        """A node told something of its work."""
        question = self.question(node, message.key)
        match question, message:
            case None, _:
                return
            case Question(), LogLine():
                question.logged(message.line)
            case Question(), Noted():
                question.noted(message.name)
            case Question(), Progress():
                done, total = message.bytes_done, message.bytes_total
                question.progressed(StepProgress(bytes_done=done, bytes_total=total))

    def answered(self, node: str, outcome: Outcome) -> bool:
        """A node gave an outcome; whether anybody waits for it."""
        asked = self._asked.get((node, outcome.key))
        if asked and not asked.outcome.done():
            asked.outcome.set_result(outcome)
        return asked is not None

    async def ask(self, node: str, question: Question) -> Outcome:
        """See `asking.Nodes`."""
        _refuse_too_long(question)
        slot = _Asked(question, asyncio.get_running_loop().create_future())
        self._asked[(node, question.key)] = slot
        try:
            while True:
                found, channel = await self._connection(node, question)
                await _send(channel, question)
                if outcome := await _outcome(slot, found, channel):
                    return outcome
        finally:
            del self._asked[(node, question.key)]
            question.ended.set()

    async def _connection(self, node_id: str, question: Question) -> tuple[KnownNode, Channel]:
        deadline = asyncio.get_running_loop().time() + self._patience_with(question)
        waited = False
        while True:
            _refuse_given_up(node_id, question)
            node = self._nodes.get(node_id)
            if node is None and not question.sent:
                raise NodeLost(f"node {node_id} is not in config.yaml any more", hint=_GONE)
            if node and (channel := node.usable):
                if waited:
                    await question.wait_for(None)
                return node, channel
            waited = True
            reason = node.absence if node else f"node {node_id} is not in config.yaml any more"
            hint = joined(node.hint if node else _GONE, question.operation.if_given_up)
            await question.wait_for(_waiting(reason, hint, question))
            await self._change(node_id, node, question, deadline)

    async def _change(
        self, node_id: str, node: KnownNode | None, question: Question, deadline: float
    ) -> None:
        """Wait until something may be different. Raises NodeLost when that takes too long."""
        if node is None:
            # It may be added again; that is not told to those who wait.
            await first(question.abandoned.wait(), timeout=1.0)
            return
        if node.usable:
            return
        watched = [node.changed.wait(), question.abandoned.wait()]
        if not question.cancelled.is_set():
            watched.append(question.cancelled.wait())
        left = max(deadline - asyncio.get_running_loop().time(), 0.0)
        for_ever = question.patience is None and (question.sent or question.insists)
        if not await first(*watched, timeout=None if for_ever else left):
            waited = self._patience_with(question)
            raise NodeLost(f"{node.absence}: it was waited for {waited:.0f} s", hint=node.hint)

    def _patience_with(self, question: Question) -> float:
        return self._patience if question.patience is None else question.patience


def _refuse_too_long(question: Question) -> None:
    if not _as_message(question).fits():
        raise Failure(
            f"{question.step} is too long to be asked: more than {LARGEST_MESSAGE >> 20} MiB",
            hint="Let the task do less at once.",
        )


def _as_message(question: Question) -> Ask:
    return Ask(
        key=question.key,
        task=question.task,
        step=question.step,
        operation=question.operation,
    )


async def _send(channel: Channel, question: Question) -> None:
    if not question.sent:
        await question.sending()
        question.sent = True
    if question.cancelled.is_set():
        # Also right for a question that never arrived: it is refused from then on.
        channel.send(Revoke(key=question.key))
        return
    channel.send(_as_message(question))


async def _outcome(slot: _Asked, node: KnownNode, channel: Channel) -> Outcome | None:
    """The outcome; None when the connection ended before it came."""
    question = slot.question
    told = question.cancelled.is_set()
    while not slot.outcome.done():
        if channel.closed.is_set():
            return None
        if question.cancelled.is_set() and not told:
            told = True
            channel.send(Cancel(key=question.key))
        changed = node.changed
        # What a cancel does not end, or is never told of one, waits as long as its engine is away.
        may_be_stuck = told or question.insists
        is_stuck = may_be_stuck and await _waits_for_engine(node, question)
        watched = [channel.closed.wait(), asyncio.shield(slot.outcome)]
        if not told:
            watched.append(question.cancelled.wait())
        if may_be_stuck:
            watched.append(changed.wait())
        if is_stuck:
            watched.append(question.abandoned.wait())
        await first(*watched)
    return slot.outcome.result()


async def _waits_for_engine(node: KnownNode, question: Question) -> bool:
    """Whether a node cannot end what it is at: it clears up when its engine is back.

    Raises GivenUp.
    """
    if node.engine_answers:
        await question.wait_for(None)
        return False
    reason = f"the Docker engine of {node.id} does not answer"
    if question.abandoned.is_set():
        raise GivenUp(
            f"given up: what became of {question.step} is not known: {reason}",
            hint="When it does again, the agent of that node ends what is left of it.",
        )
    await question.wait_for(_waiting(reason, f"Start it, on {node.id}.", question))
    return True


def _waiting(reason: str, hint: str | None, question: Question) -> Waiting:
    if question.cancelled.is_set():
        reason += ": the task ends when it is known what became of its last question"
    return Waiting.model_validate({"for": reason, "since": datetime.now(UTC), "hint": hint})


def _refuse_given_up(node: str, question: Question) -> None:
    if question.abandoned.is_set():
        raise GivenUp(
            f"given up: what became of {question.step} on node {node} is not known",
            hint="When the node is back, its agent ends what is left of it.",
        )
    if question.cancelled.is_set() and not question.sent:
        raise Cancelled(f"cancelled before {question.step} reached node {node}")
