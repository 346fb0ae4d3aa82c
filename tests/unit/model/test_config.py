from __future__ import annotations

from pathlib import Path

import pytest

from composia.errors import Invalid
from composia.model.config import Config, ControllerConfig, Scope, load_config
from composia.tools.age import new_identity
from tests.unit.shared_formats import CONFIG, SECRET_FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in SECRET_FILES:
        (tmp_path / name).write_text(f"s3cret-{name}\n")
    (tmp_path / "age.key").write_text(f"# created: today\n{new_identity()[0]}\n")
    return tmp_path


def read(folder: Path, text: str, **env: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(text.replace("/run/secrets", str(folder)))
    return load_config(file, env)


def said(folder: Path, text: str, **env: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(Invalid) as told:
        read(folder, text, **env)
    return [(".".join(map(str, p.loc)), p.line, p.msg) for p in told.value.problems]


def test_the_example_of_the_guide_loads_as_it_stands(folder: Path) -> None:
    config = read(folder, CONFIG)
    assert config.controller
    assert config.agent
    assert config.controller.listen == ("0.0.0.0", 7001)
    assert config.controller.nodes[1].token.get_secret_value() == "s3cret-edge"
    assert config.controller.git.pull_interval == 30.0
    assert config.controller.notifications.on[0] == "backup_failed"
    token = config.controller.access_tokens[0]
    assert (token.scope, token.services) == (Scope.ADMIN, "all")


def test_no_secret_is_shown(folder: Path) -> None:
    shown = repr(read(folder, CONFIG))
    planted = ("s3cret", "change-me", "main-agent-token", "ntfy")
    assert not [word for word in planted if word in shown]


def test_a_secret_comes_from_the_environment(folder: Path) -> None:
    text = CONFIG.replace("token: change-me", 'token: "${ADMIN}"')
    config = read(folder, text, ADMIN="from-env")
    assert config.controller
    assert config.controller.access_tokens[0].token
    assert config.controller.access_tokens[0].token.get_secret_value() == "from-env"


def test_a_variable_that_is_not_set_is_named(folder: Path) -> None:
    text = CONFIG.replace("token: change-me", 'token: "${ADMIN}"')
    assert said(folder, text) == [
        ("controller.access_tokens.0.token", 7, "the environment variable ADMIN is not set")
    ]


def test_two_forms_of_a_secret_are_an_error(folder: Path) -> None:
    text = CONFIG.replace("token: change-me", "token: change-me, token_file: edge")
    ((loc, line, msg),) = said(folder, text)
    assert (loc, line) == ("controller.access_tokens.0.token_file", 7)
    assert msg == "`token` and `token_file` are both given; keep one of them"


def test_every_secret_that_cannot_be_read_is_named_beside_what_else_is_wrong(folder: Path) -> None:
    text = CONFIG.replace("/run/secrets", "/nowhere").replace("Europe/Berlin", "Mars")
    found = said(folder, text)
    assert len([msg for *_, msg in found if "cannot be read: No such file" in msg]) == 5
    assert len(found) == 6
    assert ("controller.backup.timezone", 14) in [(loc, line) for loc, line, _ in found]


@pytest.mark.parametrize("rubbish", ["AGE-SECRET-KEY-1RUBBISH", "# only a comment", "age1x"])
def test_an_identity_that_is_none_is_told_with_what_to_do_and_not_shown(
    folder: Path, rubbish: str
) -> None:
    (folder / "age.key").write_text(rubbish)
    ((loc, line, msg),) = said(folder, CONFIG)
    assert (loc, line) == ("controller.secrets.identity", 22)
    assert "composia catalog new-identity" in msg
    assert rubbish not in msg


def test_a_secret_file_stands_beside_the_config(folder: Path) -> None:
    config = read(folder, CONFIG.replace("/run/secrets/edge", "edge"))
    assert config.controller
    assert config.controller.nodes[1].token.get_secret_value() == "s3cret-edge"


def test_an_unknown_form_of_a_secret_names_the_known_one(folder: Path) -> None:
    text = CONFIG.replace("token_file: /run/secrets/edge", "token_fil: edge")
    assert "unknown key `token_fil`; did you mean `token_file`?" in str(said(folder, text))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("token: change-me, ", "", "needs one of `token`"),
        ("id: edge", "id: main", "there twice"),
        (
            "main_nodes: [main]",
            "main_nodes: [mian]",
            "there is no node `mian` under nodes. Did you mean `main`?",
        ),
        (
            "enabled: true}",
            "services: my-app}",
            "[('controller.access_tokens.0.services', 7, 'must be `all` or a list of services')]",
        ),
        ("enabled: true}", "services: [My]}", "[('controller.access_tokens.0.services.0', 7, "),
        ('":7001"', '"7001"', "no address to listen on"),
        ('":7001"', '":70010"', "no address to listen on"),
        ("30s", "soon", "no duration"),
        ("203.0.113.10", "203.0.113", "must be"),
        ("http://controller:7001", "controller:7001", "begins with http"),
        ("https://git.example.com", "https://me:pw@git.example.com", "must not contain a password"),
        ("https://git.example.com/infra.git", "ext::sh", "no address of a Git repository"),
        ("https://git.example.com/infra.git", "--upload-pack=x", "no address of a Git repository"),
        ("token: change-me", 'token: ""', "must not be empty"),
        ("id: main, display_name: Main, token: main-agent-token", "id: main, token: s3cret-edge",
         "same token as another node"),
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_refused(
    folder: Path, old: str, new: str, words: str
) -> None:
    assert old in CONFIG
    assert words in str(said(folder, CONFIG.replace(old, new, 1)))


def test_no_message_quotes_a_secret(folder: Path) -> None:
    text = CONFIG.replace("token: change-me", "token: hunter2, token_file: edge, tokn: hunter2")
    assert "hunter2" not in str(said(folder, text))
    assert "s3cret" not in str(said(folder, text))


@pytest.mark.parametrize("text", ["", "{}", "controller: {}\nzzz: {}", "[]", "agent: {}"])
def test_a_file_without_what_is_needed_is_refused(folder: Path, text: str) -> None:
    assert said(folder, text)


def test_each_section_may_stand_alone(folder: Path) -> None:
    assert read(folder, "controller: {}\n").agent is None
    agent = "agent: {controller_addr: 'http://c:7001', node_id: main, token: t}\n"
    assert read(folder, agent).controller is None


def test_a_relative_folder_is_meant_from_the_file(folder: Path) -> None:
    config = read(folder, "controller: {repo_dir: catalog}\n")
    assert config.controller
    assert config.controller.repo_dir == folder / "catalog"


def test_a_config_that_is_not_there_names_the_way_to_one(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read") as told:
        load_config(tmp_path / "none.yaml", {})
    assert told.value.hint
    assert "composia init" in told.value.hint


def test_what_is_open_stays_and_is_named_when_it_should_change() -> None:
    earlier = ControllerConfig(listen_addr="127.0.0.1:7001")
    wanted = ControllerConfig(listen_addr=":7001", public_url="https://c.example.com")

    config, changed = wanted.kept_of(earlier)

    assert (config.listen_addr, config.public_url) == ("127.0.0.1:7001", "https://c.example.com")
    assert changed == ["listen_addr"]
    assert wanted.kept_of(wanted) == (wanted, [])
