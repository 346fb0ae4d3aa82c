"""The git program on one work tree: nothing is asked on a terminal, no hook of it is run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from composia.errors import CommandFailed, Failure, Invalid
from composia.tools.shell import Command, Finished, Shell, Silent

#: Seconds for which a remote may say nothing before it counts as unreachable; however much it says.
SILENCE = 30.0
REMOTE = "origin"
LINK = "120000"
SUBMODULE = "160000"

_SAFE = (
    "core.hooksPath=/dev/null",
    "protocol.ext.allow=never",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.fsync=all",
    "commit.gpgSign=false",
    "gc.autoDetach=false",
    "http.lowSpeedLimit=1000",
    f"http.lowSpeedTime={SILENCE:.0f}",
)
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
}
# Answers from the environment: a secret in an argument could be seen by everybody.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$COMPOSIA_GIT_USERNAME" "$COMPOSIA_GIT_PASSWORD"; }; f'
)
#: Words of a line of `git status` before its path: changed, in conflict, new.
_BEFORE_THE_PATH = {"1": 8, "u": 10, "?": 1}
_LOG_FORMAT = "%H%x00%an%x00%ae%x00%at%x00%s%x00%b%x00%P"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to show oneself to a remote over HTTP; given to that remote's host only."""

    url: str
    username: str
    password: str = field(repr=False)

    @property
    def origin(self) -> str:
        """Scheme and host of the remote."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote a commit."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a work tree has: branch and commit (None for none yet), and paths that differ."""

    branch: str | None
    revision: str | None
    uncommitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit. `mode`: 100644, 100755, 120000 (a link) or 160000 (a submodule)."""

    mode: str
    sha: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; `body` is what its message says after the subject, `parent` its first one."""

    revision: str
    author: Person
    time: datetime
    subject: str
    body: str = ""
    parent: str | None = None


class Git:
    """Git on one work tree. Everything raises CommandFailed when Git does."""

    def __init__(self, shell: Shell, folder: Path, credentials: Credentials | None = None) -> None:
        self._shell = shell
        self._folder = folder
        self._credentials = credentials

    @property
    def is_there(self) -> bool:
        """Whether the folder is a work tree of its own."""
        return (self._folder / ".git").exists()

    async def init(self, branch: str) -> None:
        """Make an empty repository."""
        await self._run("init", "-q", "-b", branch, "--", str(self._folder))

    async def knows_a_person(self) -> bool:
        """Whether somebody who commits here by hand has a name."""
        return (await self._run("var", "GIT_AUTHOR_IDENT", check=False)).code == 0

    async def set_person(self, person: Person) -> None:
        """Name who commits here by hand, where nothing else does."""
        for key, value in (("user.name", person.name), ("user.email", person.email)):
            if (await self._run("config", "--get", key, check=False)).code != 0:
                await self._run("config", key, value)

    async def set_remote(self, url: str) -> None:
        """Name the remote; an older name of ours is replaced."""
        await self._run("config", f"remote.{REMOTE}.url", url)
        refs = f"+refs/heads/*:refs/remotes/{REMOTE}/*"
        await self._run("config", f"remote.{REMOTE}.fetch", refs)

    async def fetch(self, branch: str) -> str | None:
        """Fetch a branch; its revision there, None where the remote has no such branch.

        Raises CommandFailed, or Failure when it says nothing for SILENCE.
        """
        listed = await self._remote("ls-remote", "--heads", REMOTE, f"refs/heads/{branch}")
        if not (found := _text(listed.stdout).split()):
            return None
        target = f"refs/remotes/{REMOTE}/{branch}"
        if found[0] == await self.revision(target):
            return found[0]
        await self._remote(
            "fetch", "--progress", "--no-tags", REMOTE, f"+refs/heads/{branch}:{target}"
        )
        return await self.revision(target)

    async def push(self, revision: str, branch: str) -> bool:
        """Push a commit as the branch; False where the remote has moved on. Never by force."""
        done = await self._remote(
            "push",
            "--porcelain",
            "--progress",
            REMOTE,
            f"{revision}:refs/heads/{branch}",
            check=False,
        )
        if done.code == 0:
            return True
        if any(line.startswith("!") and _moved_on(line) for line in _lines(done.stdout)):
            return False
        raise done.error()

    async def revision(self, name: str) -> str | None:
        """The commit of that name; None where there is none."""
        words = ("rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}")
        done = await self._run(*words, check=False)
        return _text(done.stdout).strip() or None

    async def head(self) -> Head:
        """What the work tree has."""
        words = ("--porcelain=v2", "--branch", "-z", "-uall", "--no-renames")
        done = await self._run("status", *words)
        return _head(done.stdout.decode(errors="replace").split("\0"))

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Whether the one commit is, or comes before, the other."""
        done = await self._run("merge-base", "--is-ancestor", old, new, check=False)
        if done.code not in (0, 1):
            raise done.error()
        return done.code == 0

    async def ahead(self, of: str, revision: str) -> int:
        """How many commits `revision` has that `of` has not."""
        done = await self._run("rev-list", "--count", "--end-of-options", f"{of}..{revision}")
        return int(done.stdout)

    async def fast_forward(self, revision: str) -> None:
        """Bring branch and files on to a later commit; local edits in the way make it fail."""
        await self._run("merge", "-q", "--ff-only", revision)

    async def check_out(self, branch: str, revision: str) -> None:
        """Start the branch, which has no commit yet, at a commit; files in the way make it fail."""
        await self._run("read-tree", "-m", "-u", revision)
        await self._run("update-ref", f"refs/heads/{branch}", revision, "0" * 40)

    async def tree(self, revision: str, path: str | None = None) -> tuple[Entry, ...]:
        """The files of a commit, all of them or those at and below a path."""
        words = ["ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", revision]
        done = await self._run(*words, *(("--", path) if path else ()))
        return tuple(_entry(line) for line in _text(done.stdout).split("\0") if line)

    async def blobs(self, shas: Collection[str]) -> dict[str, bytes]:
        """The contents of files by their ids."""
        if not shas:
            return {}
        asked = "".join(f"{sha}\n" for sha in shas).encode()
        done = await self._run("cat-file", "--batch", stdin=asked)
        return _contents(done.stdout)

    async def commit_files(
        self, parent: str | None, files: Mapping[str, bytes], *, author: Person, message: str
    ) -> str:
        """A new commit in which these files are other than in its parent; nothing points to it."""
        with tempfile.TemporaryDirectory(prefix="composia-") as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
            if parent:
                await self._run("read-tree", parent, env=index)
            for path, content in files.items():
                entry = await self._stored(parent, path, content)
                await self._add(path, entry, index)
            tree = _text((await self._run("write-tree", env=index)).stdout).strip()
        return await self._commit(tree, parent, author, message)

    async def log(self, revision: str, path: str | None, limit: int) -> tuple[Commit, ...]:
        """The newest commits, of one path or of all."""
        words = ["log", "-z", f"--format={_LOG_FORMAT}", f"-{limit}", "--end-of-options", revision]
        done = await self._run(*words, *(("--", path) if path else ("--",)))
        # Whatever somebody's Git took for text: it is only read by people.
        fields = done.stdout.decode(errors="replace").removesuffix("\0").split("\0")
        return tuple(_logged(*fields[at : at + 7]) for at in range(0, len(fields) - 6, 7))

    async def difference(self, before: str, after: str) -> str | None:
        """The lines in which two files differ, by their ids; None where one is no text."""
        words = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", before, after)
        said = (await self._run(*words)).stdout.decode(errors="replace")
        lines = said.split("\n")
        start = next((at for at, line in enumerate(lines) if line.startswith("@@")), None)
        if start is None:
            return None if "\nBinary files " in said else ""
        return "\n".join(lines[start:]).removesuffix("\n")

    async def _stored(self, parent: str | None, path: str, content: bytes) -> str:
        """A file's entry for the index; one that was there keeps its mode."""
        before = await self.tree(parent, path) if parent else ()
        mode = next((entry.mode for entry in before if entry.path == path), "100644")
        done = await self._run("hash-object", "-w", "--stdin", stdin=content)
        return f"{mode},{_text(done.stdout).strip()},{path}"

    async def _add(self, path: str, entry: str, index: Mapping[str, str]) -> None:
        words = ("update-index", "--add", "--cacheinfo", entry)
        done = await self._run(*words, check=False, env=index)
        if done.code != 0:
            raise Invalid(f"Git does not take {path} as a file's path: {reason(done.error())}")

    async def _commit(self, tree: str, parent: str | None, author: Person, message: str) -> str:
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", author.name), ("EMAIL", author.email))
        }
        parents = ("-p", parent) if parent else ()
        words = ("commit-tree", tree, *parents, "-F", "-")
        done = await self._run(*words, env=who, stdin=message.encode())
        return _text(done.stdout).strip()

    async def _remote(self, *words: str, check: bool = True) -> Finished:
        try:
            return await self._run(*words, check=check, env=self._login(), silence=SILENCE)
        except Silent:
            raise Failure(f"the remote has said nothing for {SILENCE:g} s") from None

    def _login(self) -> dict[str, str]:
        if not (shown := self._credentials):
            return {}
        key = f"credential.{shown.origin}.helper"
        settings = {"credential.helper": "", key: _HELPER}
        return {
            "GIT_CONFIG_COUNT": str(len(settings)),
            **{f"GIT_CONFIG_KEY_{n}": name for n, name in enumerate(settings)},
            **{f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings.values())},
            "COMPOSIA_GIT_USERNAME": shown.username,
            "COMPOSIA_GIT_PASSWORD": shown.password,
        }

    async def _run(
        self,
        *words: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        silence: float | None = None,
    ) -> Finished:
        options = [
            word for option in (*_SAFE, f"safe.directory={self._folder}") for word in ("-c", option)
        ]
        # Both named: an environment of another repository must not lead elsewhere.
        place = {"GIT_DIR": str(self._folder / ".git"), "GIT_WORK_TREE": str(self._folder)}
        command = Command(
            ("git", *options, *words),
            cwd=self._folder,
            env={**_QUIET, **place, **(env or {})},
            stdin=stdin,
            silence=silence,
        )
        return await self._shell.run(command, check=check)


def plain_file(path: str, entries: Iterable[Entry]) -> Entry | None:
    """The entry of that path, where it is a file and neither link nor submodule."""
    plain = (entry for entry in entries if entry.mode not in (LINK, SUBMODULE))
    return next((entry for entry in plain if entry.path == path), None)


def reason(error: Failure) -> str:
    """What Git complained about, in one line."""
    lines = [line for line in error.message.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
    return (telling or lines or [""])[0].removeprefix("fatal: ").strip()


_MOVED_ON = (
    "fetch first",
    "non-fast-forward",
    "cannot lock ref",
    "failed to update ref",
    "incorrect old value",
)


def _moved_on(line: str) -> bool:
    return any(words in line for words in _MOVED_ON)


def _head(fields: Iterable[str]) -> Head:
    """Of `git status --porcelain=v2 --branch`: headers, then paths and what is said of them."""
    branch = revision = None
    changed = []
    for field_ in filter(None, fields):
        match field_.split(" ", 2):
            case ["#", "branch.oid", oid]:
                revision = None if oid == "(initial)" else oid
            case ["#", "branch.head", name]:
                branch = None if name == "(detached)" else name
            case [kind, *_] if kind in _BEFORE_THE_PATH:
                changed.append(field_.split(" ", _BEFORE_THE_PATH[kind])[-1])
    return Head(branch, revision, tuple(changed))


def _entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, _, sha, size = facts.split()
    return Entry(mode, sha, int(size) if size.isdigit() else 0, path)


def _contents(answer: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        sha, kind, *size = answer[at:end].decode().split()
        if not size:
            raise CommandFailed(f"the object {sha} of the catalog is {kind}")
        length = int(size[0])
        found[sha] = answer[end + 1 : end + 1 + length]
        at = end + 1 + length + 1
    return found


def _logged(
    revision: str, name: str, email: str, time: str, subject: str, body: str, parents: str
) -> Commit:
    return Commit(
        revision,
        Person(name, email),
        datetime.fromtimestamp(int(time), UTC),
        subject,
        body.strip("\n"),
        parents.partition(" ")[0] or None,
    )


def _text(output: bytes) -> str:
    return os.fsdecode(output)


def _lines(output: bytes) -> list[str]:
    return _text(output).splitlines()
