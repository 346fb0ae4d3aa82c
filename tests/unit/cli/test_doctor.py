from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import cast

import httpx2
import pytest

from composia.cli import checks, reaching, rustic_check
from composia.cli.check import Check, Level
from composia.errors import NotFound
from composia.model.catalog import COMPOSE_FILES
from composia.model.config import Config, load_config
from composia.tools.age import new_identity
from composia.tools.docker import Docker
from composia.tools.shell import LocalShell
from tests.twins.shell import Answer, MemoryShell, always, by_word

GOOD = """\
controller:
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens: [{{name: admin, token: 0123456789abcdef-admin}}]
  nodes: [{{id: main, token: 0123456789abcdef-agent}}]
agent:
  controller_addr: http://127.0.0.1:1
  node_id: main
  token: 0123456789abcdef-agent
  repo_dir: {folder}/services
  state_dir: {folder}/agent
"""


def a_config(folder: Path, old: str = "", new: str = "") -> tuple[Path, Config]:
    file = folder / "config.yaml"
    file.write_text(GOOD.format(folder=folder).replace(old, new))
    file.chmod(0o600)
    return file, load_config(file, {})


def worst(folder: Path, old: str = "", new: str = "") -> list[str]:
    found = checks.secrecy(*a_config(folder, old, new))
    return [check.message for check in found if check.level is not Level.OK]


def test_a_good_config_is_well(tmp_path: Path) -> None:
    assert worst(tmp_path) == []


def test_a_config_that_others_can_read_is_told(tmp_path: Path) -> None:
    file, config = a_config(tmp_path)
    file.chmod(0o644)
    (first, *_) = checks.secrecy(file, config)
    assert (first.level, first.hint) == (Level.WARN, f"chmod 600 {file}")


def test_a_file_with_a_secret_that_others_can_read_is_told(tmp_path: Path) -> None:
    node, agent, key = (tmp_path / name for name in ("node-token", "agent-token", "age.key"))
    for file in (node, agent):
        file.write_text("0123456789abcdef-agent\n")
    key.write_text(new_identity()[0])
    node.chmod(0o640)
    agent.chmod(0o644)
    key.chmod(0o600)
    text = (
        GOOD.replace("main, token: 0123456789abcdef-agent", "main, token_file: node-token")
        .replace("token: 0123456789abcdef-agent", "token_file: {folder}/agent-token")
        .replace("  nodes: ", "  secrets: {{identity_file: age.key}}\n  nodes: ")
    )
    file = tmp_path / "config.yaml"
    file.write_text(text.format(folder=tmp_path))
    file.chmod(0o600)

    def said() -> list[tuple[str, str | None]]:
        found = checks.secrecy(file, load_config(file, {}))
        return [(one.message, one.hint) for one in found if one.name == "secrecy"]

    assert said() == [
        (f"others can read {node}", f"chmod 600 {node}"),
        (f"others can read {agent}", f"chmod 600 {agent}"),
    ]
    node.chmod(0o600)
    agent.chmod(0o400)
    assert said() == [(f"only its owner can read {file}, {key}, {node}, {agent}", None)]


def test_a_token_that_is_easy_to_guess_is_named_and_not_shown(tmp_path: Path) -> None:
    (message,) = worst(tmp_path, "0123456789abcdef-admin", "change-me")
    assert message == "easy to guess: access token admin"


def test_whom_encrypted_files_are_for_is_told(tmp_path: Path) -> None:
    key, recipient = new_identity()
    (tmp_path / "age.key").write_text(key)
    secrets = "  secrets: {identity_file: age.key}\n  nodes: "
    found = list(checks.secrecy(*a_config(tmp_path, "  nodes: ", secrets)))
    assert ("secrets", Level.OK) in [(one.name, one.level) for one in found]
    assert f"encrypted files of the catalog are for {recipient}" in [one.message for one in found]
    assert key not in str(found)


@pytest.mark.parametrize("content", [None, "rubbish"])
async def test_an_identity_that_is_none_is_told_with_what_to_do(
    tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "age.key").write_text(content)
    file = tmp_path / "config.yaml"
    secrets = "  secrets: {identity_file: age.key}\n  nodes: "
    file.write_text(GOOD.format(folder=tmp_path).replace("  nodes: ", secrets))

    found = [one async for one in checks.all_checks(file, LocalShell()) if one.name == "config"]

    (wrong,) = [one.message for one in found if one.level is Level.FAIL]
    assert "controller.secrets.identity" in wrong
    assert ("new-identity" if content else "mend that, or name another file") in wrong


def test_an_agent_with_another_token_than_its_node_is_told(tmp_path: Path) -> None:
    (message,) = worst(tmp_path, "-agent\n", "-other-one\n")
    assert message == "agent.token is not that of node main"


def test_an_agent_of_an_unknown_node_is_told(tmp_path: Path) -> None:
    assert worst(tmp_path, "node_id: main", "node_id: edge") == ["controller.nodes has no edge"]


def test_nobody_who_may_do_everything_is_told(tmp_path: Path) -> None:
    assert worst(tmp_path, "-admin}", "-admin, enabled: false}") == [
        "no enabled access token has scope admin"
    ]


@pytest.mark.parametrize(
    ("version", "level"),
    [(None, Level.FAIL), ("2.20.3", Level.FAIL), ("2.26.1-4", Level.OK), ("v5.0.0", Level.OK)],
)
def test_compose_must_be_there_and_new_enough(version: str | None, level: Level) -> None:
    check = checks.compose_version(version)
    assert (check.level, bool(check.hint)) == (level, level is not Level.OK)


def test_an_engine_that_does_not_answer_says_how_to_mend_it() -> None:
    check = checks.engine_version(None)
    assert check.level is Level.FAIL
    assert check.hint
    assert "systemctl start docker" in check.hint


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    (tmp_path / "state").write_text("")
    bad = [check.name for check in checks.folders(config) if check.level is Level.FAIL]
    assert bad == ["controller.state_dir"]


def caddys(folder: Path, generated: str) -> list[tuple[Level, str]]:
    """What is said of a generated_dir."""
    caddy = f"caddy: {{generated_dir: {folder}/{generated}}}\n  node_id: main"
    _, config = a_config(folder, "node_id: main", caddy)
    found = checks.folders(config)
    return [(one.level, one.message) for one in found if one.name == "agent.caddy.generated_dir"]


def test_a_folder_for_caddy_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert caddys(tmp_path, "generated") == [(Level.FAIL, f"{tmp_path}/generated is not there")]


def test_a_folder_for_caddy_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "generated").write_text("")
    assert caddys(tmp_path, "generated") == [(Level.FAIL, f"{tmp_path}/generated is not a folder")]


def test_a_folder_for_caddy_that_is_there_is_well(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    assert [level for level, _ in caddys(tmp_path, "generated")] == [Level.OK]


def test_a_folder_for_caddy_in_a_service_comes_with_its_first_deploy(tmp_path: Path) -> None:
    found = caddys(tmp_path, "services/infra-caddy/config/generated")
    assert [level for level, _ in found] == [Level.OK]


@pytest.mark.parametrize("lacking", ["services", "agent", "generated", None])
async def test_in_a_container_all_that_docker_mounts_has_its_own_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str | None
) -> None:
    monkeypatch.setattr(checks, "IN_CONTAINER", tmp_path)
    caddy = f"caddy: {{generated_dir: {tmp_path}/generated}}\n  node_id: main"
    _, config = a_config(tmp_path, "node_id: main", caddy)
    mounts = [
        {"Source": f"/elsewhere/{name}" if name == lacking else f"{tmp_path}/{name}",
         "Destination": f"{tmp_path}/{name}"}
        for name in ("services", "agent", "generated")
    ]  # fmt: skip
    shell = MemoryShell(always(stdout=json.dumps(mounts).encode()))

    check = await checks.same_paths(config, shell)

    assert check.level is (Level.FAIL if lacking else Level.OK)
    if lacking:
        folder = f"{tmp_path}/{lacking}"
        assert check.message.endswith(f"under the same path: {folder}")
        assert check.hint == f"Start the container with -v {folder}:{folder}"


async def looked(file: Path, shell: MemoryShell) -> dict[str, Level]:
    return {one.name: one.level async for one in checks.all_checks(file, shell)}


async def test_git_is_needed_where_the_catalog_is_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object) -> list[Check]:
        return []

    monkeypatch.setattr(checks, "reach", none)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    shell = MemoryShell(always(missing=True))
    both, _ = a_config(tmp_path)
    assert (await looked(both, shell))["git"] is Level.FAIL

    agent = tmp_path / "agent.yaml"
    agent.write_text("agent:" + both.read_text().partition("agent:")[2])
    found = await looked(agent, shell)
    assert (found["config"], found["docker"]) == (Level.OK, Level.FAIL)
    assert "git" not in found


# Whether the controller is reached.

LISTENING = "  listen_addr: '{at}'\n  nodes: "
ALIVE = httpx2.Response(200, json={"status": "alive"})
KNOWN = httpx2.Response(200, json={"node": "main"})


async def reached(
    config: Config, *answers: httpx2.Response | Exception, alone: bool = False
) -> list[Check]:
    """What is said of a controller that answers so; `alone`: it is not of the same file."""
    assert config.agent
    left = list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        assert ("authorization" in request.headers) == request.url.path.startswith("/api/")
        return found

    transport = httpx2.MockTransport(answer)
    found = await reaching.reach(config.agent, None if alone else config.controller, transport)
    assert left == []
    return list(found)


def listening(folder: Path, called: str, at: str) -> Config:
    """Both sections, of which one calls where the other one may not listen."""
    _, config = a_config(folder, "  nodes: ", LISTENING.format(at=at))
    assert config.agent
    agent = config.agent.model_copy(update={"controller_addr": called})
    return config.model_copy(update={"agent": agent})


REFUSED = httpx2.ConnectError("All connection attempts failed")


@pytest.mark.parametrize(
    ("called", "at"),
    [
        ("http://127.0.0.1:7001", ":7001"),
        ("http://127.0.0.1:7001", "127.0.0.1:7001"),
        ("http://127.0.0.1", "127.0.0.1:80"),
        ("http://[::1]:7001/", "[::]:7001"),
        ("http://127.0.0.1:7001", "[::]:7001"),
        ("http://controller:7001", "127.0.0.1:7001"),
    ],
)
async def test_a_controller_of_the_same_file_may_not_run_yet(
    tmp_path: Path, called: str, at: str
) -> None:
    (check,) = await reached(listening(tmp_path, called, at), REFUSED)
    assert (check.level, check.message) == (Level.OK, "it does not run yet")


@pytest.mark.parametrize(
    ("called", "at"),
    [
        ("http://127.0.0.1:7002", ":7001"),
        ("http://127.0.0.1", ":7001"),
        ("http://controller:7002", ":7001"),
        ("http://192.0.2.7:7001", "127.0.0.1:7001"),
        ("http://[::1]:7001", ":7001"),
    ],
)
async def test_an_agent_that_calls_where_nobody_will_listen_is_told(
    tmp_path: Path, called: str, at: str
) -> None:
    (check,) = await reached(listening(tmp_path, called, at), REFUSED)
    assert check.level is Level.FAIL
    assert f"is {called}, " in check.message
    assert check.message.endswith(f"will listen at {at}")
    assert check.hint


def unknown_name() -> Exception:
    error = httpx2.ConnectError("[Errno -2] Name or service not known")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    return error


@pytest.mark.parametrize(
    ("called", "error"),
    [
        ("http://controler:7001", unknown_name()),
        ("http://controller:7001", httpx2.ReadTimeout("")),
        ("http://controller:7001", httpx2.RemoteProtocolError("no HTTP")),
        ("https://controller:7001", REFUSED),
    ],
    ids=["unknown name", "silent", "another protocol", "no proxy"],
)
async def test_what_cannot_be_a_controller_that_is_still_to_start_is_told(
    tmp_path: Path, called: str, error: Exception
) -> None:
    (check,) = await reached(listening(tmp_path, called, ":7001"), error)
    assert (check.level, f"{called} does not answer" in check.message) == (Level.FAIL, True)


async def test_a_controller_on_another_machine_has_to_run(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    (check,) = await reached(config, REFUSED, alone=True)
    assert (check.level, check.message) == (
        Level.FAIL,
        "http://127.0.0.1:1 does not answer: ConnectError",
    )


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404),
        httpx2.Response(301, headers={"location": "https://127.0.0.1/"}),
        httpx2.Response(502),
        httpx2.Response(200, text="Welcome to nginx!"),
        httpx2.Response(200, json=["alive"]),
    ],
    ids=["not found", "elsewhere", "nobody behind", "a page", "other JSON"],
)
async def test_what_answers_has_to_be_composia(tmp_path: Path, answer: httpx2.Response) -> None:
    _, config = a_config(tmp_path)
    (check,) = await reached(config, answer, alone=True)
    assert check.level is Level.FAIL
    assert f"is no Composia: /healthz is HTTP {answer.status_code}" in check.message
    assert check.hint


async def test_a_proxy_may_wait_for_the_controller_of_the_same_file(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    (check,) = await reached(config, httpx2.Response(502))
    assert (check.level, "answers HTTP 502" in check.message) == (Level.WARN, True)


async def test_a_controller_that_knows_the_agent_is_well(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    found = await reached(config, ALIVE, KNOWN, alone=True)
    assert [(one.level, one.message) for one in found] == [
        (Level.OK, "http://127.0.0.1:1 answers"),
        (Level.OK, "the controller knows its token as that of node main"),
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx2.Response(401), "does not know agent.token"),
        (httpx2.Response(404), "answers HTTP 404"),
        (httpx2.Response(200, json={"node": "edge"}), "is that of node edge"),
    ],
    ids=["unknown", "not passed on", "of another node"],
)
async def test_a_token_that_the_controller_does_not_take_is_told(
    tmp_path: Path, answer: httpx2.Response, words: str
) -> None:
    _, config = a_config(tmp_path)
    *_, check = await reached(config, ALIVE, answer, alone=True)
    assert (check.name, check.level, words in check.message) == ("agent", Level.FAIL, True)
    assert check.hint
    assert "0123456789abcdef" not in str(check)


async def test_a_connection_that_breaks_with_the_token_is_told(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    *_, check = await reached(config, ALIVE, httpx2.ReadError(""), alone=True)
    assert (check.level, check.message) == (
        Level.FAIL,
        "http://127.0.0.1:1 does not answer: ReadError",
    )


# rustic.


class _Engine:
    """Docker, with these images and their entry points."""

    def __init__(self, **images: list[str] | None) -> None:
        self._images = images

    async def image_config(self, image: str) -> dict[str, list[str] | None]:
        if image not in self._images:
            raise NotFound(image)
        return {"Entrypoint": self._images[image]}


def with_rustic(folder: Path, compose: str, name: str = "compose.yaml") -> Config:
    """A catalog with a service that runs rustic, as this compose file says."""
    _, config = a_config(folder)
    assert config.controller
    service = config.controller.repo_dir / "infra"
    service.mkdir(parents=True)
    (service / "composia-meta.yaml").write_text(
        "name: infra-backup\ninfra: {rustic: {compose_service: rustic, profile: default}}\n"
    )
    (service / name).write_text(f"services: {{rustic: {compose}}}\n")
    return config


async def image_of(
    config: Config, shell: MemoryShell | None = None, **images: list[str] | None
) -> Check:
    engine = cast("Docker", _Engine(**images))
    return await rustic_check.rustic_image(config, engine, shell or MemoryShell())


@pytest.mark.parametrize("name", COMPOSE_FILES)
async def test_the_image_with_rustic_is_found_in_a_file_of_each_name(
    tmp_path: Path, name: str
) -> None:
    check = await image_of(with_rustic(tmp_path, "{image: 'rustic:mine'}", name))
    assert (check.level, check.hint) == (Level.WARN, "docker pull rustic:mine")


async def test_an_image_that_is_still_to_be_built_is_told_so(tmp_path: Path) -> None:
    check = await image_of(with_rustic(tmp_path, "{build: .}"))
    assert check.message == "the image infra-backup-rustic is not built on this machine"
    assert check.hint == "A deploy builds it: composia deploy infra-backup"


@pytest.mark.parametrize(
    ("said", "level", "words"),
    [
        (b"rustic 0.11.4", Level.OK, "rustic 0.11.4, in the image mine"),
        (b"rustic 1.0.0", Level.OK, "rustic 1.0.0, in the image mine"),
        (b"rustic 0.11.3", Level.FAIL, "is too old"),
        (b"rustic 0.9.5", Level.FAIL, "is too old"),
        (b"restic 0.18.0", Level.FAIL, "does not run rustic: restic 0.18.0"),
    ],
)
async def test_the_images_rustic_must_be_new_enough(
    tmp_path: Path, said: bytes, level: Level, words: str
) -> None:
    shell = MemoryShell(always(stdout=said))
    check = await image_of(with_rustic(tmp_path, "{image: mine}"), shell, mine=None)
    assert (check.level, words in check.message) == (level, True)
    assert bool(check.hint) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("stderr", "words"),
    [(b"docker: not found\n\nRun 'docker --help'", "docker: not found"), (b"", "code 127")],
    ids=["what docker says", "nothing"],
)
async def test_an_image_without_rustic_is_told_in_a_line(
    tmp_path: Path, stderr: bytes, words: str
) -> None:
    shell = MemoryShell(always(stderr=stderr, code=127))
    check = await image_of(with_rustic(tmp_path, "{image: mine}"), shell, mine=None)
    assert check.level is Level.FAIL
    assert check.message.endswith(words)


async def test_an_image_that_was_built_is_asked_too(tmp_path: Path) -> None:
    shell = MemoryShell(always(stdout=b"rustic 0.9.5\n"))
    config = with_rustic(tmp_path, "{build: {context: .}, image: mine}")
    check = await image_of(config, shell, mine=["/rustic"])
    assert (check.level, "in the image mine" in check.message) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("compose", "entry", "called"),
    [
        ("image: mine", None, ("mine", "rustic", "--version")),
        ("image: mine", ["/rustic"], ("mine", "--version")),
        ("image: mine, command: /opt/rustic -P x", None, ("mine", "/opt/rustic", "--version")),
        (
            "image: mine, entrypoint: [nice, /rustic]",
            None,
            ("--entrypoint", "nice", "mine", "/rustic", "--version"),
        ),
        (
            "image: mine, entrypoint: ''",
            ["/init"],
            ("--entrypoint", "", "mine", "rustic", "--version"),
        ),
    ],
    ids=["on PATH", "entry point", "command", "own entry point", "no entry point"],
)
async def test_rustic_is_called_as_its_service_does(
    tmp_path: Path, compose: str, entry: list[str] | None, called: tuple[str, ...]
) -> None:
    shell = MemoryShell(always(stdout=b"rustic 0.11.4\n"))
    check = await image_of(with_rustic(tmp_path, f"{{{compose}}}"), shell, mine=entry)
    assert check.level is Level.OK
    (words,) = shell.argvs
    assert words[:3] == ("docker", "run", "--rm")
    assert words[-len(called) :] == called
    assert ("--entrypoint" in words) == ("--entrypoint" in called)


async def test_an_image_that_cannot_be_asked_is_left_running_nowhere(tmp_path: Path) -> None:
    shell = MemoryShell(by_word(run=Answer(missing=True)))
    check = await image_of(with_rustic(tmp_path, "{image: mine}"), shell, mine=None)
    assert check.level is Level.FAIL
    asked, removed = shell.argvs
    assert removed == ("docker", "rm", "--force", asked[asked.index("--name") + 1])
