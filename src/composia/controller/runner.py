"""Carrying tasks out, whatever dies meanwhile: the only module that knows DBOS.

The task's row is the truth. DBOS keeps the answers of finished steps under `task:attempt`, and
carries on at the start what had not ended; a task that it never heard of is begun.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID, StepReservation
from sqlalchemy.exc import OperationalError
from structlog import get_logger

from composia.controller.answer import Answer
from composia.controller.parts import Parts
from composia.controller.run import Checkpoint, TaskRun, Work
from composia.controller.store.writing import until_written
from composia.errors import Cancelled, ComposiaError, Conflict, Failure, NotFound, told
from composia.model.task import Key, Status, Task, TaskError
from composia.tools import durable
from composia.workflows.plan import LeftOpen, PartlyCancelled, PartlyDone, Plan, placement

FILE = "workflows.db"
#: Grows when stored workflows of older versions cannot be carried on.
VERSION = "1"
#: So many tasks are carried out side by side; the others are pending.
SIDE_BY_SIDE = 100
#: How long the steps of ended workflows are kept, and how often the others are dropped.
KEPT = timedelta(days=1)
PRUNING = 3600.0
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

#: The key of what stands for something that went wrong.
_WRONG = "went_wrong"

_log = get_logger("composia.runner")


class Json(DBOSPortableJSONSerializer):
    """How DBOS keeps what it is told: as JSON, and nothing of what went wrong when it kept that.

    It takes an answer that could not be written for a step that has failed, and where there is room
    for so much by then, that would be the answer for ever. Refused, the answer is written again.
    """

    def name(self) -> str:
        return "composia_json"

    def serialize(self, value: Any) -> str:
        if isinstance(value, OperationalError):
            raise value
        if isinstance(value, Exception):
            value = {_WRONG: f"{type(value).__name__}: {value}"}
        return super().serialize(value)

    def deserialize(self, text: str | None) -> Any:
        found = super().deserialize(text)
        went_wrong = isinstance(found, dict) and found.keys() == {_WRONG}
        return Failure(found[_WRONG]) if went_wrong else found


class Runner:
    """The tasks that are being carried out in this process. There is one at a time."""

    current: Runner | None = None

    def __init__(self, parts: Parts, state_dir: Path) -> None:
        self._parts = parts
        self._file = state_dir / FILE
        self._runs: dict[str, TaskRun] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def open(self) -> None:
        """Carry on what has not ended."""
        await asyncio.to_thread(_write_ahead, self._file)
        Runner.current = self
        DBOS(
            config={
                "name": "composia",
                "system_database_url": f"sqlite:///{self._file}",
                "application_version": VERSION,
                "executor_id": "controller",
                "serializer": Json(),
                "use_listen_notify": False,
                # Nothing is listened for; it is how long an end takes.
                "notification_listener_polling_interval_sec": 0.1,
                "log_level": "CRITICAL",
            }
        )
        unfinished = await self._parts.store.unfinished()
        for task, _ in unfinished:
            self._parts.logs.begin(task)
        DBOS.launch()
        for task, attempt in unfinished:
            await self._carry_on(task, attempt)
        self._background(self._prune())

    async def aclose(self) -> None:
        """Stop; what has not ended is carried on at the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(DBOS.destroy)
        # DBOS leaves its own threads, which are gone now, to the loop.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        Runner.current = None

    def start(self, task: str, attempt: int) -> None:
        """Begin with a task that was just admitted."""
        self._parts.logs.begin(task)
        self._background(self._start(task, attempt))

    async def cancel(self, task: str, key: Key | None = None, *, why: str | None = None) -> Task:
        """End it as soon as it is safe. Raises NotFound, or Conflict where nothing is left to.

        `why`: for its log, where no person has asked for it.
        """
        found = await self._found(task)
        if found.status.ended:
            raise Conflict(f"task {task} has ended already: it is {found.status}")
        await self._parts.store.ask_to_cancel(task, key)
        self._parts.logs.write(task, "Cancel was asked for" + (f": {why}" if why else ""))
        if run := self._runs.get(task):
            run.cancel()
        await self._parts.tell(task)
        return await self._found(task)

    async def abandon(self, task: str, key: Key | None = None) -> Task:
        """Wait no more for a node that will never answer. Raises NotFound, Conflict."""
        found = await self._found(task)
        if found.status.ended and "abandon" in found.actions:
            self._parts.logs.write(task, "Abandoned: the service is free again, as it stands")
            await self._parts.store.let_go(task, key)
            await self._parts.tell(task)
            return await self._found(task)
        if "abandon" not in found.actions:
            raise Conflict(
                f"task {task} does not wait for a lost node or engine: there is nothing to abandon",
                hint="`cancel` ends a running task.",
            )
        await self._parts.store.keep(task, key)
        self._parts.logs.write(task, "Abandoned: what its last step did on the node is not known")
        if run := self._runs.get(task):
            run.abandon()
        return await self._found(task)

    async def retry(self, task: str, key: Key | None = None) -> Task:
        """The same task, one attempt more. Raises NotFound, or Conflict with the reason."""
        found = await self._found(task)
        plan = await self._plan(task)
        if "retry" not in found.actions:
            raise _not_again(found, plan)
        if holder := await self._parts.store.readmit(task, plan, key):
            raise holder.conflict()
        attempt = await self._parts.store.attempt(task)
        self.start(task, attempt)
        self._parts.logs.write(task, f"Attempt {attempt}")
        await self._parts.tell(task)
        return await self._found(task)

    async def carry_out(self, task: str, attempt: int) -> None:
        """All of it, from the first line; steps that have ended answer from the store."""
        me = asyncio.current_task()
        assert me is not None
        # Begun by DBOS, ended by us.
        self._tasks.add(me)
        me.add_done_callback(self._tasks.discard)
        run = TaskRun(task, attempt, self._parts, _reserve)
        self._runs[task] = run
        try:
            async with self._room:
                await self._carry_out(run)
        finally:
            del self._runs[task]

    async def _carry_out(self, run: TaskRun) -> None:
        try:
            result = await self._carried_out(run)
        except Exception as error:
            await self._failed(run, error)
        else:
            run.log("Succeeded")
            await self._end(run.task, Status.SUCCEEDED, result=result)
        await self._parts.tell(run.task)

    async def _carried_out(self, run: TaskRun) -> dict[str, Any] | None:
        store, task = self._parts.store, run.task
        if await store.cancel_asked(task):
            run.cancel()
        await until_written(partial(store.begin, task), f"begin of {task}")
        await self._parts.tell(task)
        plan = await self._plan_begun(task)
        run.log(str(plan))
        return await plan.carry_out(run)

    async def _plan_begun(self, task: str) -> Plan:
        """Raises LeftOpen for a half-done move that this version cannot read: it stays held."""
        try:
            return await self._plan(task)
        except Conflict as error:
            service = await self._parts.store.half_done(task)
            if service is None:
                raise
            raise LeftOpen(
                error.message,
                keeps=placement(service),
                result={},
                hint="Nothing of it was undone. The version of Composia that began it can go on:"
                f" start that one, then `composia task retry {task}`. Abandon leaves it as it is.",
            ) from error

    async def _failed(self, run: TaskRun, error: Exception) -> None:
        if isinstance(error, OperationalError):
            error = _not_written(error)
        elif _is_bug(error):
            _log.exception("bug", task=run.task)
        cancelled = run.cancelled and isinstance(error, Cancelled)
        status = Status.CANCELLED if cancelled else Status.FAILED
        what = told(error)
        kinds = PartlyDone | PartlyCancelled | LeftOpen
        result = error.result if isinstance(error, kinds) else None
        run.log(f"{status.capitalize()}: {what.message}" + (f" ({what.hint})" if what.hint else ""))
        await self._end(
            run.task,
            status,
            error=TaskError(step=run.failed, message=what.message, hint=what.hint),
            result=result,
            keeps=error.keeps if isinstance(error, LeftOpen) else None,
            holder=error.holder if isinstance(error, LeftOpen) else None,
        )

    async def _end(self, task: str, status: Status, **how: Any) -> None:
        """Write down how it ended; without that it would run, and hold its words, for ever."""
        await until_written(partial(self._parts.store.end, task, status, **how), f"end of {task}")
        self._parts.logs.end(task)

    async def _carry_on(self, task: str, attempt: int) -> None:
        known = await DBOS.get_workflow_status_async(f"{task}:{attempt}")
        if known is None:
            self.start(task, attempt)
        elif known.status in _ENDED:
            # Only a bug ends a workflow and not its task.
            error = TaskError(
                message="it ended without a result", hint="`composia task retry` goes on."
            )
            self._background(self._end(task, Status.FAILED, error=error))

    async def _start(self, task: str, attempt: int) -> None:
        try:
            with SetWorkflowID(f"{task}:{attempt}"):
                await DBOS.start_workflow_async(_workflow, task, attempt)
        except Exception as error:
            _log.exception("not begun", task=task)
            what = told(error)
            shown = TaskError(message=what.message, hint=what.hint)
            await self._end(task, Status.FAILED, error=shown)

    async def _prune(self) -> None:
        while True:
            before = (datetime.now(UTC) - KEPT).isoformat()
            with suppress(Exception):
                old = await DBOS.list_workflows_async(
                    status=_ENDED, end_time=before, limit=1000, load_input=False, load_output=False
                )
                if old:
                    await DBOS.delete_workflows_async([one.workflow_id for one in old])
            await asyncio.sleep(PRUNING)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _found(self, task: str) -> Task:
        found = await self._parts.store.task(task)
        if found is None:
            raise NotFound(f"there is no task `{task}`")
        return found

    async def _plan(self, task: str) -> Plan:
        plan = await self._parts.store.plan(task)
        if plan is None:
            raise NotFound(f"there is no task `{task}`")
        return plan


def _not_again(task: Task, plan: Plan) -> Conflict:
    if task.status not in (Status.FAILED, Status.CANCELLED):
        return Conflict(
            f"task {task.id} is {task.status}: it cannot be retried",
            hint="Only a task that has failed or was cancelled can be.",
        )
    if not plan.may_retry:
        return Conflict(
            f"a task of type {task.type} is not tried again",
            hint="Start it anew: then it is planned as things are now.",
        )
    return Conflict(
        f"task {task.id} cannot be retried: another task has gone on from where it ended",
        hint="Start it anew, if it is still wanted.",
    )


@DBOS.workflow(name="carry_out", max_recovery_attempts=None)
async def _workflow(task: str, attempt: int) -> None:
    assert Runner.current is not None
    await Runner.current.carry_out(task, attempt)


def _reserve(name: str) -> Checkpoint:
    # In the order of the calls, whichever of several steps side by side begins first.
    place = DBOS.reserve_step()

    async def checkpoint(work: Work) -> Answer:
        # Each try is a reservation of its own at the same place, for one can be run only once.
        tried = partial(_run_at, place, name, _once(work))
        return await until_written(tried, name)

    return checkpoint


async def _run_at(place: StepReservation, name: str, work: Work) -> Answer:
    kept = await copy.copy(place).run_async({"name": name}, _do, work)
    return Answer.model_validate(kept)


def _once(work: Work) -> Work:
    """The same work, done only once however often its answer has to be written down."""
    known: list[Answer] = []

    async def answer() -> Answer:
        if not known:
            known.append(await work())
        return known[0]

    return answer


async def _do(work: Work) -> dict[str, Any]:
    return (await work()).as_kept()


def _is_bug(error: Exception) -> bool:
    # A move that is left open tells of anything that has ended it.
    found = error.__cause__ if isinstance(error, LeftOpen) else error
    return not isinstance(found, ComposiaError | None)


def _not_written(error: OperationalError) -> Failure:
    return Failure(
        f"the controller could not write to its own database: {error.orig}",
        hint="Look at the disk of its `state_dir`; `composia task retry` goes on.",
    )


def _write_ahead(file: Path) -> None:
    durable.make_database_private(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
