"""What the controller will do, and what it may use to do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from composia.errors import Cancelled, ComposiaError, Told, joined
from composia.model.backup import Backup
from composia.model.dns import DnsTarget, DnsUpdated
from composia.model.service import ServiceRef
from composia.operations.base import Operation

Result = TypeVar("Result", bound=BaseModel)


class Run(Protocol):
    """One task being carried out.

    A step that has finished is never done again: after a crash of the controller the plan is
    carried out from its first line, and finished steps return what they returned before. So a plan
    asks for the same steps in the same order whenever the answers are the same; the clock, chance
    and the store are not asked except through steps.
    """

    @property
    def task(self) -> str:
        """The task's id."""
        ...

    @property
    def attempt(self) -> int:
        """How many times a person has had it tried, from 1."""
        ...

    async def on(
        self,
        node: str,
        step: str,
        operation: Operation[Result],
        *,
        insist: bool = False,
        patience: float | None = None,
    ) -> Result:
        """Ask a node, and wait as long as it takes; shown as a step of the task.

        Raises what the operation raised; NodeLost when the node did not take the question in time;
        Cancelled when a person cancelled the task (never after the operation has succeeded). With
        `insist` neither: an undo is asked for until the node has done it. GivenUp, with it too,
        when a person has said that the node will never answer.
        `patience`: see `on_each`; with it a node that is away is lost to one who insists too.
        """
        ...

    async def on_both(self, step: str, operations: Mapping[str, Operation[Any]]) -> dict[str, Any]:
        """Ask nodes that work with one another, side by side, each a step of that name.

        When one fails the others are cancelled; then raises the first error.
        """
        ...

    async def on_each(
        self,
        step: str,
        operations: Mapping[str, Operation[Result]],
        *,
        patience: Mapping[str, float] | None = None,
    ) -> Mapping[str, Result | ComposiaError]:
        """The same for several nodes side by side, each a step of that name.

        Never raises for one. `patience`: seconds after which a node that is away is NodeLost
        though it may be at work: only for what may be repeated, and is asked of it again.
        """
        ...

    async def control(self, step: str, action: str, **arguments: Any) -> Any:
        """Ask the controller itself, as a step: a method of Control, with JSON arguments."""
        ...

    def log(self, line: str) -> None:
        """Add a line to the task's log."""
        ...


def numbered(step: str, often: int) -> str:
    """A step's name by how often it has come in an attempt: `save_data`, then `save_data_2`."""
    return step if often == 1 else f"{step}_{often}"


class Control(Protocol):
    """What a workflow asks of the controller. Every method may be called twice with one meaning."""

    async def record_backups(
        self, backups: Sequence[Backup], task: str | None = None, saved_in: str | None = None
    ) -> dict[str, str]:
        """Keep the records; a record of the same id is replaced.

        Their times are brought into those of the step `saved_in`, by this clock; those that name
        the snapshot of another record are kept as failed, and answered with the reason, by id.
        """
        ...

    async def forget_backups(self, backup_ids: Sequence[str]) -> None:
        """Drop the records; those that are not there are none the less."""
        ...

    async def known_snapshots(self) -> dict[str, str]:
        """The snapshot of every record that has one, by the record's id; missing ones too."""
        ...

    async def saved_by(self, task: str) -> list[str]:
        """The snapshots of the records of a task, of all its attempts."""
        ...

    async def new_stamp(self) -> str:
        """How ids begin that come after all there are: those of a later attempt's records."""
        ...

    async def backup_states(self) -> dict[str, str]:
        """A digest of what retention depends on, by `service/item@node`."""
        ...

    async def note_missing(self, looked_for: Sequence[str], missing: Sequence[str]) -> None:
        """Of the records that were looked for: these have no snapshot any more, the others do."""
        ...

    async def begin_forgetting(self, backup_ids: Sequence[str]) -> None:
        """Note that the snapshots of these are about to be taken out."""
        ...

    async def remember_repository(self, repository_id: str) -> None:
        """Write down the repository's id when it is seen for the first time."""
        ...

    async def replace_repository(self, repository_id: str) -> None:
        """Write down another id than the one that was known: a person's word."""
        ...

    async def note_copy(
        self,
        name: str,
        repository_id: str | None = None,
        there: Sequence[str] | None = None,
        originals: Mapping[str, str] | None = None,
        problem: str | None = None,
        task: str | None = None,
        copied_in: str | None = None,
    ) -> None:
        """Note what a copy off site has: snapshots, by their ids in the repository; None: unknown.

        `originals`: of those that are copies in the repository already, what of, by their id.
        With a problem it was not seen to have all of them; without one it has all that there were
        when the step `copied_in` began.
        """
        ...

    async def note_verification(
        self, backup_id: str, text: str, proven: bool | None, whole: bool = True
    ) -> None:
        """Note what a verification found; None where it says nothing about the backup.

        `whole`: whether it can tell that all was saved, and not only that this comes back.
        """
        ...

    async def note_read_part(self, number: int, of: int, damaged: bool) -> bool:
        """Note which part of the repository's data was read, whatever was found.

        Whether it ends a round in which every part was read, and nothing was damaged.
        """
        ...

    async def note_damage(self) -> None:
        """Note that data is damaged: the round that goes on cannot tell that all is whole."""
        ...

    async def update_dns(self, records: Sequence[DnsTarget], ours: Sequence[str]) -> DnsUpdated:
        """Bring the records to what they should be, read back from who serves them.

        A value in `ours`, or one that we wrote before, is replaced. Raises Conflict for records of
        somebody else, Failure when a server does not take it; what could be done was done.
        """
        ...

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> dict[str, str]:
        """`nodes` in the service's meta file, committed and pushed; the catalog's `revision`.

        Raises Conflict where they are neither as they were nor as wanted, or the catalog cannot
        take commits, and Failure when its remote does not take it. Nothing is lost then.
        """
        ...

    async def begin_move(self, task: str, service: str, source: str, target: str) -> dict[str, Any]:
        """Note that a move begins, with an epoch of its own.

        Of one that has begun already, and not been undone, what was noted: `answered` and its
        `facts`, or `half_done` where it is not known how far it had come. Raises Conflict where
        another one has moved the service since.
        """
        ...

    async def give_up_target(self, task: str, node: str) -> None:
        """Note a person's word that the target of a move that is undone will never come back.

        One that does is stopped first. Raises Conflict where it is there.
        """
        ...

    async def refuse_connected(self, task: str, node: str) -> None:
        """Raise Conflict where the source of a rescue is there and was not stopped.

        One that comes later finds the rescue noted, and is stopped.
        """
        ...

    async def give_up(self, task: str) -> None:
        """Note that a rescue is over, and that its source must not be let back unseen."""
        ...

    async def source_stopped(self, task: str) -> bool:
        """Whether the source of a rescue came back meanwhile, and was stopped."""
        ...

    async def note_source_stopped(self, task: str) -> bool:
        """Note that the source of a rescue came back, and that nothing runs there any more.

        False where the rescue was undone meanwhile: then it is wanted there.
        """
        ...

    async def answer_move(
        self, task: str, held_seconds: float, start_seconds: float, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Note that the target has answered; the facts, with `downtime_seconds`.

        The outage is what the source measured from its stop on, and by the controller's own clock
        what passed from then until the target had answered; of that, what the target measured.
        """
        ...

    async def note_move(self, task: str, stage: str, facts: Mapping[str, Any]) -> None:
        """How far a move has come: `answered` is the point of no return, `done` and `undone` end
        it, and with it the placement that older questions were meant for.
        """
        ...

    async def now(self) -> str:
        """The time, RFC 3339 in UTC; as a step, so that it stays the same after a crash."""
        ...


class Hold(BaseModel):
    """One word of who holds what: `my-app@main`, or `repository`."""

    model_config = ConfigDict(frozen=True)

    name: str
    shared: bool = False
    #: What a person should know who is kept waiting for it.
    why: str | None = None


def placement(service: str) -> str:
    """The word for where a service is to run: a move has it alone, a backup does not need it."""
    return f"{service}: placement"


def instance(service: str, node: str) -> str:
    """The word for a service on a node: whoever works on it there has it alone."""
    return f"{service}@{node}"


class Plan(BaseModel, ABC):
    """What the controller will do: made from a request, stored, shown and carried out as stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Its kind, the task's `type`; the discriminator of AnyPlan.
    plan: str
    #: Grows when stored plans of older versions can no longer be read as they are.
    version: int = 1

    #: Whether `POST /tasks/{id}/retry` makes sense after a failure.
    may_retry: ClassVar[bool] = True

    @property
    def takes_over(self) -> str | None:
        """The task whose holds this one takes, where it settles what that one has left open."""
        return None

    @property
    @abstractmethod
    def service_name(self) -> str | None:
        """The service it is about, if it is about one."""

    @property
    @abstractmethod
    def nodes(self) -> tuple[str, ...]:
        """The nodes it works on."""

    @property
    @abstractmethod
    def holds(self) -> tuple[Hold, ...]:
        """What nobody else may work on meanwhile."""

    @abstractmethod
    def __str__(self) -> str:
        """One line for people: the task's title."""

    @abstractmethod
    async def carry_out(self, run: Run) -> dict[str, Any] | None:
        """The steps, under the numbers of docs/design.md. Returns the task's `result`.

        Raises ComposiaError when the task has failed; `PartlyDone` where a result goes with it, and
        `PartlyCancelled` for one that was cancelled.
        """


class OnOneNode(Plan, ABC):
    """A plan that is about one service and works on one node."""

    service: ServiceRef
    node: str

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.node,)


class OnNodes(Plan, ABC):
    """A plan that is about one service and works on several nodes."""

    service: ServiceRef
    on: tuple[str, ...]

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.on


class LeftOpen(ComposiaError):  # named as all of the tree
    """The task has failed half-way on purpose: it keeps a hold until a person decides.

    Or it gives it back: to the `holder` it was taken over from, which waits for a person still.
    """

    def __init__(
        self,
        message: str,
        *,
        keeps: str,
        result: Mapping[str, Any],
        hint: str | None = None,
        holder: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.keeps = keeps
        self.result = dict(result)
        self.holder = holder

    @classmethod
    def of(
        cls,
        error: ComposiaError | Told,
        service: ServiceRef,
        then: str,
        *,
        message: str | None = None,
        result: Mapping[str, Any] | None = None,
        holder: str | None = None,
    ) -> LeftOpen:
        """A move of the service that an error has ended half-way, and what a person does `then`.

        `message`: where there is more to tell than the error's own.
        """
        return cls(
            message or error.message,
            keeps=placement(service.name),
            result=result or {},
            hint=joined(error.hint, then),
            holder=holder,
        )


class PartlyDone(ComposiaError):  # named as all of the tree
    """The task has failed, and yet has a result: what did succeed."""

    def __init__(self, message: str, *, result: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = dict(result)


class PartlyCancelled(Cancelled):
    """The task was cancelled, and yet has a result: what had been done by then."""

    def __init__(self, message: str, *, result: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = dict(result)

    def as_told(self) -> Told:
        """As any that was cancelled."""
        return super().as_told().model_copy(update={"kind": Cancelled.__name__})


def partly(
    error: ComposiaError, result: Mapping[str, Any], *, hint: str | None = None
) -> PartlyDone | PartlyCancelled:
    """The same error with what was done nevertheless, besides what it tells of that itself."""
    kind = PartlyCancelled if isinstance(error, Cancelled) else PartlyDone
    told_itself = error.result if isinstance(error, PartlyDone | PartlyCancelled) else {}
    return kind(error.message, result={**result, **told_itself}, hint=hint or error.hint)
