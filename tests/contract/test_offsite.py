"""Copies off site, on a real S3 server: proven by listing, resumed, and restored from."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from composia.agent.passage import nobodys_certificate
from composia.errors import Conflict, Failure, Invalid
from composia.model.service import RepositoryRef
from composia.operations.offsite import CopySnapshots, SnapshotsCopied, in_copy
from composia.operations.restore import FetchData, ItemToRestore
from composia.strategies.base import Site, Wanted
from composia.strategies.files_copy import FilesCopyBack
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.rustic_engine import ContainerEngine, RusticEngine
from composia.tools.rustic_service import ServiceContainer
from composia.tools.shell import LocalShell
from tests.contract.repository import LABELS, PASSWORD, PROFILE, Place, nothing
from tests.contract.test_engine import KEY, save
from tests.lab import keys
from tests.lab.engines import docker_env
from tests.s3 import S3, reachable, served
from tests.twins.site import Twins
from tests.unit.operations.test_repository import INFRA

OTHER_PASSWORD = "planted-other-password"  # planted, to be looked for


@pytest.fixture(scope="module")
def s3(docker_host: str) -> Iterator[S3]:
    """One server; each test has a root of its own there."""
    with served(asyncio.run(reachable(LocalShell(docker_env(docker_host))))) as server:
        yield server
        server.takes = None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template")


@pytest.fixture
def place(tmp_path: Path, docker: Docker, shell: LocalShell) -> Place:
    made = Place(tmp_path, docker, shell)
    (tmp_path / "config/nobody.pem").write_bytes(nobodys_certificate())
    made.service |= {
        "network_mode": "host",
        "environment": {"SSL_CERT_FILE": "/config/nobody.pem"},
    }
    return made


class OffSite:
    """A repository with one backup, and a place for its copy."""

    def __init__(self, place: Place, tmp_path: Path, s3: S3) -> None:
        self.place, self.s3 = place, s3
        self.root = f"/{secrets.token_hex(4)}"
        place.write_profile(s3.profile(OTHER_PASSWORD, self.root), "offsite-s3.toml")
        self.twins = Twins(tmp_path / "service")
        self.known: str | None = None
        self.engine: RusticEngine

    def target(self, profile: str = "offsite-s3") -> ContainerEngine:
        """The copy, as an agent works with it."""
        source = self.place.engine()._container
        assert isinstance(source, ServiceContainer)
        compose = Compose(
            self.place.shell, self.place.folder, source._compose.project, ["compose.yaml"]
        )
        return ContainerEngine(
            ServiceContainer(
                compose, self.place.docker, self.place.shell, compose_service="rustic",
                profile=profile, exact=True, origin="01TASK", note=self.twins.notes.note,
            )
        )  # fmt: skip

    def site(self, profile: str = "offsite-s3") -> Site:
        return replace(
            self.twins.site,
            repository=self.engine,
            offsite=self.target(profile),
            docker=self.place.docker,
        )

    async def copy(self, profile: str = "offsite-s3") -> SnapshotsCopied:
        operation = CopySnapshots(
            service=INFRA,
            repository=ref("default"),
            offsite=ref(profile, copy="s3", repository_id=self.known),
        )
        return await operation.perform(self.site(profile))


def ref(profile: str, copy: str | None = None, repository_id: str | None = None) -> RepositoryRef:
    return RepositoryRef(
        service=INFRA, compose_service="rustic", profile=profile,
        repository_id=repository_id, copy_name=copy,
    )  # fmt: skip


@pytest.fixture
async def offsite(place: Place, tmp_path: Path, s3: S3, template: Path) -> OffSite:
    made = OffSite(place, tmp_path, s3)
    made.engine = await place.made(template)
    if not list((template / "snapshots").iterdir()):
        await save(made.engine, place.tree({"a": b"first", "sub/b": os.urandom(300_000)}))
        shutil.copytree(place.repo, template, dirs_exist_ok=True)
    return made


@pytest.fixture
async def copied(offsite: OffSite, template: Path) -> OffSite:
    """The same with a copy of that backup, made once."""
    kept = template.with_name("copy-id")
    if not kept.exists():
        made = await offsite.copy()
        assert (made.made, made.copied, made.already_there, made.missing) == (True, 1, 0, ())
        offsite.s3.lighten(offsite.root, OTHER_PASSWORD)
        offsite.s3.clone(offsite.root, "template")
        kept.write_text(made.repository_id)
    offsite.s3.clone("template", offsite.root)
    offsite.known = kept.read_text()
    return offsite


async def test_a_copy_brings_what_is_new_and_finds_the_rest_there(
    copied: OffSite,
) -> None:
    await save(copied.engine, copied.place.tree({"c": b"second"}))

    second = await copied.copy()

    assert (second.made, second.copied, second.already_there, second.missing) == (False, 1, 1, ())
    assert second.fault is None
    assert set(second.there) == {one.id for one in await copied.engine.snapshots()}
    assert second.repository_id != await copied.engine.repository_id()


async def test_a_copy_that_fails_half_way_is_no_success_and_goes_on_the_next_time(
    copied: OffSite,
) -> None:
    await save(copied.engine, copied.place.tree({"big": os.urandom(9_000_000)}, "more"))
    copied.s3.takes = 1

    broken = await copied.copy()
    copied.s3.takes = None
    resumed = await copied.copy()

    assert broken.problem
    assert len(broken.missing) == 1
    assert (resumed.copied, resumed.missing, resumed.problem) == (1, (), None)
    await copied.target().check(read_data=True)


async def test_a_copy_whose_data_was_deleted_there_is_not_sound_until_it_is_mended(
    copied: OffSite,
) -> None:
    """A pack of content: what names it is all there."""
    copied.s3.lose(max(copied.s3.objects(f"{copied.root}/data"), key=copied.s3.size))

    again = await copied.copy()
    # As docs/guide/offsite.md says.
    run = copied.target()._container.run
    (damaged,) = [one.id for one in await copied.target().snapshots()]
    repaired, looked, forgotten = [
        (await run(*words)).code
        for words in (["repair", "index"], ["check", damaged], ["forget", damaged])
    ]
    mended = await copied.copy()

    # It lists everything, and rustic says that there is nothing to do.
    assert (again.copied, again.already_there, again.missing, again.problem) == (0, 1, (), None)
    assert again.fault
    assert "is damaged" in again.fault.message
    assert (repaired, looked, forgotten) == (0, 1, 0)
    assert (mended.copied, mended.missing, mended.fault) == (1, (), None)
    await copied.target().check(read_data=True)


async def test_a_place_that_takes_nothing_is_an_error_that_tells_no_secret(
    offsite: OffSite,
) -> None:
    offsite.s3.takes = 0

    with pytest.raises(Failure) as caught:
        await offsite.copy()

    offsite.s3.takes = None
    assert "planted" not in f"{caught.value} {caught.value.hint} {offsite.place.seen}"


async def test_what_is_no_copy_of_the_repository_is_refused(offsite: OffSite) -> None:
    offsite.place.write_profile(PROFILE, "same.toml")

    with pytest.raises(Conflict, match="names the repository itself"):
        await offsite.copy("same")
    with pytest.raises(Invalid, match="no rustic profile 'elsewhere'"):
        await offsite.copy("elsewhere")
    offsite.known = "c" * 64
    with pytest.raises(Failure, match="gone"):
        await offsite.copy()

    assert offsite.s3.objects(offsite.root) == []


async def test_another_folder_can_be_the_copy_too(offsite: OffSite) -> None:
    offsite.place.service["volumes"].append("./other:/other")
    (offsite.place.folder / "other").mkdir()
    offsite.place.write_profile(PROFILE.replace("/repo", "/other"), "disk.toml")

    done = await offsite.copy("disk")

    assert (done.made, done.missing) == (True, ())
    keys = offsite.place.folder / "other/keys"
    assert [path.stat().st_mode & 0o777 for path in keys.iterdir()] == [0o600]


async def test_a_backup_comes_back_from_the_copy_when_the_repository_is_gone(
    copied: OffSite,
) -> None:
    (original,) = [one.id for one in await copied.engine.snapshots()]
    (copied.place.repo / "config").unlink()
    site = replace(copied.site(), repository=copied.target())
    wanted = Wanted(item="uploads", backup_id="01B", snapshot_id=original, saved_by="files.copy")
    fetching = FetchData(
        service=INFRA,
        repository=ref("offsite-s3", "s3", copied.known),
        items=(ItemToRestore(wanted=wanted, strategy=FilesCopyBack(include=("./data/uploads",))),),
        to="scratch",
    )

    found = await fetching.perform(site)

    assert Path(str(found.folder), "uploads", KEY, "a").read_bytes() == b"first"


async def test_a_copy_that_became_the_repository_has_copies_of_its_own(offsite: OffSite) -> None:
    """rustic names the first snapshot in a copy of a copy: not the one it was made of."""
    place = offsite.place
    for name in ("first", "second"):
        place.service["volumes"].append(f"./{name}:/{name}")
        (place.folder / name).mkdir()
        place.write_profile(PROFILE.replace("/repo", f"/{name}"), f"{name}.toml")
    await offsite.copy("first")
    keys.lighten(place.folder / "first", PASSWORD)
    copying = CopySnapshots(
        service=INFRA, repository=ref("first"), offsite=ref("second", copy="second")
    )
    site = replace(
        offsite.site("second"), repository=offsite.target("first"), offsite=offsite.target("second")
    )
    (own,) = await site.engine.snapshots()

    done = await copying.perform(site)
    keys.lighten(place.folder / "second", PASSWORD)
    again = await copying.perform(site)

    assert (done.copied, done.missing, done.there) == (1, (), (own.id,))
    assert done.originals == {own.id: own.original}
    assert own.original != own.id
    assert (again.copied, again.already_there, again.missing) == (0, 1, ())
    wanted = Wanted(
        item="uploads", backup_id="01B", snapshot_id=own.id, original=own.original,
        saved_by="files.copy",
    )  # fmt: skip
    (found,) = await in_copy([wanted], replace(site, repository=offsite.target("second")))
    assert found.snapshot_id == (await offsite.target("second").snapshots())[0].id


async def test_a_repository_lives_in_s3_from_the_start(place: Place, s3: S3) -> None:
    place.write_profile(s3.profile(PASSWORD, "/first"))
    engine = place.engine()

    with pytest.raises(Failure, match="cannot see whether it is empty"):
        await engine.repository_id()
    made = await engine.init()
    s3.lighten("/first", PASSWORD)
    saved = await save(engine, place.tree({"a": b"1"}))
    restored = place.new_folder()
    await engine.restore(saved.snapshot.id, {KEY: restored}, on_progress=nothing)

    assert await engine.repository_id() == made
    assert (restored / "a").read_bytes() == b"1"
    assert LABELS.node == (await engine.snapshots())[0].host
    assert isinstance(engine, RusticEngine)
