"""Where a service keeps data: from its compose files and from its containers."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from composia.model.node import Mount
from composia.tools.compose import ComposeConfig
from composia.tools.containers import ContainerInfo

#: (kind, source)
Source = tuple[str, str]


def mounts_of(
    folder: Path, config: ComposeConfig | None, containers: Iterable[ContainerInfo]
) -> tuple[Mount, ...]:
    """The writable volumes and binds of a service; `config` is None where compose refuses it."""
    users: defaultdict[Source, set[str]] = defaultdict(set)
    for service, source in _of_config(folder, config):
        users[source].add(service)
    keys = {volume.name: key for key, volume in config.volumes.items()} if config else {}
    for container in containers:
        service = container.compose_service
        for source in _of_container(folder, keys, service, container):
            users[source].add(service)
    return tuple(
        Mount(kind=kind, source=source, used_by=tuple(sorted(services)))
        for (kind, source), services in sorted(users.items())
    )


def _of_config(folder: Path, config: ComposeConfig | None) -> Iterator[tuple[str, Source]]:
    for name, service in config.services.items() if config else ():
        for mount in service.mounts:
            if mount.read_only:
                continue
            if mount.type == "volume":
                named = ("volume", mount.source) if mount.source else None
                yield name, named or ("anonymous", f"{name}:{mount.target}")
            elif mount.type == "bind" and mount.source and not _is_socket(mount.source):
                yield name, ("bind", _below(folder, mount.source))


def _of_container(
    folder: Path, keys: Mapping[str, str], service: str, container: ContainerInfo
) -> Iterator[Source]:
    for mount in container.mounts:
        if not mount.writable:
            continue
        key = keys.get(mount.name or "")
        if mount.type == "volume" and key:
            yield "volume", key
        elif mount.type == "volume":
            # The image's own, or one whose name went out of the files.
            yield "anonymous", f"{service}:{mount.destination}"
        elif mount.type == "bind" and not _is_socket(mount.source):
            yield "bind", _below(folder, mount.source)


def _below(folder: Path, source: str) -> str:
    try:
        return f"./{Path(source).relative_to(folder)}"
    except ValueError:
        return source


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
