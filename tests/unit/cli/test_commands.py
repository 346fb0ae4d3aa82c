"""What people and programs get from the command line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
import httpx2
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from fastapi import FastAPI

import composia.main  # noqa: F401  # adds the processes to the commands
from composia.cli import COMMANDS, cli
from composia.controller.worktree import CatalogState
from composia.model.backup import BackupKind
from composia.model.schedule import Overdue
from composia.model.task import Status, TaskError
from composia.operations.kept import SCRATCH_KEPT
from tests.twins.office import NOW, MemoryOffice, backup, node_state
from tests.unit.cli.conftest import Composia


def test_services_are_a_table_for_people(composia: Composia) -> None:
    shown = composia("services").stdout
    assert "running on main" in shown
    assert "no data item covers the volume cache" in shown
    assert "unknown key; did you mean `name`?" in shown


def test_a_backup_that_is_overdue_is_a_remark(composia: Composia, office: MemoryOffice) -> None:
    office.scheduler.late = [
        Overdue("my-app", "uploads", "main", None, NOW, "nothing good since Sunday")
    ]
    shown = " ".join(composia("services").stdout.split())
    assert "backup of uploads is overdue: on main: nothing good since Sunday" in shown


def test_services_are_json_for_programs(composia: Composia) -> None:
    names = [one["name"] for one in json.loads(composia("services", "--json").stdout)]
    assert names == ["Bad", "infra-backup", "my-app", "other"]


def test_a_service_is_shown_with_its_data_items(composia: Composia) -> None:
    shown = composia("service", "show", "my-app").stdout
    assert "my-app-web-1" in shown
    assert "database.pgdumpall" in shown


@pytest.mark.parametrize("verb", ["deploy", "update", "stop", "restart", "backup"])
def test_a_task_that_succeeds_ends_with_zero(
    composia: Composia, office: MemoryOffice, verb: str
) -> None:
    office.admit.status = Status.SUCCEEDED
    ended = composia(verb, "my-app")
    assert (ended.exit_code, "succeeded" in ended.stdout) == (0, True)


def test_an_update_may_save_the_data_first(composia: Composia) -> None:
    shown = composia("update", "my-app", "--backup-first", "--dry-run").stdout
    assert "Would: Back up and update my-app on main" in shown


def test_a_task_that_fails_ends_with_one_and_its_error(
    composia: Composia, office: MemoryOffice
) -> None:
    office.admit.status = Status.FAILED
    office.admit.error = TaskError(message="disk full", hint="Make room.")
    ended = composia("backup", "my-app")
    assert ended.exit_code == 1
    assert "disk full" in ended.stderr
    assert "Make room." in ended.stderr


def test_a_wrong_command_ends_with_two(composia: Composia) -> None:
    assert composia("backup").exit_code == 2
    assert composia("backup", "my-app", "--nonsense").exit_code == 2
    assert composia("restore", "my-app", "--at", "yesterday", "--yes").exit_code == 2


def test_a_refusal_ends_with_three_and_the_next_step(composia: Composia) -> None:
    ended = composia("deploy", "my-ap")
    assert (ended.exit_code, "Did you mean `my-app`?" in ended.stderr) == (3, True)


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_an_unknown_data_item_is_told_as_one_would_say_it(composia: Composia, verb: str) -> None:
    ended = composia(verb, "my-app", "--item", "upload", "--dry-run")
    assert (ended.exit_code, "Error: my-app has no data item `upload`" in ended.stderr) == (3, True)


def test_a_refusal_is_json_for_programs_too(composia: Composia) -> None:
    ended = composia("deploy", "my-ap", "--json")
    error = json.loads(ended.stdout)["error"]
    assert (ended.exit_code, error["kind"]) == (3, "NotFound")
    assert f"Error: {error['message']}" in ended.stderr
    assert composia("deploy", "my-ap").stdout == ""


def test_a_wrong_token_is_a_refusal(composia: Composia) -> None:
    ended = composia("services", token="wrong")  # it is wrong
    assert (ended.exit_code, "composia login" in ended.stderr) == (3, True)
    assert "Bearer" not in ended.stderr


@pytest.mark.parametrize("words", [("services",), ("login",), ("login", "--url", "c:7001")])
def test_an_address_without_http_is_told(composia: Composia, words: tuple[str, ...]) -> None:
    ended = composia("--url", "127.0.0.1:7001", *words)
    assert (ended.exit_code, "is no address: write it as in http" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("deplyo my-app", "'deploy'"),
        ("bakup my-app", "'backup'"),
        ("schedule", "'schedules'"),
        ("status", "`composia services`"),
        ("ps", "`composia services`"),
        ("service hello", "`composia service show hello`"),
        ("services hello", "`composia service show hello`"),
        ("service list", "`composia services` lists them"),
        ("services ls", "`composia services` lists them"),
        ("node main", "`composia node show main`"),
        ("nodes main", "`composia node show main`"),
        ("tasks show X", "`composia task show X`"),
        ("tasks cancel X", "`composia task cancel X`"),
        ("task cancle X", "'cancel'"),
        ("task rollback X", "`composia rollback X`"),
        ("service backup my-app", "`composia backup my-app`"),
        ("services logs my-app", "`composia logs my-app`"),
        ("node rm edge", "`composia node --help`"),
        ("task list", "`composia tasks` lists them"),
        ("backups list", "`composia backups` lists them"),
        ("backups 01B1", "`composia backups show 01B1`"),
        ("backups delete 01B1", "There are: download, files, forget,"),
        ("backups my-app", "`composia backups --service my-app`"),
        ("schedules list", "`composia schedules` lists them"),
        ("schedules my-app", "`composia schedules --service my-app`"),
        ("repo list", "`composia repo status`"),
        ("repo nonsense", "There are: adopt, check, copy,"),
        ("catalog ls", "`composia catalog files` lists them"),
        ("catalog my-app/.env", "`composia catalog show my-app/.env`"),
        ("catalog history", "There are: edit, encrypt, files,"),
        ("config show", "There are: reload."),
        ("notifications nonsense", "There are: ack, list, test."),
        ("help", "`composia --help`"),
        ("help nonsense", "`composia --help`"),
        ("help repo forget", "`composia repo forget --help`"),
        ("version", "`composia --version`"),
        ("prune", "`composia repo prune`"),
        ("cancel 01T", "`composia task cancel`"),
        ("forget 01B1", "`composia backups forget` or `composia repo forget`"),
    ],
)
def test_a_word_that_is_no_command_is_answered_by_what_was_meant(
    composia: Composia, line: str, meant: str
) -> None:
    ended = composia(*line.split())
    assert (ended.exit_code, meant in ended.stderr) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("services --url http://x", "`composia --url … services`"),
        ("backups show 01B1 --token-file x", "`composia --token-file … backups show`"),
        ("services --version", "`composia --version`"),
    ],
)
def test_an_option_that_goes_before_the_command_is_told_so(
    composia: Composia, line: str, meant: str
) -> None:
    ended = composia(*line.split())
    assert (ended.exit_code, f"before the command: {meant}" in ended.stderr) == (2, True)


def test_an_option_that_there_is_nowhere_is_only_told(composia: Composia) -> None:
    ended = composia("services", "--nonsense")
    assert (ended.exit_code, "before the command" in ended.stderr) == (2, False)


def test_a_controller_that_does_not_answer_ends_with_four(tmp_path: Path) -> None:
    env = {"COMPOSIA_URL": "http://127.0.0.1:1", "COMPOSIA_TOKEN": "t"}
    ended = CliRunner().invoke(cli, ["nodes"], env=env)
    assert (ended.exit_code, "composia serve" in ended.stderr) == (4, True)


def test_no_wait_answers_with_the_task(composia: Composia) -> None:
    ended = composia("backup", "my-app", "--no-wait", "--json")
    assert (ended.exit_code, json.loads(ended.stdout)["status"]) == (0, "pending")


def test_the_plan_of_a_move_is_no_error(composia: Composia, office: MemoryOffice) -> None:
    office.nodes.known["edge"] = node_state()
    words = ("--item", "uploads", "--item", "database", "--leave-behind", "cache", "--dry-run")
    ended = composia("migrate", "my-app", "--to", "edge", *words)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.endswith("The same command without --dry-run does it.\n")
    assert office.store.admitted == {}


def test_the_plan_of_a_rescue_is_no_error(composia: Composia, office: MemoryOffice) -> None:
    office.nodes.known["edge"] = node_state()
    office.nodes.offline = {"main"}
    rustic = office.config.rustic.model_copy(update={"main_nodes": ("edge",)})
    office.config = office.config.model_copy(update={"rustic": rustic})
    words = ("--item", "uploads", "--source-is-gone", "--leave-behind", "cache", "--dry-run")
    ended = composia("migrate", "my-app", "--to", "edge", *words)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert "  uploads: backup 01B1\n" in ended.stdout
    assert office.store.admitted == {}


def test_a_dry_run_does_nothing(composia: Composia, office: MemoryOffice) -> None:
    ended = composia("restore", "my-app", "--dry-run")
    assert ended.stdout == (
        "Would: Restore uploads, database of my-app on main\n"
        "  uploads: backup 01B1\n"
        "  database: backup 01B2\n"
        "  Warning: legacy was left as it is: it has no backup\n"
        "Nothing was done. The same command without --dry-run does it.\n"
    )
    assert office.store.admitted == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore", "my-app"),
        ("backups", "restore", "01B1"),
        ("backups", "forget", "01B1"),
        ("rollback", "01T00000"),
    ],
)
def test_what_replaces_or_drops_data_asks_first(
    composia: Composia, office: MemoryOffice, arguments: tuple[str, ...]
) -> None:
    ended = composia(*arguments)
    assert (ended.exit_code, "--yes" in ended.stderr) == (2, True)
    assert office.store.admitted == {}


@pytest.mark.parametrize(
    ("status", "question"),
    [
        (Status.RUNNING, "Is the node, or its Docker engine, gone for good?"),
        (Status.FAILED, "Leave everything as it stands, and ask nobody any more?"),
    ],
)
def test_whoever_abandons_is_asked_what_that_means_for_the_task(
    composia: Composia, office: MemoryOffice, status: Status, question: str
) -> None:
    office.admit.status = status
    task = json.loads(composia("backup", "my-app", "--no-wait", "--json").stdout)["id"]
    ended = composia("task", "abandon", task)
    assert (ended.exit_code, question in ended.stderr) == (2, True)
    assert composia("task", "abandon", task, "--yes").exit_code == 3, "it waits for nobody"


def test_yes_is_an_answer(composia: Composia, office: MemoryOffice) -> None:
    office.admit.status = Status.SUCCEEDED
    assert composia("restore", "my-app", "--yes", "--item", "uploads").exit_code == 0


@pytest.mark.parametrize("words", [("restore",), ("backups", "restore")])
def test_the_help_says_how_long_scratch_is_kept(composia: Composia, words: tuple[str, ...]) -> None:
    shown = " ".join(composia(*words, "--help").stdout.split())
    assert f"a folder beside it that is kept for {SCRATCH_KEPT.days} days." in shown


def test_what_would_not_move_is_left_behind_by_an_option_that_there_is(
    composia: Composia, office: MemoryOffice
) -> None:
    office.nodes.known["edge"] = node_state()
    words = ("migrate", "my-app", "--to", "edge", "--dry-run")
    refused = composia(*words)
    assert (refused.exit_code, "--leave-behind cache" in refused.stderr) == (3, True)
    assert composia(*words, "--leave-behind", "cache").exit_code == 0


def test_a_restore_to_scratch_asks_nothing(composia: Composia, office: MemoryOffice) -> None:
    office.admit.status = Status.SUCCEEDED
    assert composia("backups", "restore", "01B1", "--to", "scratch").exit_code == 0


def test_backups_are_listed_and_looked_into(composia: Composia) -> None:
    assert "01B1" in composia("backups", "--service", "my-app").stdout
    assert "5" * 64 in composia("backups", "show", "01B1").stdout
    assert "files/data" in composia("backups", "files", "01B1", "files").stdout


def test_what_has_become_of_a_backup_goes_before_how_it_ended(
    composia: Composia, office: MemoryOffice
) -> None:
    office.store.records = [
        backup("01B1"),
        backup("01B2", damaged=True),
        backup("01B3", damaged=True, missing=True),
    ]
    words = {line[:4]: line.split() for line in composia("backups").stdout.splitlines()[2:]}
    assert {id_: row[4] for id_, row in words.items()} == {
        "01B1": "success", "01B2": "damaged", "01B3": "missing",
    }  # fmt: skip
    assert "status    damaged\n" in composia("backups", "show", "01B2").stdout


def test_a_copy_of_what_was_about_to_be_replaced_is_told_from_a_backup(
    composia: Composia, office: MemoryOffice
) -> None:
    office.store.records = [backup("01B1", kind=BackupKind.BEFORE_RESTORE)]
    header, _, row = composia("backups").stdout.splitlines()
    assert (header.split()[5], row.split()[5]) == ("KIND", "before_restore")
    assert "kind      before_restore\n" in composia("backups", "show", "01B1").stdout


def test_a_file_is_downloaded_and_never_over_another(composia: Composia, tmp_path: Path) -> None:
    target = str(tmp_path / "a.txt")
    arguments = ("backups", "download", "01B1", "files/data/uploads/a.txt", "-o", target)
    assert composia(*arguments).exit_code == 0
    assert Path(target).read_bytes() == b"hello"
    assert composia(*arguments).exit_code == 2


def test_an_empty_list_names_the_next_step(composia: Composia, office: MemoryOffice) -> None:
    office.store.records.clear()
    assert "composia backup SERVICE" in composia("backups").stdout
    assert "composia deploy SERVICE" in composia("tasks").stdout


@pytest.mark.parametrize(
    "words",
    [("tasks", "--type", "prune"), ("tasks", "--service", "other"), ("backups", "--item", "legacy"),
     ("schedules", "--service", "other", "--kind", "prune")],
)  # fmt: skip
def test_an_empty_list_of_a_kind_does_not_say_that_there_is_nothing(
    composia: Composia, words: tuple[str, ...]
) -> None:
    assert composia(*words).stdout == "None is like that. Without options all are listed.\n"


@pytest.mark.parametrize("command", ["tasks", "backups"])
def test_a_list_of_nothing_is_a_wrong_command(composia: Composia, command: str) -> None:
    assert composia(command, "--limit", "0").exit_code == 2


def test_logs_of_a_service_come_from_its_only_node(composia: Composia) -> None:
    assert composia("logs", "my-app").stdout == "web-1  | ready\n"


def test_a_terminal_obeys_nothing_that_a_container_says(
    composia: Composia, office: MemoryOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = "\x1b]52;c;cm0=\x07"

    async def read(_: object, _task: str) -> str:
        return f"one{copies}\n"

    async def follow(_: object, _task: str) -> AsyncIterator[str]:
        yield f"one{copies}"

    # The twin's ids are shorter.
    monkeypatch.setattr("composia.cli.tasks.TASK_ID", re.compile("01T[0-9]+"))
    monkeypatch.setattr("tests.twins.office.MemoryLogs.read", read)
    monkeypatch.setattr("tests.twins.office.MemoryLogs.follow", follow)
    office.nodes.said = f"web-1  | {copies}ready\n".encode()
    office.admit.status = Status.FAILED
    office.admit.error = TaskError(message=f"disk{copies} full", hint=f"Make{copies} room.")

    failed = composia("backup", "my-app", "--json")
    task = json.loads(failed.stdout)["id"]

    assert json.loads(failed.stdout)["error"]["message"] == f"disk{copies} full"
    assert composia("logs", "my-app").stdout == "web-1  | ready\n"
    assert composia("logs", task).stdout == "one\n"
    for arguments in (("logs", "-f", task), ("task", "show", task), ("backup", "my-app")):
        ended = composia(*arguments)
        assert "\x1b" not in ended.stdout + ended.stderr
        assert "disk full" in ended.stdout + ended.stderr


def test_logs_of_nothing_name_what_makes_them(composia: Composia) -> None:
    ended = composia("logs", "other")
    assert (ended.exit_code, "composia deploy other" in ended.stderr) == (3, True)


def test_a_login_that_nobody_can_answer_says_what_to_set(composia: Composia) -> None:
    ended = composia("login", token=None)
    assert (ended.exit_code, "set COMPOSIA_TOKEN" in ended.stderr) == (2, True)


def test_a_task_is_shown_with_what_can_be_done(composia: Composia) -> None:
    task = json.loads(composia("backup", "my-app", "--no-wait", "--json").stdout)["id"]
    assert f"composia logs -f {task}" in composia("task", "show", task).stdout
    assert composia("task", "cancel", task).exit_code == 1


def test_nodes_repository_and_catalog_are_shown(composia: Composia) -> None:
    assert "0.1.0  26.1, compose 2.26" in composia("nodes").stdout
    assert "agent       0.1.0\n" in composia("node", "show", "main").stdout
    assert "my-app-web-1" in composia("node", "show", "main").stdout
    assert "infra-backup" in composia("repo", "status").stdout
    assert composia("catalog", "show", "my-app/composia-meta.yaml").stdout == "name: my-app\n"
    assert "main, edge" in composia("config", "reload").stdout


def test_a_reload_names_what_only_a_restart_takes(composia: Composia, office: MemoryOffice) -> None:
    assert "estart" not in composia("config", "reload").stdout
    office.needs_restart = ["listen_addr", "git"]
    assert "Restart the controller for what has changed in: listen_addr, git." in (
        composia("config", "reload").stdout
    )


def test_a_pull_says_how_the_catalog_stands_by_its_exit_code_too(
    composia: Composia, office: MemoryOffice
) -> None:
    pulled = composia("catalog", "pull")
    assert (pulled.exit_code, "fresh" in pulled.stdout) == (0, True)
    office.catalog.state = CatalogState.UNREACHABLE
    pulled = composia("catalog", "pull")
    assert (pulled.exit_code, "unreachable" in pulled.stdout) == (1, True)


def test_a_file_of_the_catalog_is_written_from_standard_input(
    composia: Composia, office: MemoryOffice
) -> None:
    composia("catalog", "put", "my-app/composia-meta.yaml", stdin="name: new\n")
    assert office.catalog.content["my-app/composia-meta.yaml"] == b"name: new\n"


@pytest.mark.parametrize("source", [(), ("-",)])
def test_nothing_on_standard_input_is_nothing_to_write(
    composia: Composia, office: MemoryOffice, source: tuple[str, ...]
) -> None:
    before = dict(office.catalog.content)
    ended = composia("catalog", "put", "my-app/composia-meta.yaml", *source, stdin="")
    assert (ended.exit_code, "nothing to write" in ended.stderr) == (2, True)
    assert office.catalog.content == before


def test_a_file_of_the_catalog_is_written_from_a_file(
    composia: Composia, office: MemoryOffice, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("")
    composia("catalog", "put", "my-app/composia-meta.yaml", str(tmp_path / "empty"))
    assert office.catalog.content["my-app/composia-meta.yaml"] == b""


def test_an_empty_token_file_is_no_reason_to_take_another_token(
    composia: Composia, home: Path
) -> None:
    assert composia("login").exit_code == 0
    (home / "token").write_text("\n")
    ended = composia("--token-file", str(home / "token"), "services", token=None)
    assert (ended.exit_code, "is empty" in ended.stderr) == (2, True)


def test_login_keeps_the_token_for_its_owner_only(composia: Composia, home: Path) -> None:
    assert composia("login").exit_code == 0
    kept = home / "composia" / "client.yaml"
    assert os.stat(kept).st_mode & 0o777 == 0o600
    assert composia("services", token=None).exit_code == 0


def test_without_a_token_the_next_step_is_named(composia: Composia) -> None:
    ended = composia("services", token=None)
    assert (ended.exit_code, "composia login" in ended.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_completion_script(composia: Composia, shell: str) -> None:
    assert "_COMPOSIA_COMPLETE" in composia("completion", shell).stdout


def completed(app: FastAPI, *words: str) -> list[str]:
    """What a Tab after these words offers."""
    with_app = {"obj": {"transport": httpx2.ASGITransport(app=app)}}
    found = ShellComplete(cli, with_app, "composia", "_COMPOSIA_COMPLETE")
    return [one.value for one in found.get_completions([*words[:-1]], words[-1])]


def test_names_are_completed_with_the_token_of_a_file(
    app: FastAPI, composia: Composia, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = json.loads(composia("backup", "my-app", "--no-wait", "--json").stdout)["id"]
    # A person waits for a Tab, and not a test of a busy machine.
    monkeypatch.setattr("composia.cli.completion.PATIENCE", 60.0)
    monkeypatch.delenv("COMPOSIA_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    (home / "token").write_text("admin-token\n")
    given = ("--url", "http://composia", "--token-file", str(home / "token"))

    assert completed(app, *given, "deploy", "my") == ["my-app"]
    assert completed(app, *given, "logs", "my") == ["my-app"]
    assert completed(app, *given, "logs", "0") == [task]
    assert completed(app, *given[:2], "deploy", "my") == [], "no token, no names"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says_and_explains_itself(
    composia: Composia, name: str
) -> None:
    ended = composia(name, "--help")
    assert (ended.exit_code, ended.stdout.startswith("Usage:")) == (0, True)


def _every(group: click.Group, *words: str) -> Iterator[tuple[str, ...]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield (*words, name)
            if isinstance(command, click.Group):
                yield from _every(command, *words, name)


@pytest.mark.parametrize("words", [*_every(cli)], ids=" ".join)
def test_every_command_has_an_example(composia: Composia, words: tuple[str, ...]) -> None:
    shown = composia(*words, "--help").stdout
    assert re.search(rf"  Examples?:\n(.+\n)*    (.+: +)?composia {' '.join(words)}", shown)


@pytest.mark.parametrize("words", [(), *_every(cli)], ids=" ".join)
def test_no_line_of_a_help_breaks_off_and_every_option_says_what_it_does(
    composia: Composia, words: tuple[str, ...]
) -> None:
    shown = composia(*words, "--help").stdout
    options, _, commands = shown.partition("Options:\n")[2].partition("\nCommands:\n")
    assert "...\n" not in commands
    for option in re.split(r"\n(?=  -)", options.partition("\n\n")[0]):
        assert re.search(r"  \S.*  +\[?[A-Z-]", option.replace("\n", " ")), option


def test_a_command_says_where_the_exit_codes_are(composia: Composia) -> None:
    assert "  Exit codes: composia --help\n" in composia("backup", "--help").stdout
    assert "  Exit codes: composia --help\n" in composia("repo", "--help").stdout


def test_a_task_may_be_named_in_small_letters(composia: Composia) -> None:
    task = json.loads(composia("backup", "my-app", "--no-wait", "--json").stdout)["id"]
    shown = composia("task", "show", task.lower())
    assert (shown.exit_code, task in shown.stdout) == (0, True)


def test_where_nothing_is_heard_nothing_is_said_of_containers(
    composia: Composia, office: MemoryOffice
) -> None:
    assert "composia deploy other" in composia("service", "show", "other").stdout
    office.nodes.offline.add("main")
    shown = composia("service", "show", "other").stdout
    assert "nothing is heard of main" in shown
    assert "composia deploy" not in shown


def test_the_catalogs_state_is_told_in_words(composia: Composia, office: MemoryOffice) -> None:
    office.catalog.uncommitted = ("a/b", "c")
    shown = composia("catalog", "status").stdout
    assert f"pulled_at    {NOW:%Y-%m-%d %H:%M:%SZ} (" in shown
    assert "uncommitted  a/b\n             c\n" in shown


def test_the_exit_codes_are_documented(composia: Composia) -> None:
    assert "the controller cannot be reached" in composia("--help").stdout
