"""The containers of a service's compose project, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from composia.errors import Conflict, Failure
from composia.strategies.base import Site
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo


async def containers_of(site: Site) -> Sequence[ContainerInfo]:
    """The project's containers, stopped ones too.

    Raises Conflict where they were made from another folder: such a project is not touched.
    """
    found = await site.docker.containers(project=site.compose.project)
    refuse_foreign(found, site)
    return found


def refuse_foreign(containers: Iterable[ContainerInfo], site: Site) -> None:
    """Raise Conflict for containers of the project that were made from a folder not ours."""
    ours = os.path.realpath(site.folder)
    for container in containers:
        folder = container.working_dir
        if folder and os.path.realpath(folder) != ours:
            raise Conflict(
                f"compose project {site.compose.project} already has containers on {site.node}"
                f" ({container.name}) that were made from {folder}, not from {site.folder}",
                hint="Take it down there, or give this service another `project_name`.",
            )


async def stop_for_good(site: Site) -> Sequence[ContainerInfo]:
    """Disarm and stop the project's containers, and see that they stay so; those that ran.

    Raises Failure where one runs all the same.
    """
    own = [one for one in await containers_of(site) if not one.is_one_off]
    ran = [one for one in own if one.at_work]
    # The policies first: an engine that restarts starts what has one, stopped or not.
    armed = [one.id for one in own if one.restart_policy != "no"]
    await site.docker.set_restart_policy(armed, "no")
    stop = site.docker.stop([one.id for one in ran])
    await to_the_end(stop, lambda: say_what_stops([one.name for one in ran], site))
    # One-offs too, though none was stopped: what one writes here from now on would be lost.
    refuse_at_work(await containers_of(site), site, where=f" on {site.node}")
    return ran


def refuse_at_work(there: Iterable[ContainerInfo], site: Site, *, where: str = "") -> None:
    """Raise Failure for those that run after a stop; who calls it says which ones count."""
    up = [one.name for one in there if one.at_work]
    if up:
        raise Failure(
            f"{', '.join(up)} of {site.service} did not stop{where}",
            hint="Something starts it again: a program that watches it, perhaps.",
        )


def say_what_stops(names: Iterable[str], site: Site) -> None:
    """Tell a person why it goes on: an engine does not take back a stop."""
    site.notes.log(f"Waiting for {', '.join(names)} to stop, which was asked already")
