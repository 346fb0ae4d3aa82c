"""Making and checking the repository, and forgetting what it keeps."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from composia.errors import Conflict, Damaged
from composia.model.backup import Backup
from composia.model.offsite import ReadPart
from composia.model.retention import last_verified
from composia.model.service import RepositoryRef
from composia.operations.repository import (
    CheckRepository,
    ForgetSnapshot,
    RepositoryOpened,
    TagOfOurs,
)
from composia.tools.rustic import Part
from composia.tools.wording import few, names
from composia.workflows.comparing import MISSING_HINT, compare
from composia.workflows.known import NO_HOLDER, NO_HOLDER_HINT, Known
from composia.workflows.opening import open_repository
from composia.workflows.plan import Hold, PartlyDone, Plan, Run
from composia.workflows.sides import settle


def _whole(number: object) -> object:
    # JSON has one kind of number: 8.0 is 8.
    return int(number) if isinstance(number, float) and number.is_integer() else number


class CheckRequest(BaseModel):
    """How thorough the check is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read_data: bool = Field(
        default=False, description="Read all data too: the only way to find damaged bytes."
    )
    parts: Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)] | None = Field(
        default=None,
        description="Read the next of so many parts of all data: as many checks read all of it.",
    )


class RepositoryPlan(Plan, ABC):
    """What is about the repository, and done on nodes that hold it."""

    repository: RepositoryRef
    on: tuple[str, ...]

    @property
    def service_name(self) -> str | None:
        return None

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.on


class InitRepositoryPlan(RepositoryPlan):
    """The repository made where there was none, and seen to be the same on every node."""

    plan: Literal["init_repository"] = "init_repository"

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository"),)

    def __str__(self) -> str:
        return f"Make the repository on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """One step of its name."""
        opened = await open_repository(run, self.repository, self.on)
        settle(opened)
        found = [one for one in opened.values() if isinstance(one, RepositoryOpened)]
        return {
            "repository_id": found[0].repository_id,
            "made": any(one.made for one in found),
        }


class CheckRepositoryPlan(RepositoryPlan):
    """rustic's own check."""

    plan: Literal["check_repository"] = "check_repository"
    read_data: bool = False
    #: Only this part of all data.
    part: Part | None = None

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository", shared=True),)

    def __str__(self) -> str:
        data = " and read all its data" if self.read_data else ""
        data = f" and read part {self.part} of its data" if self.part else data
        return f"Check the repository on {names(self.on)}{data}"

    @property
    def reads(self) -> str | None:
        """The part of the data that is read, or `all`."""
        return str(self.part) if self.part else ("all" if self.read_data else None)

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Check", under the same numbers."""
        compared = await compare(run, self.repository, self.on[0])
        operation = CheckRepository(
            service=self.repository.service,
            repository=self.repository,
            read_data=self.read_data,
            part=self.part,
        )
        outcomes = await run.on_each("check_repository", dict.fromkeys(self.on, operation))
        damage = next((one for one in outcomes.values() if isinstance(one, Damaged)), None)
        if damage is None:
            settle(outcomes)
        round_is_whole = await self._note(run, damaged=damage is not None)
        result = {
            "snapshots": compared.listed.snapshots,
            "snapshots_without_a_record": compared.listed.unknown,
            "missing": list(compared.missing),
            "read": self.reads,
            "damaged": damage is not None,
            "round_is_whole": round_is_whole or None,
        }
        if damage:
            raise PartlyDone(damage.message, result=result, hint=damage.hint)
        if compared.missing:
            raise PartlyDone(
                f"rustic finds no fault, but has no snapshot of {few(compared.missing)}",
                result=result,
                hint=MISSING_HINT,
            )
        return result

    async def _note(self, run: Run, *, damaged: bool) -> bool:
        """Whether a round of parts has ended with this one, and all data is whole."""
        if self.part:
            # A damaged one too, which stays told: the others must not wait until it is mended.
            part = self.part.model_dump()
            return bool(
                await run.control("note_read_part", "note_read_part", **part, damaged=damaged)
            )
        if damaged:
            await run.control("note_damage", "note_damage")
        return False


class ForgetBackupPlan(RepositoryPlan):
    """One snapshot taken out of the repository, and its record with it."""

    plan: Literal["forget_backup"] = "forget_backup"
    backup: Backup

    #: By then it may be the last verified one: another is judged anew.
    may_retry: ClassVar[bool] = False

    @property
    def service_name(self) -> str:
        return self.backup.service

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository"),)

    def __str__(self) -> str:
        return f"Forget backup {self.backup.id} of {self.backup.data_item}"

    async def carry_out(self, run: Run) -> None:
        """The snapshot first: a record without one is shown as such, the other way is a leak."""
        if self.backup.snapshot_id:
            ids = [self.backup.id]
            await run.control("begin_forgetting", "begin_forgetting", backup_ids=ids)
            operation = ForgetSnapshot(
                service=self.repository.service,
                repository=self.repository,
                snapshot_id=self.backup.snapshot_id,
                of=TagOfOurs(
                    snapshot_id=self.backup.snapshot_id,
                    task=self.backup.task_id,
                    service=self.backup.service,
                    item=self.backup.data_item,
                    node=self.backup.node,
                ),
            )
            await run.on(self.on[0], "forget_snapshot", operation)
        await run.control("forget_backups", "forget_backups", backup_ids=[self.backup.id])


def plan_init_repository(known: Known) -> InitRepositoryPlan:
    """Raises Conflict where no service or node holds a repository."""
    return InitRepositoryPlan(repository=known.repository(), on=holders(known))


def plan_check_repository(known: Known, request: CheckRequest) -> CheckRepositoryPlan:
    """Raises Conflict where there is no repository to check."""
    repository, on = made(known), holders(known)[:1]
    part = _next_part(known, request.parts) if request.parts and not request.read_data else None
    return CheckRepositoryPlan(repository=repository, on=on, read_data=request.read_data, part=part)


def _next_part(known: Known, parts: int) -> Part:
    last = known.read_part
    found = last.next(parts) if last else ReadPart(number=1, of=parts)
    return Part(number=found.number, of=found.of)


def plan_forget_backup(known: Known, backup: Backup, backups: Sequence[Backup]) -> ForgetBackupPlan:
    """`backups`: all of its service. Raises Conflict for the last verified one of its item."""
    of = [one for one in backups if (one.data_item, one.node) == (backup.data_item, backup.node)]
    others = [one for one in of if one.id != backup.id and one.verified_at and not one.missing]
    last = last_verified(sorted(of, key=lambda one: one.id, reverse=True))
    # An older whole one is as good as this one.
    if last and last.id == backup.id and not any(one.is_good for one in others):
        raise Conflict(
            f"backup {backup.id} is the last verified one of {backup.data_item}",
            hint="Verify a younger one first.",
        )
    repository = made(known) if backup.snapshot_id else known.repository()
    return ForgetBackupPlan(repository=repository, on=holders(known)[:1], backup=backup)


def made(known: Known) -> RepositoryRef:
    """The repository. Raises Conflict where there is none yet."""
    repository = known.repository()
    if repository.repository_id is None:
        raise Conflict(
            "there is no repository yet",
            hint="A new controller over an old repository: `composia repo adopt`. "
            "Where there was never one: `composia repo init`.",
        )
    return repository


def holders(known: Known) -> tuple[str, ...]:
    """The nodes that hold it, those that answer first. Raises Conflict where there are none."""
    if found := known.holders():
        return found
    raise Conflict(NO_HOLDER, hint=NO_HOLDER_HINT)
