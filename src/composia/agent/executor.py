"""Working on what the controller asks: one operation a service, a few at a time in all.

What is urgent waits for its service alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress

import structlog
from pydantic import BaseModel

from composia.agent.journal import Entry, Journal
from composia.agent.leftovers import end_containers
from composia.agent.notes import JournalNotes, Moments
from composia.agent.outbox import Outbox
from composia.agent.sites import Errand, Sites
from composia.errors import (
    Cancelled,
    ComposiaError,
    Conflict,
    Failure,
    Interrupted,
    Told,
    joined,
    told,
)
from composia.operations import AnyOperation
from composia.operations.messages import Ask, Outcome
from composia.strategies.base import Notes
from composia.tools.cancelling import to_the_end

log = structlog.get_logger()

#: Operations side by side, besides the urgent ones.
LIMIT = 4
#: Seconds after which an operation without notes is in its middle.
MIDDLE = 0.5
#: The turn of what is beside, one after the other on a node for rustic's memory; no service's name.
BESIDE = ": beside"
#: Seconds between two tries at something that has to be, and until it is told again what is waited
#: for: a controller that was away has not heard of it.
AGAIN = 0.5
REMIND = 60.0


class Executor:
    """The operations of this agent, from the question to the stored outcome."""

    def __init__(
        self,
        node: str,
        journal: Journal,
        sites: Sites,
        outbox: Outbox,
        on_end: Callable[[], None],
        show: Callable[[], Awaitable[None]],
    ) -> None:
        self._node = node
        self._journal = journal
        self._sites = sites
        self._outbox = outbox
        self._on_end = on_end
        self._show = show
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._acknowledging: set[asyncio.Task[None]] = set()
        #: Keys with which other files have come.
        self._placed: set[str] = set()
        #: Keys that are being put right: that is never cancelled, only interrupted.
        self._recovering: set[str] = set()
        self._services: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._limit = asyncio.Semaphore(LIMIT)
        self._closing = False

    @property
    def open_keys(self) -> tuple[str, ...]:
        """What is worked on, or was not acknowledged."""
        unacknowledged = (outcome.key for outcome in self._journal.unacknowledged())
        return tuple(dict.fromkeys((*self._tasks, *unacknowledged)))

    @property
    def epochs(self) -> dict[str, int]:
        """How many times each service has been placed anew."""
        return self._journal.epochs

    async def put_all_right(self) -> None:
        """Begin to end what an earlier agent left; its services are not worked on before."""
        for entry in self._journal.unfinished():
            self._recovering.add(entry.key)
            # Each waits for its service now, before any question can.
            await self._start(entry.key, self._recover(entry))

    async def ask(self, ask: Ask) -> None:
        """Work on it, or answer what was answered before."""
        entry = self._journal.get(ask.key)
        if entry and entry.outcome:
            self._outbox.send(entry.outcome)
        elif ask.key not in self._tasks:
            await self._start(ask.key, self._work(ask))

    def cancel(self, key: str) -> None:
        """Have it stop as soon as it is safe; its outcome follows."""
        task = self._tasks.get(key)
        if task and key not in self._recovering:
            task.cancel()

    async def revoke(self, key: str) -> None:
        """End it; of a key that never came a tombstone is kept."""
        entry = self._journal.get(key)
        if entry and entry.outcome:
            self._outbox.send(entry.outcome)
        elif key in self._tasks:
            self.cancel(key)
        else:
            # Not here: a full disk would keep the agent from hearing anything else.
            await self._start(key, to_the_end(self._end(Outcome(key=key, error=_revoked()))))

    def acknowledge(self, key: str) -> None:
        """The controller has stored the outcome. A slow disk is not waited for."""
        writing = asyncio.create_task(self._acknowledge(key))
        self._acknowledging.add(writing)
        writing.add_done_callback(self._acknowledging.discard)

    def tell_outcomes(self) -> None:
        """Send again what was not acknowledged."""
        for outcome in self._journal.unacknowledged():
            self._outbox.send(outcome)

    @asynccontextmanager
    async def alone(self, service: str) -> AsyncIterator[None]:
        """No operation works on the service meanwhile."""
        async with self._services[service]:
            yield

    async def close(self) -> None:
        """Let every operation clean up after itself; the controller asks again."""
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._acknowledging, return_exceptions=True)

    async def _acknowledge(self, key: str) -> None:
        # What the disk does not take is told once more, and acknowledged again.
        with suppress(Failure):
            await self._journal.acknowledge(key)

    async def _start(self, key: str, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        # Cancelled before it has begun it would end without a word.
        await asyncio.sleep(0)

    async def _work(self, ask: Ask) -> None:
        try:
            place = nullcontext() if ask.operation.urgent else self._limit
            async with self._services[_turn(ask.operation)], place:
                outcome = await self._outcome(ask)
        except asyncio.CancelledError:
            # It had not begun, or was told so twice.
            outcome = Outcome(key=ask.key, error=self._stopped())
        # What has ended has ended: nobody cancels that any more.
        await to_the_end(self._end(outcome.fitting()))

    async def _outcome(self, ask: Ask) -> Outcome:
        if self._journal.is_outdated(ask):
            return Outcome(key=ask.key, error=_outdated(ask))
        log.info(
            "began", key=ask.key, operation=ask.operation.op, service=str(ask.operation.service)
        )
        try:
            await self._journal.begin(ask)
            result = await self._perform(ask)
        except asyncio.CancelledError:
            return Outcome(key=ask.key, error=self._stopped())
        except ComposiaError as error:
            return Outcome(key=ask.key, error=error.as_told())
        except Exception as error:
            log.exception("an operation broke", key=ask.key)
            return Outcome(key=ask.key, error=told(error))
        return Outcome(key=ask.key, result=result.model_dump(mode="json"))

    async def _perform(self, ask: Ask) -> BaseModel:
        operation, errand = ask.operation, _errand(ask)
        moments = Moments(self._node, ask.step)
        notes = JournalNotes(ask, self._journal, self._outbox, moments)
        moments.pass_by("before")
        async with _middle(moments):
            changed = await self._sites.check_out(errand, operation.files)
            site = self._sites.site(errand, notes, files_changed=changed)
            result: BaseModel = await operation.perform(site)
            moments.pass_middle()
        if changed:
            self._placed.add(ask.key)
        moments.pass_by("after")
        return result

    async def _recover(self, entry: Entry) -> None:
        async with self._services[_turn_of(entry)]:
            outcome = Outcome(key=entry.key, error=await self._put_right(entry))
        await self._end(outcome)
        self._recovering.discard(entry.key)

    async def _put_right(self, entry: Entry) -> Told:
        assert entry.ask
        while True:
            try:
                await self._put_right_once(entry, entry.ask)
            except Exception as error:
                if await self._engine_answers():
                    log.exception("could not put right", key=entry.key)
                    return told(error)
                await asyncio.sleep(AGAIN)
            else:
                log.info("put right", key=entry.key)
                return Interrupted("the agent ended in the middle of it").as_told()

    async def _put_right_once(self, entry: Entry, ask: Ask) -> None:
        notes, waits = JournalNotes(ask, self._journal, self._outbox), True
        try:
            site = self._sites.site(_errand(ask), notes)
            waits = not await ask.operation.start_again(site, dict(entry.notes))
        except Exception:
            # It is tried once more, and what comes of that is told.
            log.exception("could not start again", key=entry.key)
        if waits:
            await self._end_containers(entry, notes)
        await ask.operation.put_right(self._sites.site(_errand(ask), notes), dict(entry.notes))

    async def _end_containers(self, entry: Entry, notes: Notes) -> None:
        """See to it that they have ended: what they work on must not be started beside them."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                if not await self._engine_answers():
                    raise Failure(f"the Docker engine of {self._node} does not answer")
                await end_containers(self._sites.docker, entry.containers)
                return
            except Exception as error:
                why = told(error)
            if loop.time() >= due:
                due = loop.time() + REMIND
                log.warning("containers do not end", key=entry.key, reason=why.message)
                waits = f"Waiting for containers of an earlier agent to end: {why.message}."
                notes.log(joined(waits, why.hint))
            await asyncio.sleep(AGAIN)

    async def _engine_answers(self) -> bool:
        return (await self._sites.docker.versions())[0] is not None

    async def _end(self, outcome: Outcome) -> None:
        while True:
            try:
                await self._journal.end(outcome)
                break
            except Failure as error:
                # What is not kept must not be told: it would be done twice.
                log.error("an outcome could not be kept", key=outcome.key, error=error.message)
                if self._closing:
                    # The next agent puts right what has no outcome.
                    return
                await asyncio.sleep(AGAIN)
        if self._is_shown(outcome.key):
            # Whoever hears that it is done knows then what the service keeps here, and what runs.
            await self._show()
        log.info("ended", key=outcome.key, error=outcome.error and outcome.error.message)
        self._outbox.send(outcome)
        self._on_end()

    def _is_shown(self, key: str) -> bool:
        placed, entry = key in self._placed, self._journal.get(key)
        self._placed.discard(key)
        return placed or bool(entry and entry.ask and entry.ask.operation.shown)

    def _stopped(self) -> Told:
        if self._closing:
            return Interrupted("the agent was stopped in the middle of it").as_told()
        return Cancelled("it was cancelled").as_told()


@asynccontextmanager
async def _middle(moments: Moments) -> AsyncIterator[None]:
    """Pass the middle after a while of work. Raises Failure where an error is armed there."""
    worker = asyncio.current_task()
    failed: list[Failure] = []

    async def pass_middle() -> None:
        await asyncio.sleep(MIDDLE)
        try:
            moments.pass_middle()
        except Failure as error:
            failed.append(error)
            if worker:
                worker.cancel()

    watch = asyncio.create_task(pass_middle())
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        watch.cancel()


def _errand(ask: Ask) -> Errand:
    operation = ask.operation
    return Errand(
        service=operation.service,
        repository=operation.repository,
        task=ask.task,
        key=ask.key,
        caddy=operation.caddy,
        offsite=getattr(operation, "offsite", None),
    )


def _turn(operation: AnyOperation) -> str:
    """What takes turns: a service's operations, and all that go on beside those."""
    return BESIDE if operation.beside else operation.service.name


def _turn_of(entry: Entry) -> str:
    assert entry.ask
    return _turn(entry.ask.operation)


def _revoked() -> Told:
    return Cancelled("it was revoked before it came").as_told()


def _outdated(ask: Ask) -> Told:
    return Conflict(
        f"{ask.operation.service} has been placed anew since this was asked",
        hint="Start it again.",
    ).as_told()
