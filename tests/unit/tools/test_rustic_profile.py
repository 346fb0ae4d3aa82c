"""Which profile counts, and what in it concerns us."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from composia.errors import Invalid
from composia.tools.compose import ComposeConfig, ComposeService, ComposeVolume, ServiceMount
from composia.tools.rustic_profile import Mounts, Profile, find_profile


def service(*mounts: ServiceMount, command: tuple[str, ...] | None = None) -> ComposeService:
    return ComposeService(
        name="rustic", image="rustic", entrypoint=None, command=command, environment={},
        mounts=mounts, user=None,
    )  # fmt: skip


def bind(source: Path, target: str) -> ServiceMount:
    return ServiceMount(type="bind", source=str(source), target=target, read_only=False)


def mounts(of: ComposeService, **volumes: Path) -> Mounts:
    config = ComposeConfig(
        services={"rustic": of},
        volumes={key: ComposeVolume(key=key, name=f"p_{key}", external=False) for key in volumes},
    )

    async def mountpoint(name: str) -> Path | None:
        return volumes.get(name.removeprefix("p_"))

    return Mounts(config, of, mountpoint)


async def find(name: str, of: ComposeService, home: str = "/root") -> Profile:
    return await find_profile(name, of, mounts(of), home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rustic", "other", "default"):
        (tmp_path / f"{name}.toml").write_text(f'[repository]\nrepository = "/{name}"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("name", "command", "file"),
    [
        ("default", ("rustic", "-c", "/config/rustic.toml"), "/config/rustic.toml"),
        ("default", ("rustic", "-P", "/config/other"), "/config/other.toml"),
        ("default", ("rustic", "--use-profile=other"), "/config/other.toml"),
        ("default", None, "/config/default.toml"),
        ("other", ("rustic", "-c", "/config/rustic.toml"), "/config/other.toml"),
        ("gone", ("rustic", "-c", "/config/rustic.toml"), "/config/rustic.toml"),
    ],
)
async def test_the_profile_is_looked_for_in_order(
    folder: Path, name: str, command: tuple[str, ...] | None, file: str
) -> None:
    found = await find(name, service(bind(folder, "/config"), command=command))

    assert found.file == file


async def test_default_also_stands_for_rustics_own(folder: Path) -> None:
    (folder / "default.toml").unlink()

    found = await find("default", service(bind(folder, "/home/me/.config/rustic")), "/home/me")

    assert found.file == "/home/me/.config/rustic/rustic.toml"
    assert found.repository == "/rustic"


async def test_a_single_file_may_be_mounted(folder: Path) -> None:
    mounted = service(bind(folder / "other.toml", "/etc/rustic/rustic.toml"))

    assert (await find("default", mounted)).repository == "/other"


async def test_none_found_names_where_was_looked(folder: Path) -> None:
    with pytest.raises(Invalid, match=r"/config/x\.toml, /etc/rustic/x\.toml, /root/\.config/"):
        await find("x", service(bind(folder, "/somewhere")))


async def test_the_nearest_mount_counts(tmp_path: Path) -> None:
    found = mounts(service(bind(tmp_path / "a", "/a"), bind(tmp_path / "b", "/a/b")))

    assert await found.host_path("/a/b/c") == tmp_path / "b" / "c"
    assert await found.host_path("/a/x") == tmp_path / "a" / "x"
    assert await found.host_path("/ab") is None


async def test_a_volume_is_found_on_this_machine(tmp_path: Path) -> None:
    mounted = service(
        ServiceMount(type="volume", source="repo", target="/repo", read_only=False),
        ServiceMount(type="volume", source=None, target="/anonymous", read_only=False),
        ServiceMount(type="tmpfs", source=None, target="/tmp", read_only=False),
    )
    found = mounts(mounted, repo=tmp_path)

    assert await found.host_path("/repo/x") == tmp_path / "x"
    assert await found.host_path("/anonymous") is None
    assert await found.host_path("/tmp/x") is None


async def test_included_profiles_count_too_and_once(folder: Path) -> None:
    (folder / "rustic.toml").write_text(
        '[global]\nuse-profiles = ["more", "rustic"]\n[backup]\nglobs = ["!a"]\n'
    )
    (folder / "more.toml").write_text(
        '[repository]\nrepository = "/repo"\n[backup]\nglobs = "!b"\n'
    )

    found = await find("rustic", service(bind(folder, "/config")))

    assert found.globs == ("!a", "!b")
    assert found.filters
    assert found.repository == "/repo"


@pytest.mark.parametrize(
    ("setting", "filters"),
    [
        ('exclude-if-present = [".nobackup"]', True),
        ("git-ignore = true", True),
        ('exclude-larger-than = "1GiB"', True),
        ('iglob-files = ["/config/globs"]', True),
        ("git-ignore = false", False),
        ('host = "mine"', False),
    ],
)
async def test_a_profile_that_leaves_something_out_is_known(
    folder: Path, setting: str, filters: bool
) -> None:
    (folder / "rustic.toml").write_text(f"[backup]\n{setting}\n")

    assert (await find("rustic", service(bind(folder, "/config")))).filters is filters


async def test_a_refused_setting_in_an_included_profile_is_found(folder: Path) -> None:
    (folder / "rustic.toml").write_text('[global]\nuse-profiles = ["more"]\n')
    (folder / "more.toml").write_text("[global]\ndry-run = true\n")

    with pytest.raises(Invalid, match=r"sets \[global\] dry-run: nothing would ever be saved"):
        await find("rustic", service(bind(folder, "/config")))


async def test_a_refused_setting_that_is_off_is_no_matter(folder: Path) -> None:
    (folder / "rustic.toml").write_text("[global]\ndry-run = false\n[snapshot-filter]\n")

    assert await find("rustic", service(bind(folder, "/config")))


async def test_only_the_very_profile_of_a_copy_will_do(folder: Path) -> None:
    of = service(bind(folder, "/config"), command=("rustic", "-c", "/config/rustic.toml"))
    found = await find_profile("other", of, mounts(of), "/root", exact=True)
    assert found.file == "/config/other.toml"
    with pytest.raises(Invalid, match="no rustic profile 'gone'"):
        await find_profile("gone", of, mounts(of), "/root", exact=True)


@pytest.mark.parametrize(
    "line", ['password = "${PASSWORD}"', 'options = {bucket = "${BUCKET}"}'], ids=["it", "options"]
)
async def test_a_copy_is_never_encrypted_with_the_name_of_a_variable(
    folder: Path, line: str
) -> None:
    (folder / "other.toml").write_text(f"[repository]\n{line}\n")
    of = service(bind(folder, "/config"))
    with pytest.raises(Invalid, match="does not fill it in for a copy"):
        await find_profile("other", of, mounts(of), "/root", exact=True)
    assert await find_profile("other", of, mounts(of), "/root")


async def test_a_broken_profile_is_told_without_its_content(folder: Path) -> None:
    (folder / "rustic.toml").write_text('[repository]\npassword = "secret\n')

    with pytest.raises(Invalid, match="not valid TOML") as caught:
        await find("rustic", service(bind(folder, "/config")))

    assert "secret" not in str(caught.value)


VARIABLES = (
    "PATH", "RUSTIC_REPOSITORY", "RUSTIC_PASSWORD_FILE", "RUSTIC_DRY_RUN", "RUSTIC_CACHE_DIR",
    "RUSTIC_MINE", "RUSTIC_KEY",
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "text", "unset"),
    [
        ({}, "", {"RUSTIC_DRY_RUN", "RUSTIC_MINE"}),
        ({}, "password = '${RUSTIC_MINE}'", {"RUSTIC_DRY_RUN"}),
        ({"repository": "/r"}, "", {"RUSTIC_DRY_RUN", "RUSTIC_MINE", "RUSTIC_REPOSITORY"}),
        ({"password": "x"}, "", {"RUSTIC_DRY_RUN", "RUSTIC_MINE", "RUSTIC_PASSWORD_FILE"}),
        ({"key-file": "x"}, "", {"RUSTIC_DRY_RUN", "RUSTIC_MINE", "RUSTIC_KEY"}),
    ],
)
def test_variables_that_would_win_over_the_profile_are_unset(
    settings: dict[str, str], text: str, unset: set[str]
) -> None:
    profile = Profile("/config/rustic.toml", text, ({"repository": settings},))

    assert set(profile.neutralised(VARIABLES)) == unset


@pytest.mark.parametrize(
    ("more", "variables", "stays"),
    [
        ("", {"PATH", "RUSTIC_REPOSITORY"}, True),
        ('[backup]\nglobs = ["!*.tmp"]\n[global]\nlog-level = "info"\n', set(), True),
        ("[copy]\ntargets = ['offsite']\n", set(), True),
        ("[repository]\nrepo-hot = '/hot'\n", set(), False),
        ("[repository]\npassword-command = 'pass show x'\n", set(), False),
        ("[global]\nprometheus = 'http://push:9091'\n", set(), False),
        ("[backup.hooks]\nrun-before = ['curl https://hc.example.com']\n", set(), False),
        ("[[backup.snapshots]]\nhooks = {run-after = []}\n", set(), False),
        ("[repository.hooks]\nrun-failed = ['x']\n", set(), False),
        ("", {"RUSTIC_PROMETHEUS"}, False),
        ("", {"RUSTIC_PASSWORD_COMMAND"}, False),
        ("", {"OPENDAL_ENDPOINT"}, False),
    ],
)
def test_rustic_needs_no_network_only_where_nothing_reaches_out(
    more: str, variables: set[str], stays: bool
) -> None:
    profile = Profile("/config/rustic.toml", more, (tomllib.loads(more),))
    assert profile.stays_here(variables) is stays
