"""What rustic says when it fails, in the user's words and with the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping

from composia.errors import Damaged, Failure
from composia.tools import compose
from composia.tools.rustic import NoSuchPath
from composia.tools.shell import Finished

KILLED, PANICKED = 137, 134
NO_REPOSITORY = "No repository config file found"
NO_SUCH_PATH = re.compile(r"Node `.*` not found in tree|is not a directory. Please provide", re.S)

OTHER = "the repository is damaged: what it holds is not what was written"
LOST = "the repository is damaged: some of its data is not there"
ABSENT = "the snapshot has no such path"
#: What is told as something else than a plain failure.
KINDS: Mapping[str, type[Failure]] = {OTHER: Damaged, LOST: Damaged, ABSENT: NoSuchPath}
#: (what rustic says, what that means, what to do); the first that fits counts.
TABLE = (
    (
        r"password that has been entered, seems to be incorrect",
        "the repository does not open with this password, or its `keys` folder cannot be read",
        "Compare `password` in the rustic profile with the one the repository was made with.",
    ),
    (
        NO_REPOSITORY,
        "there is no repository at its place",
        "Is the disk mounted, the server reachable, and `repository` in the profile right?",
    ),
    (
        r"No repository given",
        "the rustic profile names no repository",
        "Set `repository` under `[repository]` in the profile.",
    ),
    (
        r"Read-only file system|os error 30\b",
        "the repository is read-only",
        "Remove `:ro` from its mount, or mount its disk writable.",
    ),
    (
        r"No space left on device|os error 28\b|Disk quota exceeded|507 Insufficient Storage",
        "the disk is full",
        "Free some space on the disk that the data goes to, then try again.",
    ),
    (
        r"Permission denied|os error 13\b",
        "rustic may not read or write there",
        "Look at the owner and mode of the repository's folder and at `user` of the service.",
    ),
    (
        r"MAC check failed|check found errors|Invalid UTF-8|Data decryption failed",
        OTHER,
        "Check it with all data (`composia repo check --read-data`), and its disk.",
    ),
    (
        r"No CA certificates were loaded",
        "the image of rustic has no certificates, and without any it speaks to no server",
        "Use the official image, or mount a file of them and name it by SSL_CERT_FILE.",
    ),
    (
        r"os error 111\b|Connection refused|dns error|error sending request|timed out",
        "the repository cannot be reached",
        "Is its server running, and does this node reach it?",
    ),
    (
        r"/data/[0-9a-f]{2}/[0-9a-f]{64}[\s\S]*(os error 2\b|NotFound|UnexpectedEof)",
        LOST,
        "Check it with all data (`composia repo check --read-data`), and its disk.",
    ),
    (
        r"Failed to read the contents of the file[\s\S]*/snapshots/[0-9a-f]{64}",
        "the repository has no such snapshot",
        "It may have been forgotten: list the backups again.",
    ),
    (
        NO_SUCH_PATH.pattern,
        ABSENT,
        "Look at what it holds: `composia backups files`.",
    ),
)
TOO_LITTLE_MEMORY = (
    "rustic was killed, most often because memory ran out",
    "It needs up to 1.5 GiB: raise `mem_limit` of its compose service, or give the node more.",
)
PANIC = (
    "rustic broke off in the middle",
    "The disk may be full, or the repository damaged: `composia repo check --read-data`.",
)


def failure(what: str, finished: Finished) -> Failure:
    """The error that the end of a rustic call stands for; `what` was asked of it."""
    said = finished.stderr.decode(errors="replace")
    meaning, hint = _meaning(finished.code, said)
    if meaning:
        return KINDS.get(meaning, Failure)(f"{what}: {meaning}", hint=hint)
    if reason := _reason(said):
        return Failure(f"{what}: rustic says: {reason}")
    return compose.explained(what, finished)


def _meaning(code: int, said: str) -> tuple[str | None, str | None]:
    # What Docker says of its own troubles is told by compose.
    if "rustic_core" in said or "panicked at" in said:
        for pattern, meaning, hint in TABLE:
            if re.search(pattern, said):
                return meaning, hint
    if code == KILLED:
        return TOO_LITTLE_MEMORY
    if code == PANICKED or "panicked at" in said:
        return PANIC
    return None, None


def _reason(said: str) -> str | None:
    """The line after `Message:`, and the cause where one is given."""
    message = re.search(r"^Message:\n(.+)$", said, re.MULTILINE)
    if not message:
        plain = re.search(r"^error: (.+)$", said, re.MULTILINE)
        return plain[1] if plain else None
    cause = re.search(r"^Caused by:\n(.+)$", said, re.MULTILINE)
    return f"{message[1]} ({cause[1]})" if cause else message[1]
