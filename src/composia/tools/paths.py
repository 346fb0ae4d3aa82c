"""What a user may name inside a service: a path below its folder, or a volume."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1024
_LONGEST_NAME = 255


class IncludedPath(BaseModel):
    """A file or folder inside the service's folder."""

    model_config = ConfigDict(frozen=True)

    #: Below the service's folder, without `./` and without a final slash: `data/uploads`.
    path: str

    def __str__(self) -> str:
        return f"./{self.path}"


class IncludedVolume(BaseModel):
    """A volume named under `volumes:` of the compose file."""

    model_config = ConfigDict(frozen=True)

    key: str

    def __str__(self) -> str:
        return self.key


Included = IncludedPath | IncludedVolume


def parse_include(text: str) -> Included:
    """What an entry of `include` or `exclude` names. Raises ValueError for one that is refused."""
    if "/" in text or text in (".", ".."):
        return IncludedPath(path=_mountable(relative_path(text)))
    _refuse_odd(text)
    if not _VOLUME.fullmatch(text):
        raise ValueError(
            f"`{text}` is no name of a volume; write `./{text}` for a path in the service's folder"
        )
    return IncludedVolume(key=text)


def relative_path(text: str) -> str:
    """A path inside a folder, tidied: no `./`, no double or final slash. Raises ValueError."""
    _refuse_odd(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or parts[:1] == ["~"]:
        raise ValueError(f"`{text}` must be a path inside the folder, not an absolute one")
    if ".." in parts:
        raise ValueError(f"`{text}` must not leave the folder: `..` is refused")
    if not parts:
        raise ValueError(f"`{text}` is the whole folder; name what is inside it")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise ValueError("a file name may have at most 255 bytes")
    return "/".join(parts)


def overlapping(included: Iterable[Included]) -> tuple[Included, Included] | None:
    """The first two of which one is, or is inside, the other; None where they are all apart."""
    for one, other in itertools.combinations(included, 2):
        if _overlap(one, other):
            return one, other
    return None


def _overlap(one: Included, other: Included) -> bool:
    if isinstance(one, IncludedPath) and isinstance(other, IncludedPath):
        mine, theirs = f"{one.path}/", f"{other.path}/"
        return mine.startswith(theirs) or theirs.startswith(mine)
    return one == other


def is_inside(one: Included, other: Included) -> bool:
    """Whether it lies below the other; nothing lies below itself."""
    if isinstance(one, IncludedPath) and isinstance(other, IncludedPath):
        return one.path.startswith(f"{other.path}/")
    return False


def is_utf8(text: str) -> bool:
    """Whether a name is text: bytes of one that is none are kept as halves of characters."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _refuse_odd(text: str) -> None:
    if not text.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    if len(text) > _LONGEST:
        raise ValueError(f"must have at most {_LONGEST} characters")
    if not is_utf8(text):
        raise ValueError("must be UTF-8")


def _mountable(path: str) -> str:
    # Docker splits HOST:TARGET at colons, and there is no way to quote one.
    if ":" in path:
        raise ValueError(f"`./{path}` contains a colon, which Docker cannot mount")
    return path


def _checked_include(text: str) -> str:
    parse_include(text)
    return text


#: An entry of `include` or `exclude` as written; `parse_include` says what it names.
IncludePath = Annotated[str, AfterValidator(_checked_include)]
#: A path inside the service's folder, tidied.
InsidePath = Annotated[str, AfterValidator(relative_path)]
