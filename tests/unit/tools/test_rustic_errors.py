"""What rustic's failures mean."""

from __future__ import annotations

import pytest

from composia.tools.rustic import NoSuchPath
from composia.tools.rustic_errors import failure
from composia.tools.shell import Command, Finished

CORE = "error: `rustic_core` experienced an error related to `{}`.\n\nMessage:\n{}\n"


def ended(said: str, code: int = 1) -> Finished:
    return Finished(Command(("docker", "compose", "run")), code, b"", said.encode())


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("The password that has been entered, seems to be incorrect. No key", "this password"),
        ("No repository config file found for `local:/repo`.", "no repository at its place"),
        ("No repository given. Please make sure", "names no repository"),
        ("x\n\nCaused by:\nRead-only file system (os error 30)", "is read-only"),
        ("x\n\nCaused by:\nNo space left on device (os error 28)", "the disk is full"),
        ("x\n\nCaused by:\nPermission denied (os error 13)", "may not read or write there"),
        ("Data decryption failed, MAC check failed.", "is damaged"),
        ("check found errors!", "is damaged"),
        ("x\n\nCaused by:\nConnection refused (os error 111)", "cannot be reached"),
        (
            f"Failed to read the contents of the file. \n/repo/snapshots/{'0' * 64}",
            "no such snapshot",
        ),
        ("Node `gone` not found in tree.", "no such path"),
        (
            "Path `/a` in Node subtree is not a directory. Please provide a directory",
            "no such path",
        ),
    ],
)
def test_a_known_failure_is_told_in_the_users_words_with_a_next_step(
    said: str, meaning: str
) -> None:
    error = failure("saving", ended(CORE.format("the backend", said)))

    assert error.message.startswith("saving: ")
    assert meaning in error.message
    assert error.hint


def test_a_path_that_is_not_there_is_told_from_other_failures() -> None:
    error = failure("listing", ended(CORE.format("the backend", "Node `gone` not found in tree.")))

    assert isinstance(error, NoSuchPath)


def test_an_unknown_failure_quotes_the_reason_and_its_cause() -> None:
    said = CORE.format("x", "Something new.\n\nCaused by:\nthe moon")

    assert (
        failure("saving", ended(said)).message == "saving: rustic says: Something new. (the moon)"
    )


def test_a_wrong_option_is_quoted() -> None:
    error = failure("saving", ended("error: unrecognized subcommand 'x'\n\nUsage: rustic"))

    assert error.message == "saving: rustic says: unrecognized subcommand 'x'"


def test_a_kill_means_too_little_memory() -> None:
    error = failure("restoring", ended("[INFO] using config\n", 137))

    assert "memory ran out" in error.message
    assert "1.5 GiB" in (error.hint or "")


def test_a_panic_says_what_may_be_wrong() -> None:
    error = failure("restoring", ended("thread 'main' panicked at src/x.rs:1:1:\nboom", 134))

    assert "broke off" in error.message
    assert "damaged" in (error.hint or "")


def test_a_panic_with_a_known_reason_tells_it() -> None:
    said = "thread '<unnamed>' panicked at x:\nNo space left on device (os error 28)"

    assert "the disk is full" in failure("restoring", ended(said, 134)).message


def test_dockers_own_troubles_are_told_by_compose() -> None:
    error = failure("saving", ended("Error response from daemon: No such image: rustic:latest\n"))

    assert "No such image: rustic:latest" in error.message
    assert "`image`" in (error.hint or "")
