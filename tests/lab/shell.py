"""Running programs, and the one error the lab raises."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """Something the lab could not do, in words for its user."""


def say(text: str) -> None:
    """Tell the user what happens; stdout belongs to the JSON object."""
    print(text, file=sys.stderr, flush=True)


def run(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and give its stdout; a failure carries the end of its stderr."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode != 0:
        raise LabError(f"{shlex.join(words)}: exit {done.returncode}\n{_end(done)}")
    return done.stdout


def succeeds(*argv: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Whether a program exits with 0; a program that is missing does not."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def logged(log: Path, *argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a long program with its output in `log`; a failure names the log and shows its end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words: Sequence[str] = [str(word) for word in argv]
    with log.open("ab") as out:
        done = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"{shlex.join(words)}: exit {done.returncode}, see {log}\n{tail}")


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds."""
    if path.is_dir() and not path.is_symlink():
        run("rm", "-rf", "--one-file-system", path)
    else:
        path.unlink(missing_ok=True)


def _end(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
