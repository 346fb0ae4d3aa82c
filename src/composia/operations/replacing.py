"""Replacing live data by staged data under a hold: all of it, or none whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Failure, told
from composia.operations import exchanging, hold, kept
from composia.operations.exchanging import Exchange
from composia.operations.held import Held
from composia.operations.hold import Holding, NotPutBack, NotStartedAgain
from composia.operations.kept import Exchanging, Replaced
from composia.operations.project import containers_of
from composia.operations.stopping import let_stop, persistently
from composia.operations.turns import Turn, turn_of
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo


class Facts(BaseModel):
    """What is about to be done, as it is noted: all that is needed to undo it or to finish it."""

    model_config = ConfigDict(frozen=True)

    exchanges: tuple[Exchange, ...]
    #: On the way back: what the restore had written down.
    was: Replaced | None
    #: The containers that look into the data, and those of them that ran.
    seeing: tuple[str, ...]
    ran: tuple[str, ...]
    #: Seconds since the epoch.
    began: float

    def timed(self, replaced: Replaced) -> Replaced:
        """The same with how long the containers were down, when they run again."""
        took = _since(self.began) if self.ran else 0.0
        return replaced.model_copy(update={"downtime_seconds": took})


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
        self.seeing: tuple[str, ...] = ()
        self.ran: tuple[str, ...] = ()
        self.exchanges: tuple[Exchange, ...] = ()

    async def perform(self) -> Replaced:
        """Stop what looks into the data, exchange, start the same containers again."""
        await containers_of(self.site)  # refuses a project that is not ours
        await asyncio.to_thread(exchanging.refuse_mounts, self.swaps)
        await exchanging.make_places(self.site, self.swaps)
        while True:
            async with turn_of(await exchanging.mounting(self.site, self.swaps), self.site) as turn:
                self.looking = await exchanging.mounting(self.site, self.swaps)
                # Another one may have been made while this waited, and be somebody else's by now.
                if turn.is_of(self.looking):
                    return await self._perform(turn)

    async def _perform(self, turn: Turn) -> Replaced:
        self.seeing = tuple(container.id for container in self.looking)
        self.ran = tuple(one.id for one in self.looking if one.at_work)
        for name in await exchanging.reading(self.site, self.swaps, self.looking):
            self.site.notes.log(
                f"{name} only reads what is replaced, and runs on: restart it afterwards (docker"
                f" restart {name}), for until then it sees what was there before"
            )
        self.began = time.time()
        try:
            async with hold.held(self.site, self.seeing) as holding:
                replaced = await self._exchange(holding, turn)
        except BaseException as error:
            # Only when they would not start on it, or one had started meanwhile.
            if self.exchanges:
                facts = self._facts(self.exchanges)
                await to_the_end(_go_back(self.site, self.aside, facts, turn))
                if isinstance(error, NotStartedAgain):
                    raise _as_before(error, self.site) from error
            raise
        replaced = self._facts(self.exchanges).timed(replaced)
        self.aside.write(kept.REPLACED, replaced)
        return replaced

    async def _exchange(self, holding: Holding, turn: Turn) -> Replaced:
        """Under the hold. What goes wrong here is undone before anything starts."""
        await exchanging.refuse_still_mounted(self.site, self.swaps, self.looking)
        back = self.was is not None
        exchanges = tuple(exchanging.planned(swap, may_be_nothing=back) for swap in self.swaps)
        self.aside.write(kept.EXCHANGING, Exchanging(exchanges=exchanges, was=self.was))
        facts = self._facts(exchanges)
        await self.site.notes.note("exchanging", **facts.model_dump(mode="json"))
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
            await to_the_end(self._undo(exchanges, holding, turn))
            raise
        self.exchanges = exchanges
        self.aside.remove(kept.EXCHANGING)
        return replaced

    async def _undo(self, exchanges: tuple[Exchange, ...], holding: Holding, turn: Turn) -> None:
        # Without it a crash in here would look like one after all was exchanged, if that is noted.
        with suppress(Failure):
            await self.site.notes.note("going_back")
        await _stop_newcomers(self.site, exchanges, holding, turn)
        undo(self.site, self.aside, exchanges, self.was)

    def _facts(self, exchanges: tuple[Exchange, ...]) -> Facts:
        return Facts(
            exchanges=exchanges, was=self.was, seeing=self.seeing, ran=self.ran, began=self.began
        )

    async def _refuse_newcomers(self) -> None:
        now = await exchanging.mounting(self.site, self.swaps)
        up = [one.name for one in now if one.at_work]
        if up:
            raise Failure(
                f"{', '.join(up)} started while data of {self.site.service} was exchanged",
                hint="Something else starts its containers. End that, then try again.",
            )

    def _replaced(self, exchanges: tuple[Exchange, ...]) -> Replaced:
        now = datetime.now(UTC)
        facts = {
            # On the way back too: what was written since the restore is in no backup.
            "until": now + kept.KEPT,
            "kept": tuple(one.kept for one in exchanges),
            "downtime_seconds": _since(self.began) if self.ran else 0.0,
            "started": bool(self.ran),
        }
        if self.was:
            return self.was.model_copy(update={**facts, "brought_back_by": self.site.task})
        swaps = tuple(one.swap for one in exchanges)
        return Replaced.model_validate({"task": self.site.task, "at": now, "swaps": swaps, **facts})


async def _go_back(site: Site, aside: Aside, facts: Facts, turn: Turn) -> None:
    """Everything is exchanged and yet does not count: back to what it was, under a hold.

    Raises NotPutBack; and Failure that says which data is live, where it was hindered otherwise.
    """
    try:
        await site.notes.note("undoing")
        async with hold.held(site, facts.seeing) as holding:
            await _stop_newcomers(site, facts.exchanges, holding, turn)
            await _note_going_back(site, aside, facts)
            undo(site, aside, facts.exchanges, facts.was)
        await _start(site, facts.ran)
    except NotPutBack:
        raise
    except (ComposiaError, OSError) as error:
        if _is_back(aside, facts):
            with suppress(Failure):
                await _start(site, facts.ran)
        raise _with_what_is_live(error, site, aside, facts) from error


async def _note_going_back(site: Site, aside: Aside, facts: Facts) -> None:
    # Until all of it is undone it is a mixture, which nobody must take for either.
    aside.write(kept.EXCHANGING, Exchanging(exchanges=facts.exchanges, was=facts.was))
    try:
        await site.notes.note("going_back")
    except Failure:
        aside.remove(kept.EXCHANGING)
        raise


async def _stop_newcomers(
    site: Site, exchanges: Sequence[Exchange], holding: Holding, turn: Turn
) -> None:
    """Hold what has come up meanwhile: it would go on with the data that is taken away from it.

    What cannot be stopped is told, and keeps nothing from being put back.
    """

    async def stop(swaps: Sequence[Swap], site: Site) -> None:
        while not turn.is_of(there := await exchanging.mounting(site, swaps)):
            await turn.take(there)
        if up := [one for one in there if one.at_work]:
            await holding.also(up)

    try:
        await persistently(stop, [one.swap for one in exchanges], site)
    except Exception as error:
        site.notes.log(
            f"{told(error).message}. What runs on works with data that is put aside now: restart"
            " it, for what it writes until then is lost"
        )


async def _start(site: Site, ran: Collection[str]) -> None:
    """Start what is still there of what ran before; harmless where it runs."""
    there = {one.id for one in await site.docker.containers()}
    await site.docker.start([one for one in ran if one in there])


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
    """After a crash: everything as it was, unless all of it was exchanged, and starts on that.

    Raises NotPutBack; NotStartedAgain, when it is down; and Failure that says which data is live:
    the old, where it did not start on the new.
    """
    stopped = Held.model_validate(notes["held"], strict=False).containers if "held" in notes else ()
    async with turn_of(stopped, site) as turn:
        await _put_right(site, aside, notes, turn)


async def _put_right(
    site: Site, aside: Aside, notes: Mapping[str, Mapping[str, Any]], turn: Turn
) -> None:
    if "exchanging" not in notes:
        await hold.release(site, notes)
        return
    facts = Facts.model_validate(notes["exchanging"])
    if "exchanged" in notes and "going_back" not in notes:
        await _finish_or_go_back(site, aside, facts, notes, turn)
        return
    # Whatever had begun to move was under a hold, and somebody else may have started something.
    if holding := hold.left_by_a_crash(site, notes):
        await let_stop(site, notes)
        await _stop_newcomers(site, facts.exchanges, holding, turn)
        notes = {**notes, "held": holding.note.model_dump(mode="json")}
    try:
        undo(site, aside, facts.exchanges, facts.was)
    except NotPutBack:
        await hold.leave(site, notes)
        raise
    await hold.release(site, notes)
    if "going_back" in notes:
        await _start(site, facts.ran)


async def _finish_or_go_back(
    site: Site, aside: Aside, facts: Facts, notes: Mapping[str, Mapping[str, Any]], turn: Turn
) -> None:
    """All of it is exchanged: start on it, and where that fails or was given up go back."""
    aside.remove(kept.EXCHANGING)
    try:
        await hold.release(site, notes)
    except NotStartedAgain as error:
        await _go_back(site, aside, facts, turn)
        raise _as_before(error, site) from error
    except Failure as error:
        raise _with_what_is_live(error, site, aside, facts) from error
    if "undoing" in notes:
        await _go_back(site, aside, facts, turn)
    elif replaced := aside.read(kept.REPLACED, Replaced):
        aside.write(kept.REPLACED, facts.timed(replaced))


def _as_before(error: NotStartedAgain, site: Site) -> Failure:
    return Failure(
        f"{site.service} did not start on the data that was put in place, so what was there before"
        f" is back, and it runs again ({error.message})",
        hint="Is that data of another version of the service? Restore it to scratch to look at it,"
        " or choose another backup.",
    )


def _is_back(aside: Aside, facts: Facts) -> bool:
    """Whether what was there before is live again, after all was exchanged."""
    return aside.read(kept.REPLACED, Replaced) == facts.was


def _with_what_is_live(
    error: ComposiaError | OSError, site: Site, aside: Aside, facts: Facts
) -> Failure:
    live = (
        "what was there before is back"
        if _is_back(aside, facts)
        else "it was left with the data that was put in place"
    )
    why = told(error)
    return Failure(f"{why.message}. Of {site.service}: {live}", hint=why.hint)


def _since(began: float) -> float:
    """Seconds by a clock that goes on when the agent ends, and may be set back."""
    return max(0.0, time.time() - began)
