"""Putting the catalog's files between what containers and people wrote (promises 1 and 25)."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from composia.agent.checkout import Checkouts
from composia.agent.placing import Placing
from composia.errors import Conflict, Failure, Invalid, NotFound
from composia.model.service import ServiceRef
from composia.operations.arriving import ClearTarget
from composia.operations.base import Files
from tests.twins.controller import a_bundle

COMPOSE = {"docker-compose.yaml": "services: {}\n"}


def ref(revision: str = "r1", name: str = "my-app", folder: str = "app") -> ServiceRef:
    return ServiceRef(
        name=name,
        folder=folder,
        project=name,
        compose_files=("docker-compose.yaml",),
        revision=revision,
    )


class Node:
    """A node's folders, and the catalog it is given files from."""

    def __init__(self, tmp_path: Path) -> None:
        self.checkouts = Checkouts(tmp_path / "services", tmp_path / "state")
        self.folder = tmp_path / "services" / "app"
        self.fetched = 0

    async def update(
        self, files: Mapping[str, str], revision: str = "r1", how: Files = Files.UPDATE
    ) -> bool:
        return await self.give(a_bundle(files), revision, how)

    async def give(self, bundle: bytes, revision: str = "r1", how: Files = Files.UPDATE) -> bool:
        async def fetch() -> IO[bytes]:
            self.fetched += 1
            return io.BytesIO(bundle)

        return await self.checkouts.bring(ref(revision), how, fetch)

    def write(self, path: str, text: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()


class SlowDisk:
    """A disk that is flushed when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.goes_on = threading.Event()
        flush = Placing.flush

        def slow(placing: Placing) -> None:
            self.begun.set()
            assert self.goes_on.wait(30)
            flush(placing)

        monkeypatch.setattr(Placing, "flush", slow)

    async def is_written(self) -> None:
        """Wait until files are there that are not flushed."""
        assert await asyncio.to_thread(self.begun.wait, 30)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_files_come_with_their_content_and_mode(node: Node) -> None:
    changed = await node.update({**COMPOSE, "bin/start": "#!/bin/sh\n", "latest": "-> bin/start"})
    assert changed
    assert node.read("docker-compose.yaml") == "services: {}\n"
    assert (node.folder / "bin/start").stat().st_mode & 0o777 == 0o755
    assert (node.folder / "docker-compose.yaml").stat().st_mode & 0o777 == 0o644
    assert (node.folder / "latest").readlink() == Path("bin/start")


async def test_what_containers_wrote_stays_when_files_come_and_go(node: Node) -> None:
    await node.update({**COMPOSE, "data/.gitkeep": "", "old.conf": "old"})
    node.write("data/upload", "mine")
    await node.update({**COMPOSE, "new.conf": "new"}, "r2")
    assert node.read("data/upload") == "mine"
    assert not (node.folder / "old.conf").exists()
    assert node.read("new.conf") == "new"


async def test_a_file_of_ours_that_was_changed_is_kept_when_the_catalog_drops_it(
    node: Node,
) -> None:
    await node.update({**COMPOSE, "app.db": "empty"})
    node.write("app.db", "full of data")
    await node.update(COMPOSE, "r2")
    assert node.read("app.db") == "full of data"


async def test_a_file_of_ours_that_somebody_changed_is_replaced(node: Node) -> None:
    await node.update({**COMPOSE, "conf": "theirs"})
    node.write("conf", "edited by hand")
    assert await node.update({**COMPOSE, "conf": "theirs"})
    assert node.read("conf") == "theirs"


async def test_a_file_in_the_way_is_a_conflict_and_nothing_is_changed(node: Node) -> None:
    node.write("conf", "somebody else's")
    with pytest.raises(Conflict, match=r"\./conf"):
        await node.update({**COMPOSE, "conf": "ours"})
    assert node.read("conf") == "somebody else's"
    assert not (node.folder / "docker-compose.yaml").exists()


async def test_a_folder_that_holds_the_same_files_already_is_taken_over(node: Node) -> None:
    node.write("docker-compose.yaml", "services: {}\n")
    assert not await node.update(COMPOSE)
    await node.update({"docker-compose.yaml": "services: {web: {}}\n"}, "r2")
    assert node.read("docker-compose.yaml") == "services: {web: {}}\n"


async def test_the_same_revision_again_asks_for_nothing(node: Node) -> None:
    await node.update(COMPOSE)
    assert not await node.update(COMPOSE)
    assert node.fetched == 1


async def test_a_file_that_is_the_same_is_never_touched(node: Node) -> None:
    await node.update({**COMPOSE, "mounted.conf": "same"})
    before = (node.folder / "mounted.conf").stat()
    await node.update({**COMPOSE, "mounted.conf": "same", "other": "new"}, "r2")
    after = (node.folder / "mounted.conf").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


async def test_a_mode_that_a_person_made_stricter_stays(node: Node) -> None:
    await node.update({**COMPOSE, "secret.env": "A=1"})
    (node.folder / "secret.env").chmod(0o600)
    await node.update({**COMPOSE, "secret.env": "A=2"}, "r2")
    assert (node.folder / "secret.env").stat().st_mode & 0o777 == 0o600
    assert node.read("secret.env") == "A=2"


async def test_a_link_on_the_way_is_not_followed_out_of_the_folder(
    node: Node, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    node.folder.mkdir(parents=True)
    (node.folder / "data").symlink_to(outside)
    with pytest.raises(Failure, match="cannot be reached"):
        await node.update({**COMPOSE, "data/x": "1"})
    assert list(outside.iterdir()) == []


async def test_a_link_in_place_of_a_file_of_ours_is_not_written_through(
    node: Node, tmp_path: Path
) -> None:
    await node.update({**COMPOSE, "conf": "1"})
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (node.folder / "conf").unlink()
    (node.folder / "conf").symlink_to(victim)
    await node.update({**COMPOSE, "conf": "2"}, "r2")
    assert victim.read_text() == "precious"
    assert node.read("conf") == "2"


async def test_an_empty_folder_that_docker_made_gives_way_to_the_file(node: Node) -> None:
    (node.folder / "conf").mkdir(parents=True)
    await node.update({**COMPOSE, "conf": "1"})
    assert node.read("conf") == "1"


async def test_a_file_becomes_a_folder_in_the_catalog(node: Node) -> None:
    await node.update({**COMPOSE, "conf": "1"})
    await node.update({**COMPOSE, "conf/part": "2"}, "r2")
    assert node.read("conf/part") == "2"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", ".git/config"])
async def test_a_bundle_whose_names_lead_elsewhere_is_refused(node: Node, name: str) -> None:
    with pytest.raises(Failure):
        await node.update({**COMPOSE, name: "x"})
    assert not (node.folder / "docker-compose.yaml").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../other", "a/../../../x"])
async def test_a_bundle_whose_links_lead_elsewhere_is_refused(node: Node, target: str) -> None:
    with pytest.raises(Failure, match="link inside"):
        await node.update({**COMPOSE, "link": f"-> {target}"})


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
async def test_a_bundle_with_devices_or_hard_links_is_refused(node: Node, kind: bytes) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "docker-compose.yaml"
        tar.addfile(info)
    with pytest.raises(Failure, match="neither a file nor a link"):
        await node.give(made.getvalue())


async def test_what_is_no_archive_is_refused(node: Node) -> None:
    with pytest.raises(Failure, match="no tar archive"):
        await node.give(b"<html>not found</html>" * 100)


@pytest.mark.parametrize("folder", ["..", ".", "", "a/b", ".composia", "/etc", "ö", "x" * 300])
async def test_a_hostile_folder_name_is_refused(node: Node, folder: str) -> None:
    with pytest.raises(Invalid):
        node.checkouts.folder(ref(folder=folder))


async def test_without_an_update_a_service_that_was_never_deployed_is_not_found(
    node: Node,
) -> None:
    with pytest.raises(NotFound, match="never deployed"):
        await node.update(COMPOSE, how=Files.AS_THEY_ARE)


async def test_a_target_that_nothing_has_come_to_is_cleared_all_the_same(node: Node) -> None:
    await node.update(COMPOSE, how=ClearTarget.files)
    assert node.fetched == 0


async def test_where_it_is_checked_out_another_revision_is_left_alone(node: Node) -> None:
    await node.update(COMPOSE)
    await node.update({"docker-compose.yaml": "services: {web: {}}\n"}, "r2", Files.IF_ABSENT)
    assert node.read("docker-compose.yaml") == "services: {}\n"
    manifest = node.checkouts.manifest(ref())
    assert manifest
    assert manifest.service.revision == "r1"


async def test_a_folder_of_another_service_is_not_taken_over(node: Node) -> None:
    await node.update(COMPOSE)
    with pytest.raises(Conflict, match="holds service my-app"):
        node.checkouts.manifest(ref(name="other"))


async def test_after_an_update_that_broke_off_its_files_are_still_ours(
    node: Node, tmp_path: Path
) -> None:
    await node.update({**COMPOSE, "a": "1"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (node.folder / "z").symlink_to(outside)
    with pytest.raises(Failure):
        await node.update({**COMPOSE, "a": "2", "b": "2", "z/x": "2"}, "r2")
    (node.folder / "z").unlink()
    await node.update({**COMPOSE, "a": "3", "b": "3"}, "r3")
    assert (node.read("a"), node.read("b")) == ("3", "3")


async def test_what_several_need_for_the_first_time_is_written_once(node: Node) -> None:
    many = {**COMPOSE, **{f"conf/{number}": str(number) for number in range(20)}}
    brought = [node.update(many, how=Files.IF_ABSENT) for _ in range(6)]
    assert await asyncio.gather(*brought) == [True] * 6
    manifest = node.checkouts.manifest(ref())
    assert manifest
    assert not manifest.writing
    assert len(manifest.files) == len(many)


async def test_whoever_needs_what_is_being_written_waits_for_its_end(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.update({**COMPOSE, "conf": "old"})
    disk = SlowDisk(monkeypatch)
    deploying = asyncio.create_task(node.update({**COMPOSE, "conf": "new"}, "r2"))
    await disk.is_written()
    needing = asyncio.create_task(node.update({**COMPOSE, "conf": "old"}, "r1", Files.IF_ABSENT))
    await asyncio.sleep(0.05)
    assert not needing.done()
    disk.goes_on.set()
    assert await deploying
    assert not await needing
    manifest = node.checkouts.manifest(ref())
    assert manifest
    assert (manifest.service.revision, manifest.writing) == ("r2", False)
    assert node.read("conf") == "new"
    assert node.fetched == 2


async def test_whoever_waits_for_the_controller_keeps_nobody_from_a_folder(node: Node) -> None:
    await node.update(COMPOSE)
    asked = asyncio.Event()

    async def never() -> IO[bytes]:
        asked.set()
        await asyncio.Event().wait()
        return io.BytesIO()

    deploying = asyncio.create_task(node.checkouts.bring(ref("r2"), Files.UPDATE, never))
    await asked.wait()
    async with asyncio.timeout(30):
        assert not await node.update(COMPOSE, how=Files.IF_ABSENT)
        assert not await node.update(COMPOSE, how=Files.AS_THEY_ARE)
    deploying.cancel()
    await asyncio.gather(deploying, return_exceptions=True)


async def test_a_cancelled_update_lets_go_of_the_folder_when_nothing_writes_there(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    deploying = asyncio.create_task(node.update({**COMPOSE, "conf": "old"}))
    await disk.is_written()
    deploying.cancel()
    again = asyncio.create_task(node.update({**COMPOSE, "conf": "new"}, "r2"))
    await asyncio.sleep(0.05)
    assert not deploying.done()
    assert not again.done()
    disk.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await deploying
    assert await again
    assert node.read("conf") == "new"
