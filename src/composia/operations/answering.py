"""Asking a service itself whether it works, instead of waiting for Docker's next health check."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from composia.errors import Failure
from composia.operations.project import containers_of
from composia.strategies.base import Site
from composia.tools.containers import ContainerInfo
from composia.tools.shell import Command

#: Seconds between two questions, and for one answer at a port.
POLL = 0.1
ANSWER = 10.0
#: Seconds at least for all of them, and for what only has a port to be asked at.
PATIENCE = 30.0
SLOW = 120.0
#: Seconds in which a container without a health command shows that it cannot run.
FIRST_MOMENT = 0.5


async def wait_until_it_answers(
    site: Site, before: Iterable[ContainerInfo], quiet: Collection[str] | None
) -> float:
    """Wait for every container that runs: its health command, or else one of its TCP ports.

    `before`: what was there before the start. `quiet`: see `quiet_ones`; None where that is not
    known. Answers the loop's time of the last answer that was waited for. Raises Failure for a
    container that ends badly or is restarted, where all have ended, and after the time in which
    Docker would call one unhealthy.
    """
    # What the start has left alone, an orphan or one behind a profile, ended long ago.
    rested = {(one.id, one.started_at) for one in before if not one.at_work}
    loop = asyncio.get_running_loop()
    began = loop.time()
    found = await _to_ask(site)
    silent = [one for one in found if _can_be_asked(one) and not _is_quiet(one, quiet)]
    # Who says by itself that it is well need not be watched besides.
    watched = 0.0 if found and all(map(_health, found)) else FIRST_MOMENT
    patience = max([PATIENCE, *map(_patience, silent)])
    last = began
    while True:
        there = [one for one in await _all(site) if (one.id, one.started_at) not in rested]
        _refuse_dead(there)
        # One that has done its work and ended well answers nobody; but something must run.
        at_work = {one.id for one in there if one.at_work}
        silent = [one for one in silent if one.id in at_work] if at_work else silent
        if not at_work and loop.time() - began >= FIRST_MOMENT:
            raise Failure(
                f"nothing of {site.service} runs on {site.node}: all that was started has ended",
                hint=f"See why: docker logs {there[0].name}" if there else None,
            )
        if silent:
            silent = [one for one in silent if not await _answers(one, site)]
            last = loop.time()
        if not silent and at_work and loop.time() - began >= watched:
            return last
        if loop.time() - began > patience:
            said = (
                f"{', '.join(one.name for one in silent)} of {site.service} did not answer on"
                f" {site.node} within {patience:g} s"
            )
            if quiet is None and not any(map(_health, silent)):
                site.notes.log(f"{said}; it may never do, and it runs")
                return last
            raise Failure(
                said, hint=f"Look at its log on {site.node}: docker logs {silent[0].name}"
            )
        await asyncio.sleep(POLL)


async def quiet_ones(site: Site, settled: float = 0.0) -> tuple[str, ...]:
    """The compose services that run here without a health command, and answer at no port.

    A worker, made from the image of the one that does; or one that was told another port. One that
    has not run for so many seconds yet may only be slow: it is waited for.
    """
    while True:
        found = [one for one in await _to_ask(site) if _can_be_asked(one) and not _health(one)]
        answers = await asyncio.gather(*(_answers(one, site) for one in found))
        answering = {one.compose_service for one, does in zip(found, answers, strict=True) if does}
        silent = [one for one in found if one.compose_service not in answering]
        if all(_age(one) >= settled for one in silent):
            return tuple(sorted({one.compose_service for one in silent}))
        await asyncio.sleep(POLL)


def _age(container: ContainerInfo) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(container.started_at)).total_seconds()


async def _all(site: Site) -> list[ContainerInfo]:
    return [one for one in await containers_of(site) if not one.is_one_off]


async def _to_ask(site: Site) -> list[ContainerInfo]:
    return [one for one in await _all(site) if one.state == "running"]


def _can_be_asked(container: ContainerInfo) -> bool:
    return bool(_health(container)) or bool(container.ports and container.address)


def _is_quiet(container: ContainerInfo, quiet: Collection[str] | None) -> bool:
    return container.compose_service in (quiet or ())


def _patience(container: ContainerInfo) -> float:
    return container.health_patience if _health(container) else SLOW


def _health(container: ContainerInfo) -> tuple[str, ...]:
    kind, *words = container.health_command or ("NONE",)
    if kind == "CMD":
        return tuple(words)
    return ("sh", "-c", *words) if kind == "CMD-SHELL" else ()


def _refuse_dead(containers: Sequence[ContainerInfo]) -> None:
    dead = [one for one in containers if one.state in ("restarting", "dead") or one.exit_code]
    if dead:
        how = "; ".join(f"{one.name} ended with code {one.exit_code}" for one in dead)
        raise Failure(f"{how} after its start", hint=f"See its log: docker logs {dead[0].name}")


async def _answers(container: ContainerInfo, site: Site) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(container.health_timeout if _health(container) else ANSWER):
            if words := _health(container):
                command = Command(("docker", "exec", container.id, *words))
                return (await site.compose.shell.run(command, check=False)).code == 0
            assert container.address
            return any(
                [await _accepts(container.address, port) for port in sorted(container.ports)]
            )
    return False


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
