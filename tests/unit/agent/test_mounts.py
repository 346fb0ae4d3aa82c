"""Where a service keeps data, as files and containers say."""

from __future__ import annotations

import socket
from pathlib import Path

from composia.agent.mounts import mounts_of
from composia.model.node import Mount
from composia.tools.compose import parse_config
from composia.tools.containers import ContainerInfo, ContainerMount

FOLDER = Path("/srv/services/my-app")


def a_container(service: str, *mounts: ContainerMount) -> ContainerInfo:
    return ContainerInfo(
        id="1",
        name=f"my-app-{service}-1",
        labels={"com.docker.compose.service": service},
        image="busybox",
        state="running",
        health=None,
        exit_code=None,
        started_at="",
        restart_policy="no",
        mounts=mounts,
        env={},
    )


def a_mount(kind: str, source: str, name: str | None = None, *, rw: bool = True) -> ContainerMount:
    return ContainerMount(type=kind, name=name, source=source, destination="/x", writable=rw)


def test_volumes_and_binds_are_named_as_users_know_them() -> None:
    config = parse_config(
        {
            "services": {
                "web": {
                    "volumes": [
                        {"type": "volume", "source": "cache", "target": "/cache"},
                        {"type": "bind", "source": f"{FOLDER}/data", "target": "/data"},
                        {"type": "bind", "source": "/srv/media", "target": "/media"},
                        {"type": "volume", "target": "/anon"},
                    ]
                }
            },
            "volumes": {"cache": {"name": "my-app_cache"}},
        }
    )
    web = a_container(
        "web",
        a_mount("volume", "", "my-app_cache"),
        a_mount("bind", f"{FOLDER}/data"),
    )
    assert mounts_of(FOLDER, config, [web]) == (
        Mount(kind="anonymous", source="web:/anon", used_by=("web",)),
        Mount(kind="bind", source="./data", used_by=("web",)),
        Mount(kind="bind", source="/srv/media", used_by=("web",)),
        Mount(kind="volume", source="cache", used_by=("web",)),
    )


def test_a_volume_that_only_the_image_declares_is_seen() -> None:
    db = a_container("db", a_mount("volume", "", "f" * 64))
    assert mounts_of(FOLDER, None, [db]) == (
        Mount(kind="anonymous", source="db:/x", used_by=("db",)),
    )


def test_what_is_read_only_is_no_place_for_data() -> None:
    web = a_container("web", a_mount("bind", f"{FOLDER}/conf", rw=False))
    assert mounts_of(FOLDER, None, [web]) == ()


def test_a_socket_is_no_place_for_data(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        web = a_container("web", a_mount("bind", str(place)))
        assert mounts_of(FOLDER, None, [web]) == ()
