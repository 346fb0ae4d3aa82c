"""Replacing live data by staged data under a hold: all of it, or none whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from composia.errors import Failure
from composia.operations import exchanging, hold, kept
from composia.operations.exchanging import Exchange
from composia.operations.hold import NotPutBack
from composia.operations.kept import Exchanging, Replaced
from composia.operations.project import AT_WORK, containers_of
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.tools.cancelling import to_the_end
from composia.tools.docker import ContainerInfo


class Replacing:
    """One exchange of everything that a restore, or its way back, replaces."""

    def __init__(
        self, site: Site, aside: Aside, swaps: tuple[Swap, ...], was: Replaced | None
    ) -> None:
        self.site = site
        self.aside = aside
        self.swaps = swaps
        #: On the way back: what the restore had written down.
        self.was = was
        self.began = time.time()
        self.looking: Sequence[ContainerInfo] = ()
        self.seeing: frozenset[str] = frozenset()
        self.ran: tuple[str, ...] = ()
        self.exchanges: tuple[Exchange, ...] = ()

    async def perform(self) -> Replaced:
        """Stop what looks into the data, exchange, start the same containers again."""
        await containers_of(self.site)  # refuses a project that is not ours
        await asyncio.to_thread(exchanging.refuse_mounts, self.swaps)
        await exchanging.make_places(self.site, self.swaps)
        self.looking = await exchanging.mounting(self.site, self.swaps)
        self.seeing = frozenset(container.id for container in self.looking)
        self.ran = tuple(one.id for one in self.looking if one.state in AT_WORK)
        self.began = time.time()
        try:
            async with hold.held(self.site, self.seeing):
                replaced = await self._exchange()
        except BaseException:
            # Only when they would not start on it, or one had started meanwhile.
            if self.exchanges:
                await to_the_end(self._back())
            raise
        self.aside.write(kept.REPLACED, replaced := self._timed(replaced))
        return replaced

    async def _exchange(self) -> Replaced:
        """Under the hold. What goes wrong here is undone before anything starts."""
        await exchanging.refuse_still_mounted(self.site, self.swaps, self.looking)
        exchanges = tuple(exchanging.planned(swap) for swap in self.swaps)
        self.aside.write(kept.EXCHANGING, Exchanging(exchanges=exchanges, was=self.was))
        await self.site.notes.note("exchanging", **self._facts(exchanges))
        try:
            for number, one in enumerate(exchanges):
                if number:
                    await self.site.notes.note(f"exchanging_{number}", live=str(one.swap.live))
                one.make()
            await self._refuse_newcomers()
            replaced = self._replaced(exchanges)
            self.aside.write(kept.REPLACED, replaced)
            await self.site.notes.note("exchanged")
        except BaseException:
            undo(self.site, self.aside, exchanges, self.was)
            raise
        self.exchanges = exchanges
        self.aside.remove(kept.EXCHANGING)
        return replaced

    def _facts(self, exchanges: tuple[Exchange, ...]) -> dict[str, Any]:
        return {
            "exchanges": [one.model_dump(mode="json") for one in exchanges],
            "was": self.was.model_dump(mode="json") if self.was else None,
            "seeing": sorted(self.seeing),
            "ran": list(self.ran),
            "began": self.began,
        }

    async def _refuse_newcomers(self) -> None:
        now = await exchanging.mounting(self.site, self.swaps)
        up = [one.name for one in now if one.state in AT_WORK]
        if up:
            raise Failure(
                f"{', '.join(up)} of {self.site.service} started while its data was exchanged",
                hint="Something else starts its containers. End that, then try again.",
            )

    def _replaced(self, exchanges: tuple[Exchange, ...]) -> Replaced:
        now = datetime.now(UTC)
        facts = {
            "kept": tuple(one.kept for one in exchanges),
            "downtime_seconds": _since(self.began) if self.ran else 0.0,
            "started": bool(self.ran),
        }
        if self.was:
            return self.was.model_copy(update={**facts, "brought_back_by": self.site.task})
        until = now + kept.KEPT
        swaps = tuple(one.swap for one in exchanges)
        return Replaced.model_validate(
            {"task": self.site.task, "at": now, "until": until, "swaps": swaps, **facts}
        )

    def _timed(self, replaced: Replaced) -> Replaced:
        took = _since(self.began) if self.ran else 0.0
        return replaced.model_copy(update={"downtime_seconds": took})

    async def _back(self) -> None:
        """Everything is exchanged and yet does not count: back to what it was, under a hold."""
        await self.site.notes.note("undoing")
        await back_under_hold(
            self.site, self.aside, self.exchanges, self.was, self.seeing, self.ran
        )


async def back_under_hold(
    site: Site,
    aside: Aside,
    exchanges: tuple[Exchange, ...],
    was: Replaced | None,
    seeing: frozenset[str],
    ran: tuple[str, ...],
) -> None:
    """Undo the exchanges while nothing runs on them, then start what ran before."""
    async with hold.held(site, seeing):
        undo(site, aside, exchanges, was)
    await site.docker.start(ran)


def undo(site: Site, aside: Aside, exchanges: tuple[Exchange, ...], was: Replaced | None) -> None:
    """Bring back what was there, and what was written down about it. Raises NotPutBack."""
    for path in exchanging.undo(exchanges):
        site.notes.log(f"Something else had made a file meanwhile: it lies at {path} now")
    if was:
        aside.write(kept.REPLACED, was)
    else:
        aside.remove(kept.REPLACED)
    aside.remove(kept.EXCHANGING)


async def put_right(site: Site, aside: Aside, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """After a crash: everything as it was, unless all of it was exchanged; then start again."""
    facts = notes.get("exchanging")
    if facts is None:
        await hold.release(site, notes)
        return
    exchanges = tuple(Exchange.model_validate(one) for one in facts["exchanges"])
    was = Replaced.model_validate(facts["was"]) if facts["was"] else None
    ran = tuple(facts["ran"])
    if "exchanged" not in notes:
        try:
            undo(site, aside, exchanges, was)
        except NotPutBack:
            await hold.leave(site, notes)
            raise
    await hold.release(site, notes)
    if "undoing" in notes:
        await back_under_hold(site, aside, exchanges, was, frozenset(facts["seeing"]), ran)
    elif "exchanged" in notes:
        _finish(aside, _since(facts["began"]) if ran else 0.0)


def _since(began: float) -> float:
    """Seconds by a clock that goes on when the agent ends, and may be set back."""
    return max(0.0, time.time() - began)


def _finish(aside: Aside, downtime: float) -> None:
    aside.remove(kept.EXCHANGING)
    if replaced := aside.read(kept.REPLACED, Replaced):
        aside.write(kept.REPLACED, replaced.model_copy(update={"downtime_seconds": downtime}))
