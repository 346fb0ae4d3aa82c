"""Where a rustic profile says that the repository is, as far as its text alone can tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from composia.tools.rustic_profile import section

#: rest:, opendal:s3, rclone:, ...
_REMOTE = re.compile(r"(?!local:)[a-z][a-z0-9+]+:")


def profiles(files: Collection[str], profile: str) -> tuple[str, ...]:
    """Of a service's files, those that may be the profile: by its name, or else all of TOML."""
    every = [path for path in files if path.endswith(".toml")]
    names = {PurePosixPath(profile).stem, *(("rustic",) if profile == "default" else ())}
    named = [path for path in every if PurePosixPath(path).stem in names]
    return tuple(named or every)


def place(text: str) -> str | None:
    """What the profile names as the repository."""
    try:
        named = section(tomllib.loads(text), "repository").get("repository")
    except tomllib.TOMLDecodeError:
        return None
    return str(named) if named else None


def are_remote(places: Iterable[str | None]) -> bool:
    """Whether the places that are named are such as every node reaches by itself."""
    named = [one for one in places if one]
    return bool(named) and all(_REMOTE.match(one) for one in named)
