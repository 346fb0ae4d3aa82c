"""Retention: which backups of one data item on one node stay, and why.

Backups that are whole, not missing and saved by a task of ours count. Nothing else satisfies a
rule, and nothing else pushes a backup out of one. A rule counts periods in which there is such a
backup, so that an item whose backups have stopped keeps what it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from pydantic import BaseModel, ConfigDict

from composia.model.backup import SAFETY_COPIES, Backup, BackupKind, BackupStatus
from composia.model.meta import Keep

ALL = -1
#: However short the policy is: what was saved before something else, and what was not whole.
SPARED = timedelta(days=7)
SPARED_KINDS = SAFETY_COPIES | {BackupKind.MIGRATION, BackupKind.BEFORE_UPDATE}

NO_POLICY = "no `keep` is set: everything stays"
NOT_OURS = "no task of ours saved it"
MISSING = "its snapshot is missing: only a person drops the record"
DROPPED = "its snapshot is missing"
BEGUN = "its snapshot is missing: a forget that broke off has taken it out"
UNPROVEN = "unproven: nobody knows whether all was saved, and it counts for nothing"
LAST_VERIFIED = "the last verified one"
NEWEST = "the newest whole one"
YOUNG = f"younger than {SPARED.days} days"
NO_BETTER = "no younger one is whole"


class Verdict(BaseModel):
    """Whether a backup stays, and why."""

    model_config = ConfigDict(frozen=True)

    backup_id: str
    keeps: bool
    why: tuple[str, ...]


def verdicts(
    backups: Iterable[Backup],
    keep: Keep | None,
    *,
    zone: tzinfo,
    now: datetime,
    otherwise: str = NO_POLICY,
    drop_missing: bool = False,
) -> tuple[Verdict, ...]:
    """One verdict a backup, the newest first; `zone`: in which days begin.

    Without a policy all stay, for the reason `otherwise`.

    `drop_missing` is a person's word that what is missing will not come back. What a forget of ours
    has begun to take out needs no such word.
    """
    newest_first = sorted(backups, key=lambda one: one.id, reverse=True)
    reasons = _Reasons(newest_first, keep, zone, now, otherwise)
    return tuple(_verdict(one, reasons, drop_missing=drop_missing) for one in newest_first)


def counts(backup: Backup) -> bool:
    """Whether it satisfies retention, and may push another one out."""
    there = backup.snapshot_id is not None and not backup.missing
    return backup.is_whole and there and _is_ours(backup)


def _is_ours(backup: Backup) -> bool:
    return backup.task_id is not None


def _verdict(backup: Backup, reasons: _Reasons, *, drop_missing: bool) -> Verdict:
    if backup.missing and (drop_missing or backup.going):
        return Verdict(backup_id=backup.id, keeps=False, why=(DROPPED if drop_missing else BEGUN,))
    why = tuple(reasons.to_keep(backup))
    return Verdict(backup_id=backup.id, keeps=bool(why), why=why or (reasons.to_go(backup),))


def states_of(backups: Iterable[Backup]) -> dict[str, str]:
    """What verdicts depend on as a digest, by `service/item@node`: another one makes them void."""
    facts: dict[str, list[tuple[object, ...]]] = {}
    for one in sorted(backups, key=lambda one: one.id):
        facts.setdefault(one.place, []).append(
            (one.id, f"{one.time}", f"{one.status}", one.snapshot_id, f"{one.verified_at}",
             one.damaged, one.missing)
        )  # fmt: skip
    return {of: hashlib.sha256(repr(all_).encode()).hexdigest()[:16] for of, all_ in facts.items()}


class _Reasons:
    """Why each of an item's backups stays."""

    def __init__(
        self,
        newest_first: Sequence[Backup],
        keep: Keep | None,
        zone: tzinfo,
        now: datetime,
        otherwise: str,
    ) -> None:
        self._keep = keep
        self._now = now
        self._otherwise = otherwise
        whole = [one for one in newest_first if counts(one)]
        regular = [one for one in whole if one.kind not in SAFETY_COPIES]
        self._newest = next(iter(regular or whole), None)
        self._verified = last_verified(newest_first)
        self._rules = _by_rules(regular, keep, zone) if keep else {}

    def to_keep(self, backup: Backup) -> Iterator[str]:
        """Every reason."""
        if self._keep is None:
            yield self._otherwise
        elif backup.missing:
            yield MISSING
        elif not _is_ours(backup):
            yield NOT_OURS
        elif counts(backup):
            yield from self._of_whole(backup)
        else:
            yield from self._of_others(backup)

    def to_go(self, backup: Backup) -> str:
        """Why it goes, where nothing keeps it."""
        if not counts(backup):
            return f"{_fault(backup)}, and a younger one is whole"
        if backup.kind in SAFETY_COPIES:
            return f"a copy {str(backup.kind).replace('_', ' ')}, older than {SPARED.days} days"
        return "a younger one stands for each of its periods"

    def _of_whole(self, backup: Backup) -> Iterator[str]:
        yield from self._rules.get(backup.id, ())
        if backup is self._newest:
            yield NEWEST
        if backup is self._verified:
            yield LAST_VERIFIED
        if backup.kind in SPARED_KINDS and self._is_young(backup):
            yield f"a copy of kind {backup.kind}, {YOUNG}"

    def _of_others(self, backup: Backup) -> Iterator[str]:
        if backup is self._verified:
            yield LAST_VERIFIED
        if backup.status is BackupStatus.UNPROVEN and not backup.damaged:
            yield UNPROVEN
        elif self._newest is None or self._newest.id <= backup.id:
            yield NO_BETTER
        elif self._is_young(backup):
            yield f"{_fault(backup)}, {YOUNG}"

    def _is_young(self, backup: Backup) -> bool:
        return self._now - backup.time < SPARED


def _fault(backup: Backup) -> str:
    return "found damaged" if backup.damaged else str(backup.status)


def last_verified(newest_first: Iterable[Backup]) -> Backup | None:
    """The one that is known to come back: of all good ones, or where there is none, of any."""
    proven = [one for one in newest_first if one.verified_at and one.snapshot_id]
    there = [one for one in proven if not one.missing]
    good = [one for one in there if one.is_good]
    regular = [one for one in there if one.kind not in SAFETY_COPIES]
    return next(iter(good or regular or there), None)


#: Name in the policy, and the period that a time belongs to.
_PERIODS: tuple[tuple[str, Callable[[datetime], str]], ...] = (
    ("daily", lambda time: f"{time:%Y-%m-%d}"),
    ("weekly", lambda time: f"{time:%G-W%V}"),
    ("monthly", lambda time: f"{time:%Y-%m}"),
    ("yearly", lambda time: f"{time:%Y}"),
)


def _by_rules(newest_first: Sequence[Backup], keep: Keep, zone: tzinfo) -> dict[str, list[str]]:
    """The rules that name each backup, by its id."""
    found: dict[str, list[str]] = {}
    for place, one in enumerate(newest_first, 1):
        if _within(place, keep.last):
            found.setdefault(one.id, []).append(f"last: {place} of {_all_or(keep.last)}")
    for name, period_of in _PERIODS:
        wanted = getattr(keep, name)
        seen: set[str] = set()
        for one in newest_first:
            period = period_of(one.time.astimezone(zone))
            if period not in seen and _within(len(seen) + 1, wanted):
                found.setdefault(one.id, []).append(f"{name}: the last of {period}")
            seen.add(period)
    return found


def _within(place: int, wanted: int | None) -> bool:
    return wanted == ALL or place <= (wanted or 0)


def _all_or(wanted: int | None) -> str:
    return "all" if wanted == ALL else str(wanted)
