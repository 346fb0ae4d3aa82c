"""What the end of a task means to the owner. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from composia.model.backup import Backup, BackupStatus, place_of
from composia.model.notification import EventName, Matter
from composia.model.task import Status, Task
from composia.workflows.backup import BackupPlan
from composia.workflows.migrate import MigratePlan
from composia.workflows.offsite import CopyPlan
from composia.workflows.plan import Plan
from composia.workflows.prune import CHECK
from composia.workflows.repository import CheckRepositoryPlan
from composia.workflows.service import UpdatePlan
from composia.workflows.verify import VerifyPlan

#: How the subject of a service begins that a backup could not start again.
LEFT_DOWN = "after-backup:"


@dataclass(frozen=True, slots=True)
class Over:
    """Whatever there was about a subject has ended."""

    subject: str
    by: str
    #: Whatever there was about a subject that begins so.
    below: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended, what it was to do, and the records it has left."""

    task: Task
    plan: Plan | None
    #: What it has saved, or looked at.
    backups: Sequence[Backup] = ()

    @property
    def at(self) -> datetime:
        return self.task.finished_at or self.task.created_at

    @property
    def failed(self) -> bool:
        return self.task.status is Status.FAILED

    @property
    def reason(self) -> str:
        return self.task.error.message if self.task.error else ""

    @property
    def hint(self) -> str | None:
        return self.task.error.hint if self.task.error else None


News = Iterator[Matter | Over]


def backup_subject(service: str, item: str, node: str) -> str:
    """The backups of a data item on a node."""
    return f"backup:{place_of(service, item, node)}"


def news_of(ended: Ended) -> News:
    """What is to be told of it, and what it has settled. A cancelled task is no news.

    What it has left down is.
    """
    for record in ended.backups:
        if record.task_id == ended.task.id and record.is_good:
            where = backup_subject(*record.item_on_node)
            yield Over(where, f"backup {record.id}")
    if tells := _TELLS.get(ended.task.type):
        yield from tells(ended)


def _backup(ended: Ended) -> News:
    if isinstance(ended.plan, BackupPlan):
        yield from _items(ended, ended.plan)
        yield from _afterwards(ended, ended.plan)
    for node in ended.task.nodes:
        subject, service = f"backup-task:{ended.task.service}@{node}", ended.task.service
        yield from _unread(
            ended,
            EventName.BACKUP_FAILED,
            subject,
            f"Backup failed: {service} on {node}",
            node=node,
            hint=_also(ended.hint, f"composia backup {service} --node {node}"),
        )


def _items(ended: Ended, plan: BackupPlan) -> News:
    for (item, node), record in _records(ended, plan).items():
        if _is_saved(record):
            yield _saved(ended, record)
        elif ended.failed:
            yield _not_saved(ended, plan.service.name, item, node, record)


def _records(ended: Ended, plan: BackupPlan) -> dict[tuple[str, str], Backup | None]:
    found = {(one.data_item, one.node): one for one in ended.backups}
    places = ((item.name, node) for item in plan.items for node in plan.on)
    return {place: found.get(place) for place in places}


def _is_saved(record: Backup | None) -> TypeGuard[Backup]:
    return record is not None and record.status is BackupStatus.SUCCESS


def _afterwards(ended: Ended, plan: BackupPlan) -> News:
    """All may be saved, and the service is down: no later backup starts what did not run."""
    problems = _problems(ended)
    if ended.failed and all(_is_saved(one) for one in _records(ended, plan).values()):
        problems = problems or dict.fromkeys(plan.on, ended.reason)
    yield from _left_down(ended, plan, problems)


def _problems(ended: Ended) -> Mapping[str, str]:
    found: Mapping[str, str] = (ended.task.result or {}).get("problems", {})
    return found


def _left_down(ended: Ended, plan: BackupPlan, problems: Mapping[str, str]) -> News:
    for node, reason in problems.items():
        yield _matter(
            ended,
            EventName.BACKUP_FAILED,
            down_subject(plan.service.name, node),
            f"Not started again after its backup: {plan.service.name} on {node}",
            node=node,
            reason=reason,
            hint=_also(ended.hint, f"composia task show {ended.task.id}"),
        )


def down_subject(service: str | None, node: str | None) -> str:
    """A service on a node, as a backup has left it: its items have subjects of their own."""
    return f"{LEFT_DOWN}{service}@{node}"


def _placed(ended: Ended) -> News:
    """A person has started the service, or wants it to be down."""
    for node in ended.task.nodes:
        yield from _settled(ended, down_subject(ended.task.service, node))


def _updated(ended: Ended) -> News:
    yield from _placed(ended)
    if isinstance(ended.plan, UpdatePlan) and (backup := ended.plan.backup):
        yield from _items(ended, backup)
        yield from _left_down(ended, backup, _problems(ended))


def _unread(ended: Ended, event: EventName, subject: str, title: str, **more: Any) -> News:
    """Of a task with a plan that another version has made, all that is known is that it failed.

    It has a subject of its own, which the next that succeeds settles: nobody knows what else would.
    """
    if ended.failed and ended.plan is None:
        yield _matter(ended, event, subject, title, **more)
    yield from _settled(ended, subject)


def _saved(ended: Ended, record: Backup) -> Matter:
    return _matter(
        ended,
        EventName.BACKUP_SUCCEEDED,
        f"saved:{record.id}",
        f"Backup succeeded: {record.data_item} of {record.service} on {record.node}",
        node=record.node,
        data_item=record.data_item,
        reason=f"{record.size} bytes in {record.files} files, {record.added} of them new.",
        hint=None,
    )


def _not_saved(ended: Ended, service: str, item: str, node: str, record: Backup | None) -> Matter:
    partly = record is not None and record.status is BackupStatus.PARTIAL
    return _matter(
        ended,
        EventName.BACKUP_FAILED,
        backup_subject(service, item, node),
        f"Backup {'incomplete' if partly else 'failed'}: {item} of {service} on {node}",
        node=node,
        data_item=item,
        reason=(record.error if record else None) or ended.reason,
        hint=_also(ended.hint, f"composia backup {service} --item {item} --node {node}"),
    )


def _restore(ended: Ended) -> News:
    subject = f"restore:{ended.task.service}"
    if not ended.failed:
        yield from _settled(ended, subject)
        return
    yield _matter(
        ended,
        EventName.RESTORE_FAILED,
        subject,
        f"Restore failed: {ended.task.title}",
        hint=_also(ended.hint, f"composia task show {ended.task.id}"),
    )


def _migrate(ended: Ended) -> News:
    service, subject = ended.task.service, f"move:{ended.task.service}"
    if ended.task.status is Status.SUCCEEDED:
        yield from _settled(ended, subject)
        yield _moved(ended)
    # What is left open stands until it is settled: see `standing`.
    elif ended.failed and "abandon" not in ended.task.actions:
        yield _matter(
            ended,
            EventName.MIGRATE_FAILED,
            subject,
            f"Move failed: {ended.task.title}",
            hint=_also(ended.hint, f"composia task show {ended.task.id}; {service} runs as before"),
        )


def _moved(ended: Ended) -> Matter:
    seconds = (ended.task.result or {}).get("downtime_seconds")
    return _matter(
        ended,
        EventName.MIGRATE_SUCCEEDED,
        f"moved:{ended.task.id}",
        f"Moved: {ended.task.title}",
        reason=f"It did not answer for {seconds} s." if seconds is not None else "",
        hint=None,
    )


def _verify(ended: Ended) -> News:
    plan, record = ended.plan, next(iter(ended.backups), None)
    yield from _unread(
        ended,
        EventName.VERIFY_FAILED,
        f"verify-task:{ended.task.service}",
        f"Backup not proven: {ended.task.title}",
        hint=_also(ended.hint, f"composia backups --service {ended.task.service}"),
    )
    if not isinstance(plan, VerifyPlan):
        return
    service, item = plan.of, plan.wanted.item
    node = record.node if record else plan.node
    subject = f"verify:{place_of(service, item, node)}"
    if not ended.failed:
        yield from _settled(ended, subject)
        return
    yield _matter(
        ended,
        EventName.VERIFY_FAILED,
        subject,
        f"Backup not proven: {item} of {service} on {node}",
        node=node,
        data_item=item,
        hint=_also(ended.hint, f"composia backup {service} --item {item} --node {node}"),
    )


def _copy(ended: Ended) -> News:
    """Each copy by itself: one place that is away says nothing of the others."""
    plan = ended.plan
    yield from _unread(
        ended,
        EventName.COPY_FAILED,
        # The title names the places: what is copied to another one settles nothing.
        f"copy-task:{ended.task.title}",
        f"Copy off site failed: {ended.task.title}",
        hint=_also(ended.hint, "composia repo copy"),
    )
    if not isinstance(plan, CopyPlan):
        return
    copies = (ended.task.result or {}).get("copies", ())
    complete = {one["name"] for one in copies if not one.get("missing") and not one.get("fault")}
    for target in plan.targets:
        name = target.copy_name or target.profile
        if name in complete:
            yield from _over(f"copy:{name}", ended)
        elif ended.failed:
            yield _matter(
                ended,
                EventName.COPY_FAILED,
                f"copy:{name}",
                f"Copy off site failed: {name}",
                hint=_also(ended.hint, f"composia repo copy {name}"),
            )


def _care(event: EventName, what: str) -> Callable[[Ended], News]:
    """Of the repository: failed, until the same has succeeded."""

    def tells(ended: Ended) -> News:
        subject = event.removesuffix("_failed")
        if not ended.failed:
            yield from _settled(ended, subject)
            return
        yield _matter(
            ended,
            event,
            subject,
            f"{what} failed: {ended.task.title}",
            hint=_also(ended.hint, f"composia task show {ended.task.id}"),
        )

    return tells


def _prune(ended: Ended) -> News:
    """It ends with a check of its own: what that finds is about the repository."""
    error = ended.task.error
    if not (ended.failed and error and error.step == CHECK):
        yield from _care(EventName.PRUNE_FAILED, "Prune")(ended)
        # All that a check without data looks at was looked at.
        yield from _settled(ended, _CHECK)
        return
    yield _matter(
        ended,
        EventName.CHECK_FAILED,
        _CHECK,
        f"Check of the repository after a prune failed: {ended.task.title}",
        hint=_also(ended.hint, f"composia task show {ended.task.id}"),
    )


def _check(ended: Ended) -> News:
    """Damaged data is mended when the same data, or all of it, was read again and is whole.

    All of it in one go, or part by part: the parts of another round are not the same data.
    """
    plan = ended.plan
    reads = plan.reads if isinstance(plan, CheckRepositoryPlan) else None
    result = ended.task.result or {}
    damaged = reads is not None and bool(result.get("damaged"))
    if not ended.failed:
        yield from _settled(ended, _CHECK)
        if reads and ended.task.status is Status.SUCCEEDED:
            every = reads == "all" or bool(result.get("round_is_whole"))
            subject = _DATA if every else f"{_DATA}{reads}"
            yield Over(subject, f"task {ended.task.id}", below=every)
        return
    again = "composia repo check --read-data" if damaged else f"composia task show {ended.task.id}"
    yield _matter(
        ended,
        EventName.CHECK_FAILED,
        f"{_DATA}{reads}" if damaged else _CHECK,
        f"Check of the repository failed: {ended.task.title}",
        hint=_also(ended.hint, again),
    )


#: What is about the repository's order, and about data that was read.
_CHECK = "check"
_DATA = "check:data:"

_TELLS: Mapping[str, Callable[[Ended], News]] = {
    "backup": _backup,
    "deploy": _placed,
    "update": _updated,
    "restart": _placed,
    "stop": _placed,
    "restore": _restore,
    "rollback": _restore,
    "migrate": _migrate,
    "rescue": _migrate,
    "verify": _verify,
    "check_repository": _check,
    "forget": _care(EventName.FORGET_FAILED, "Retention"),
    "prune": _prune,
    "copy": _copy,
}


def left_open(task: Task, plan: Plan | None) -> Matter:
    """A move that has ended half-way, and waits for a person."""
    what = f"{plan.source} to {plan.target}" if isinstance(plan, MigratePlan) else task.title
    return _matter(
        Ended(task, plan),
        EventName.MIGRATE_LEFT_OPEN,
        open_subject(task.id),
        f"Move left open: {task.service}, {what}",
        hint=f"composia task retry {task.id} goes on; rollback goes back; abandon leaves it as it "
        "is.",
    )


def open_subject(task: str) -> str:
    """A move that waits for a person."""
    return f"open-move:{task}"


def _settled(ended: Ended, subject: str) -> Iterator[Over]:
    if ended.task.status is Status.SUCCEEDED:
        yield from _over(subject, ended)


def _over(subject: str, ended: Ended) -> Iterator[Over]:
    yield Over(subject, f"task {ended.task.id}")


def _matter(ended: Ended, event: EventName, subject: str, title: str, **more: Any) -> Matter:
    task = ended.task
    nodes = task.nodes if len(task.nodes) == 1 else (None,)
    values = {"service": task.service, "node": nodes[0], "reason": ended.reason, **more}
    return Matter(
        event=event, subject=subject, title=title, since=ended.at, task_id=task.id, **values
    )


def _also(hint: str | None, command: str) -> str:
    return f"{hint} Then: {command}" if hint else command
