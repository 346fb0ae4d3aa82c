"""Bringing names to where services run, and remembering what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict
from structlog import get_logger

from composia.controller.dns.base import Change, Overtaken, Present, Provider
from composia.controller.dns.deciding import decide
from composia.errors import ComposiaError, Conflict, Failure
from composia.model.dns import DnsChange, DnsTarget, DnsUpdated, normal, normals
from composia.model.meta import RecordType

#: How often a change starts again because somebody else changed the name meanwhile.
ATTEMPTS = 5
#: Seconds until a record that was taken has to be shown, and between two looks.
LIMIT = 30.0
PAUSE = 0.25
#: Seconds that Cloudflare's ttl of 1 stands for.
AUTOMATIC = 300

_log = get_logger("composia.dns")


class Written(BaseModel):
    """What we wrote under a name and type, and what was there before."""

    model_config = ConfigDict(frozen=True)

    values: tuple[str, ...] = ()
    ttl_before: int | None = None
    forgotten_at: AwareDatetime | None = None


class Memory(Protocol):
    """Keeps what we wrote, through every restart."""

    async def written(self, provider: str, hostname: str) -> Mapping[str, Written]:
        """By type."""
        ...

    async def keep_written(self, target: DnsTarget, written: Written) -> None:
        """Replaces what was known of that name and type."""
        ...


class Names:
    """The records of all services."""

    def __init__(
        self, providers: Mapping[str, Provider], memory: Memory, *, limit: float = LIMIT
    ) -> None:
        self._providers = providers
        self._memory = memory
        self._limit = limit

    async def update(self, targets: Sequence[DnsTarget], ours: Collection[str]) -> DnsUpdated:
        """Meet all targets. Raises what went wrong when each was tried."""
        changes: list[DnsChange] = []
        errors: list[ComposiaError] = []
        for target in targets:
            try:
                changes.append(await self._meet(target, ours))
            except ComposiaError as error:
                errors.append(error)
        _raise(errors)
        return DnsUpdated(records=tuple(changes))

    async def _meet(self, target: DnsTarget, ours: Collection[str]) -> DnsChange:
        provider = self._providers.get(target.provider)
        if provider is None:
            raise Failure(
                f"controller.dns does not set up the provider {target.provider} any more",
                hint="Set it up in config.yaml, reload, and try again.",
            )
        for _ in range(ATTEMPTS):
            seen = await provider.find(target.zone, target.hostname)
            written = await self._memory.written(target.provider, target.hostname)
            known = {value for one in written.values() for value in one.values}
            change = decide(target, seen, {*ours, *known})
            before = written.get(target.record_type, Written())
            if not change:
                return _unchanged(target, seen, before)
            try:
                return await self._change(provider, target, seen, change, before)
            except Overtaken:
                continue
        raise Conflict(
            f"{target} is changed by somebody else again and again, "
            "or has records that cannot be beside it",
            hint=f"Look at all records of {target.hostname}, and try again.",
        )

    async def _change(
        self,
        provider: Provider,
        target: DnsTarget,
        seen: Sequence[Present],
        change: Change,
        before: Written,
    ) -> DnsChange:
        # Written down first: after a crash in between the record must still be known as ours.
        values = normals((*before.values, *target.values))
        await self._memory.keep_written(target, _after(change, target, before, values, LIMIT))
        await provider.change(target, seen, change)
        await self._read_back(provider, target, change)
        written = _after(change, target, before, target.values)
        await self._memory.keep_written(target, written)
        _log.info("dns changed", name=str(target), values=list(target.values))
        return DnsChange(
            hostname=target.hostname,
            record_type=target.record_type,
            before=_values(seen, target.record_type),
            after=normals((*target.values, *(one.value for one in change.kept))),
            ttl_before=written.ttl_before,
            forgotten_at=written.forgotten_at,
            changed=True,
        )

    async def _read_back(self, provider: Provider, target: DnsTarget, change: Change) -> None:
        end = asyncio.get_running_loop().time() + self._limit
        gone = {normal(one.value) for one in change.remove} - set(target.values)
        while True:
            shown = set(_values(await provider.find(target.zone, target.hostname), None))
            if _is_met(target, gone, shown):
                answers = await provider.shown(target)
                if answers is None or _is_met(target, gone, answers):
                    return
                shown = answers
            if asyncio.get_running_loop().time() > end:
                raise Failure(
                    f"{target.provider} took {target}, and does not show it "
                    f"within {self._limit:g} s: {', '.join(sorted(shown)) or 'nothing'} is there",
                    hint=f"Look at the records of {target.hostname} there. Asking again is safe.",
                )
            await asyncio.sleep(PAUSE)


def _is_met(target: DnsTarget, gone: set[str], shown: set[str]) -> bool:
    return shown.issuperset(target.values) and not shown & gone


def _unchanged(target: DnsTarget, seen: Sequence[Present], before: Written) -> DnsChange:
    """What was there before the last change counts as long as somebody may remember it."""
    values = _values(seen, target.record_type)
    remembered = bool(before.forgotten_at and before.forgotten_at > datetime.now(UTC))
    return DnsChange(
        hostname=target.hostname,
        record_type=target.record_type,
        before=values,
        after=values,
        ttl_before=before.ttl_before if remembered else None,
        forgotten_at=before.forgotten_at if remembered else None,
        changed=False,
    )


def _after(
    change: Change,
    target: DnsTarget,
    before: Written,
    values: tuple[str, ...],
    longer: float = 0.0,
) -> Written:
    """What is known after a change; `longer`: seconds that it may still take."""
    gone = [_seconds(one.ttl) for one in change.remove if normal(one.value) not in target.values]
    now = datetime.now(UTC)
    if not gone:
        return before.model_copy(update={"values": values})
    until = now + timedelta(seconds=max(gone) + longer)
    # A change soon after another: the older one may be remembered longer.
    if before.forgotten_at and before.forgotten_at > until and not longer:
        until = before.forgotten_at
    return Written(values=values, ttl_before=max(gone), forgotten_at=until)


def _seconds(ttl: int) -> int:
    return AUTOMATIC if ttl == 1 else ttl


def _values(present: Sequence[Present], record_type: RecordType | None) -> tuple[str, ...]:
    return normals(one.value for one in present if record_type in (None, one.type))


def _raise(errors: Sequence[ComposiaError]) -> None:
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    kind = Conflict if all(isinstance(error, Conflict) for error in errors) else Failure
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    raise kind("; ".join(error.message for error in errors), hint=" ".join(hints) or None)
