"""The containers of a service's compose project, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from composia.errors import Conflict
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


def is_one_off(container: ContainerInfo) -> bool:
    """Whether `docker compose run` made it."""
    return container.labels.get(ONE_OFF, "False") == "True"
