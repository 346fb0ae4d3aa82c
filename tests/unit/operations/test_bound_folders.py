"""The target of a move: folders that its volumes bind are made, and taken away again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.operations import exchanging, fence
from composia.operations.arriving import ClearTarget, PrepareTarget
from composia.strategies.base import Swap
from composia.tools.compose import ComposeVolume
from composia.tools.volumes import VolumeKind
from tests.twins.shell import MemoryShell
from tests.twins.site import Twins
from tests.workflow.office import ref

PREPARE = PrepareTarget(service=ref(), images={}, epoch=1)
CLEAR = ClearTarget(service=ref(), epoch=2)


@pytest.fixture
def shell() -> MemoryShell:
    return MemoryShell()


@pytest.fixture
def twins(tmp_path: Path, shell: MemoryShell) -> Twins:
    (tmp_path / "services/my-app").mkdir(parents=True)
    made = Twins(tmp_path / "services/my-app", shell)
    made.site = replace(made.site, task="01MOVE", state=tmp_path / "state/instances/my-app")
    return made


def binds(twins: Twins, device: Path) -> None:
    twins.declare("media", VolumeKind(type="none", device=str(device)))


async def test_a_folder_is_made_before_compose_needs_it_and_goes_when_the_move_is_undone(
    twins: Twins, shell: MemoryShell, tmp_path: Path
) -> None:
    device = tmp_path / "disk/media"
    binds(twins, device)
    for _ in range(2):
        # Asked again after a crash it still knows what it has made.
        await PREPARE.perform(twins.site)
        assert device.is_dir()
    (device / "from the image").touch()
    assert any("create" in argv for argv in shell.argvs)
    await CLEAR.perform(twins.site)
    assert not device.exists()
    assert fence.read(twins.site.state) is None


async def test_a_folder_that_was_there_stays_with_what_is_in_it(
    twins: Twins, tmp_path: Path
) -> None:
    device = tmp_path / "disk/media"
    device.mkdir(parents=True)
    (device / "mine").touch()
    binds(twins, device)
    await PREPARE.perform(twins.site)
    await CLEAR.perform(twins.site)
    assert (device / "mine").exists()


def of_a_volume(tmp_path: Path) -> Swap:
    live = tmp_path / "volumes/app_kept/_data"
    return Swap(
        live=live,
        staged=tmp_path / "volumes/staged/_data",
        below=live.parent,
        known_as="kept",
        volume="app_kept",
    )


async def test_a_volume_that_compose_passes_over_is_made(twins: Twins, tmp_path: Path) -> None:
    twins.docker.volumes_at = tmp_path / "volumes"
    twins.declare("kept")
    await exchanging.make_places(twins.site, [of_a_volume(tmp_path)])
    assert twins.docker.volumes.keys() == {"app_kept"}


async def test_a_volume_of_somebody_else_is_not_made(twins: Twins, tmp_path: Path) -> None:
    twins.compose.declared["kept"] = ComposeVolume(key="kept", name="app_kept", external=True)
    with pytest.raises(Failure, match="volume app_kept of my-app does not exist on main"):
        await exchanging.make_places(twins.site, [of_a_volume(tmp_path)])


async def test_one_that_must_not_be_made_ends_it_before_anything_is_made(
    twins: Twins, shell: MemoryShell
) -> None:
    binds(twins, twins.site.repo_dir / "other/data")
    with pytest.raises(Failure, match="folder of services"):
        await PREPARE.perform(twins.site)
    assert shell.argvs == []
    assert not twins.site.state.exists()
