"""The containers of a service's compose project, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from composia.errors import Conflict, Failure
from composia.strategies.base import Site
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


def refuse_at_work(there: Iterable[ContainerInfo], site: Site, *, where: str = "") -> None:
    """Raise Failure for those that run after a stop; who calls it says which ones count."""
    up = [one.name for one in there if one.at_work]
    if up:
        raise Failure(
            f"{', '.join(up)} of {site.service} did not stop{where}",
            hint="Something starts it again: a program that watches it, perhaps.",
        )
