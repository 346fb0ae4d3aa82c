"""The containers of a service's compose project, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from composia.errors import Conflict, Failure
from composia.strategies.base import Site
from composia.tools.docker import ContainerInfo

WORKING_DIR = "com.docker.compose.project.working_dir"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
#: In any of these a container may write.
AT_WORK = ("running", "restarting", "paused")


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
        folder = container.labels.get(WORKING_DIR)
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
    own = [one for one in await containers_of(site) if not is_one_off(one)]
    ran = [one for one in own if one.state in AT_WORK]
    # The policies first: an engine that restarts starts what has one, stopped or not.
    armed = [one.id for one in own if one.restart_policy != "no"]
    await site.docker.set_restart_policy(armed, "no")
    await site.docker.stop([one.id for one in ran])
    up = [one.name for one in await containers_of(site) if one.state in AT_WORK]
    if up:
        raise Failure(
            f"{', '.join(up)} of {site.service} did not stop on {site.node}",
            hint="Something starts it again: a program that watches it, perhaps.",
        )
    return ran


def is_one_off(container: ContainerInfo) -> bool:
    """Whether `docker compose run` made it."""
    return container.labels.get(ONE_OFF, "False") == "True"
