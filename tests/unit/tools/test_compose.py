"""docker compose: the commands, and what it says about its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composia.errors import CommandFailed, Failure, Invalid
from composia.tools.compose import Compose
from tests.twins.shell import Answer, MemoryShell, always

FOLDER = Path("/srv/my-app")
START = (
    "docker", "compose", "--ansi", "never", "--progress", "quiet", "--project-directory",
    "/srv/my-app", "-p", "app", "-f", "docker-compose.yaml", "-f", "more.yaml",
)  # fmt: skip
CONFIG = {
    "services": {
        "web": {
            "image": "busybox",
            "command": ["sh", "-c", "echo $$HOME"],
            "entrypoint": None,
            "environment": {"A": "p$$w", "B": None},
            "user": "33",
            "volumes": [
                {"type": "bind", "source": "/srv/my-app/d$$x", "target": "/d", "read_only": True},
                {"type": "volume", "source": "cache", "target": "/cache", "volume": {}},
                {"type": "volume", "target": "/anonymous", "volume": {}},
            ],
        },
        "built": {"build": {"context": "."}, "command": None, "entrypoint": []},
    },
    "volumes": {"cache": {"name": "app_cache"}, "old": {"name": "real", "external": True}},
}


def compose(shell: MemoryShell) -> Compose:
    return Compose(shell, FOLDER, "app", ["docker-compose.yaml", "more.yaml"])


@pytest.fixture
def shell() -> MemoryShell:
    return MemoryShell(always(stdout=json.dumps(CONFIG).encode()))


async def test_up_starts_in_the_background_and_removes_no_orphans(shell: MemoryShell) -> None:
    await compose(shell).up("web")

    assert shell.argvs == [(*START, "up", "-d", "--quiet-pull", "web")]
    assert shell.commands[0].cwd == FOLDER


async def test_a_deploy_is_one_call(shell: MemoryShell) -> None:
    await compose(shell).up()

    assert len(shell.commands) == 1


async def test_the_other_verbs_are_one_call_each(shell: MemoryShell) -> None:
    project = compose(shell)

    calls = [project.create(), project.pull(), project.stop("a"), project.start()]
    for call in (*calls, project.restart()):
        await call

    assert [" ".join(argv[len(START) :]) for argv in shell.argvs] == [
        "create", "pull --quiet --ignore-buildable", "stop a", "start", "restart",
    ]  # fmt: skip


async def test_taking_a_project_down_leaves_its_volumes(shell: MemoryShell) -> None:
    await compose(shell).down()

    (command,) = shell.commands
    assert command.argv == (*START, "down")


def test_run_has_a_name_and_starts_nothing_else(shell: MemoryShell) -> None:
    command = compose(shell).run(
        "db", "x", name="ours", mounts={Path("/a"): "/b:ro"}, entrypoint="sh"
    )

    assert command.argv == (
        *START, "run", "--rm", "--no-deps", "-T", "--name", "ours", "-v", "/a:/b:ro",
        "--entrypoint", "sh", "db", "x",
    )  # fmt: skip


def test_an_override_stands_last(shell: MemoryShell) -> None:
    project = compose(shell).with_override(Path("/tmp/more.json"))

    assert project.command("ps").argv == (*START, "-f", "/tmp/more.json", "ps")


async def test_the_files_are_read_once(shell: MemoryShell) -> None:
    project = compose(shell)

    assert await project.config() is await project.config()
    assert shell.argvs == [(*START, "--profile", "*", "config", "--format", "json")]


async def test_a_service_is_read_with_its_mounts(shell: MemoryShell) -> None:
    web = (await compose(shell).config()).services["web"]

    assert web.command == ("sh", "-c", "echo $HOME")
    assert web.environment == {"A": "p$w", "B": None}
    assert (web.entrypoint, web.user) == (None, "33")
    assert [(mount.type, mount.source, mount.target, mount.read_only) for mount in web.mounts] == [
        ("bind", "/srv/my-app/d$x", "/d", True),
        ("volume", "cache", "/cache", False),
        ("volume", None, "/anonymous", False),
    ]


async def test_no_entry_point_is_told_from_the_images_own(shell: MemoryShell) -> None:
    built = (await compose(shell).config()).services["built"]

    assert (built.image, built.entrypoint, built.command) == (None, (), None)


async def test_volumes_have_their_real_names(shell: MemoryShell) -> None:
    volumes = (await compose(shell).config()).volumes

    assert [(volume.key, volume.name, volume.external) for volume in volumes.values()] == [
        ("cache", "app_cache", False),
        ("old", "real", True),
    ]


async def test_a_file_that_compose_refuses_is_the_users_to_mend() -> None:
    shell = MemoryShell(always(code=15, stderr=b"services.web Additional property imge"))

    with pytest.raises(
        Invalid, match=r"docker-compose\.yaml, more\.yaml of app: .* imge"
    ) as caught:
        await compose(shell).config()

    assert "docker compose config" in (caught.value.hint or "")


async def test_a_missing_plugin_is_told() -> None:
    shell = MemoryShell(always(code=125, stderr=b"unknown flag: --ansi"))

    with pytest.raises(Failure, match="docker compose does not work here"):
        await compose(shell).config()


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Bind for 0.0.0.0:80 failed: port is already allocated", "ss -ltnp"),
        ("pull access denied for x, repository does not exist", "`image`"),
        ("dial tcp: lookup registry.example.com: no such host", "registry could not be reached"),
        ("Cannot connect to the Docker daemon at unix:///x", "Start the Docker engine"),
        ('The container name "/web" is already in use by container "ab"', "A container web is"),
        ("network proxy declared as external, but could not be found", "network create proxy"),
        ("failed to create network: network proxy not found", "network create proxy"),
        ('external volume "real" not found', "volume create real"),
        (
            "failed to mount local volume: mount /srv/x:/d/volumes/x/_data, flags: 0x1000: no such"
            " file or directory",
            "mkdir -p /srv/x",
        ),
        ("write /x: no space left on device", "disk of this node is full"),
    ],
)
async def test_a_failure_quotes_compose_and_names_the_next_step(said: str, hint: str) -> None:
    shell = MemoryShell(always(code=1, stderr=said.encode()))

    with pytest.raises(CommandFailed, match="docker compose up of app failed") as caught:
        await compose(shell).up()

    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


async def test_what_never_ran_is_removed_without_its_volumes_and_another_gets_its_name() -> None:
    shell = MemoryShell(lambda _: Answer())
    project = compose(shell)

    await project.remove_unused([])
    await project.remove_unused(["ab", "cd"])
    await project.rename("ef", "app-web-1")

    assert [one.argv for one in shell.commands] == [
        ("docker", "rm", "--", "ab", "cd"),
        ("docker", "rename", "ef", "app-web-1"),
    ]


async def test_a_failure_without_words_names_its_code() -> None:
    shell = MemoryShell(lambda _: Answer(code=7))

    with pytest.raises(CommandFailed, match="exit code 7"):
        await compose(shell).stop()


@pytest.mark.parametrize(
    "said",
    [
        'failed to read /srv/my-app/.env: line 2: unterminated quoted value "hunter2',
        "line 2: unterminated quoted value 'hunter2",
        'failed to read /srv/my-app/.env: line 2: unexpected character "+" in variable name'
        ' "hunter2+more=="',
        'unexpected character "\\n" in variable name near "hunter2\\nA=hunter2\\n"',
        'failed to read /srv/my-app/.env: Invalid template: "${hunter2"',
        "invalid interpolation format for services.web.environment.X.\nYou may need to escape any $"
        " with another $.\nabc${hunter2\nhunter2",
        'time="2026-11-29T21:54:35Z" level=warning msg="The \\"hunter2\\" variable is not set.'
        ' Defaulting to a blank string."\nno such image',
        f'line 1: unterminated quoted value "{"hunter2" * 1000}',
    ],
)
async def test_no_value_that_compose_quotes_is_told(said: str) -> None:
    shell = MemoryShell(always(code=1, stderr=said.encode()))
    for call in (compose(shell).up(), compose(shell).config()):
        with pytest.raises((CommandFailed, Invalid)) as caught:
            await call
        assert "hunter2" not in str(caught.value)
        # What is wrong, and where, is told all the same.
        assert said.split(" ", maxsplit=1)[0] in str(caught.value)
