from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from composia.controller.matters import Ended, Over, news_of
from composia.model.backup import BackupKind, BackupStatus
from composia.model.notification import LOSES_DATA, USUAL, EventName, Matter
from composia.model.service import RepositoryRef
from composia.model.task import Status, Task, TaskError
from composia.strategies.base import Wanted
from composia.workflows.offsite import CopyPlan
from composia.workflows.plan import Plan
from composia.workflows.service import UpdatePlan
from composia.workflows.verify import VerifyPlan
from tests.twins.notify import record
from tests.workflow.office import backup, ref

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def ended(kind: str, status: Status = Status.FAILED, **fields: Any) -> Task:
    error = TaskError(message="it broke", hint="Look.") if status is Status.FAILED else None
    values = {"service": "my-app", "nodes": ("main",), "title": f"{kind} of my-app"} | fields
    return Task(
        id="01T1",
        type=kind,
        status=status,
        error=error,
        created_by="token:x",
        source="api",
        created_at=NOW,
        finished_at=NOW,
        **values,
    )


def told(task: Task, plan: Plan | None = None, *records: Any) -> list[Matter]:
    return [one for one in news_of(Ended(task, plan, records)) if isinstance(one, Matter)]


def over(task: Task, plan: Plan | None = None, *records: Any) -> list[str]:
    found = news_of(Ended(task, plan, records))
    return [one.subject for one in found if isinstance(one, Over)]


def repository(**fields: Any) -> RepositoryRef:
    return RepositoryRef(service=ref("infra"), compose_service="rustic", **fields)


def a_copy() -> CopyPlan:
    targets = [repository(profile=name, copy_name=name) for name in ("s3", "shed")]
    return CopyPlan(repository=repository(profile="default"), on=("main",), targets=tuple(targets))


def a_verification() -> VerifyPlan:
    wanted = Wanted(item="uploads", backup_id="01B1", snapshot_id="5" * 64, saved_by="files.copy")
    return VerifyPlan(
        of="my-app",
        service=ref(),
        repository=repository(profile="default"),
        node="edge",
        wanted=wanted,
    )


@pytest.mark.parametrize(
    ("kind", "event", "subject"),
    [
        ("restore", EventName.RESTORE_FAILED, "restore:my-app"),
        ("rollback", EventName.RESTORE_FAILED, "restore:my-app"),
        ("migrate", EventName.MIGRATE_FAILED, "move:my-app"),
        ("rescue", EventName.MIGRATE_FAILED, "move:my-app"),
        ("check_repository", EventName.CHECK_FAILED, "check"),
        ("forget", EventName.FORGET_FAILED, "forget"),
    ],
)
def test_each_kind_of_failure_is_an_event_that_the_same_done_well_ends(
    kind: str, event: EventName, subject: str
) -> None:
    [matter] = told(ended(kind))

    assert (matter.event, matter.subject, matter.task_id) == (event, subject, "01T1")
    assert matter.reason == "it broke"
    assert str(matter.hint).startswith("Look. Then: composia task show 01T1")
    assert over(ended(kind, Status.SUCCEEDED)) == [subject]
    assert over(ended(kind, Status.CANCELLED)) == []


def test_what_a_prune_finds_in_the_end_is_a_check_that_has_failed() -> None:
    def failed_in(step: str | None) -> Task:
        error = TaskError(step=step, message="2 packs are missing")
        return ended("prune", service=None).model_copy(update={"error": error})

    [found] = told(failed_in("check_repository"))
    [refused] = told(failed_in("prune_repository"))

    assert (found.event, found.subject) == (EventName.CHECK_FAILED, "check")
    assert (refused.event, refused.subject) == (EventName.PRUNE_FAILED, "prune")
    assert {found.event, refused.event} <= set(USUAL)
    assert over(ended("prune", Status.SUCCEEDED)) == ["prune", "check"]


def test_an_update_tells_of_the_backup_that_it_begins_with() -> None:
    saving = backup()
    plan = UpdatePlan(service=ref(), on=("main",), backup=saving)
    task = ended("update", result={"problems": {"main": "it did not start"}})

    found = told(task, plan, record(BackupStatus.SUCCESS, task_id="01T1"))

    assert {one.event for one in found} == {EventName.BACKUP_SUCCEEDED, EventName.BACKUP_FAILED}
    assert "Not started again after its backup: my-app on main" in [one.title for one in found]
    assert told(task, UpdatePlan(service=ref(), on=("main",))) == []


def test_a_failed_deploy_is_no_event() -> None:
    assert told(ended("deploy")) == []


def test_a_move_that_was_left_open_is_not_told_as_one_that_failed() -> None:
    assert told(ended("migrate", actions=("retry", "rollback", "abandon"))) == []


def test_a_move_tells_how_long_nobody_answered() -> None:
    [matter] = told(ended("migrate", Status.SUCCEEDED, result={"downtime_seconds": 1.8}))

    assert (matter.event, matter.reason) == (
        EventName.MIGRATE_SUCCEEDED,
        "It did not answer for 1.8 s.",
    )


def test_a_verification_is_about_the_item_where_it_was_saved() -> None:
    kept = record(BackupStatus.SUCCESS)

    [matter] = told(ended("verify"), a_verification(), kept)

    assert matter.event is EventName.VERIFY_FAILED
    assert matter.subject == "verify:my-app/uploads@main"
    # The record that was looked at is no backup of this task.
    assert over(ended("verify"), a_verification(), kept) == []
    assert matter.subject in over(ended("verify", Status.SUCCEEDED), a_verification(), kept)


@pytest.mark.parametrize(
    "wrong",
    [{"missing": ["5" * 64]}, {"missing": [], "fault": {"message": "2 packs are missing"}}],
    ids=["incomplete", "not sound"],
)
def test_of_two_copies_only_the_incomplete_one_is_told(wrong: dict[str, Any]) -> None:
    copies = [{"name": "s3", "missing": [], "fault": None}, {"name": "shed", **wrong}]
    task = ended("copy", service=None, result={"copies": copies})

    assert [one.subject for one in told(task, a_copy())] == ["copy:shed"]
    assert over(task, a_copy()) == ["copy:s3"]


def test_a_copy_that_was_never_reached_is_told() -> None:
    task = ended("copy", service=None, result={"copies": []})

    assert [one.subject for one in told(task, a_copy())] == ["copy:s3", "copy:shed"]


def test_a_backup_that_leaves_the_service_down_is_told_though_all_is_saved() -> None:
    down, subject = ended("backup"), "after-backup:my-app@main"
    saved = record(BackupStatus.SUCCESS, task_id=down.id)

    matter = told(down, backup(), saved)[-1]

    assert (matter.event, matter.subject) == (EventName.BACKUP_FAILED, subject)
    assert (matter.node, matter.reason) == ("main", "it broke")
    assert matter.event in LOSES_DATA
    # The good record of the same task ends other matters, and not this one.
    assert over(down, backup(), saved) == ["backup:my-app/uploads@main"]
    # Nor does the next: it stops what runs, and starts that again. Nothing runs.
    assert subject not in over(ended("backup", Status.SUCCEEDED), backup(), saved)
    assert over(ended("deploy", Status.SUCCEEDED)) == [subject]


def test_a_service_that_is_down_is_told_beside_the_item_that_was_not_saved() -> None:
    problems = {"main": "my-app was stopped and could not be started again"}
    task = ended("backup", result={"backup_ids": [], "problems": problems})

    matters = told(task, backup(), record(BackupStatus.FAILED))

    assert [one.subject for one in matters] == [
        "backup:my-app/uploads@main",
        "after-backup:my-app@main",
    ]
    assert matters[1].reason == problems["main"]


def test_a_service_that_is_down_is_told_of_a_cancelled_backup_too() -> None:
    """On the node that had ended its part by then."""
    problems = {"main": "my-app was stopped and could not be started again"}
    task = ended("backup", Status.CANCELLED, result={"backup_ids": [], "problems": problems})

    matters = told(task, backup(), record(BackupStatus.FAILED))

    assert [one.subject for one in matters] == ["after-backup:my-app@main"]


def test_the_safety_copy_of_a_move_ends_a_failed_backup() -> None:
    kept = record(BackupStatus.SUCCESS).model_copy(update={"task_id": "01T1"})

    assert over(ended("migrate"), None, kept) == ["backup:my-app/uploads@main"]


@pytest.mark.parametrize(
    ("kind", "event", "subject", "plan"),
    [
        ("backup", EventName.BACKUP_FAILED, "backup-task:my-app@main", backup()),
        ("verify", EventName.VERIFY_FAILED, "verify-task:my-app", a_verification()),
        ("copy", EventName.COPY_FAILED, "copy-task:copy of my-app", a_copy()),
    ],
    ids=["backup", "verify", "copy"],
)
def test_a_task_with_a_plan_that_cannot_be_read_is_told_until_the_next_succeeds(
    kind: str, event: EventName, subject: str, plan: Plan
) -> None:
    [matter] = told(ended(kind))

    assert (matter.event, matter.subject, matter.reason) == (event, subject, "it broke")
    assert subject in over(ended(kind, Status.SUCCEEDED), plan)
    assert subject not in [one.subject for one in told(ended(kind), plan)]
    assert told(ended(kind, Status.CANCELLED)) == []


def test_a_copy_of_what_was_broken_ends_no_complaint_about_backups() -> None:
    def saved(kind: BackupKind) -> Any:
        return record(BackupStatus.SUCCESS, task_id="01T1", kind=kind)

    subject = "backup:my-app/uploads@main"
    assert subject in over(ended("backup"), None, saved(BackupKind.MANUAL))
    assert subject not in over(ended("restore"), None, saved(BackupKind.BEFORE_RESTORE))
