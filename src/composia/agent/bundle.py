"""The catalog's files of one service as they came: checked before any of them is believed."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from composia.errors import Failure
from composia.tools.bundle import stays_inside
from composia.tools.paths import relative_path

MOST_FILES = 20_000
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file or symbolic link of the bundle."""

    path: str
    #: Permission bits; of no meaning for a link.
    mode: int
    #: Of the content, or of the link's target.
    sha256: str
    target: str | None
    info: tarfile.TarInfo


class Bundle:
    """An opened bundle. Raises Failure for one that is not a plain folder of files and links."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
            self.members = {member.path: member for member in self._read()}
        except (tarfile.TarError, EOFError) as error:
            raise Failure(f"the bundle is no tar archive: {error}") from error

    def content(self, member: Member) -> IO[bytes]:
        """What is in a file."""
        opened = self._tar.extractfile(member.info)
        assert opened
        return opened

    def _read(self) -> Iterator[Member]:
        for number, info in enumerate(self._tar):
            if number >= MOST_FILES:
                raise Failure(f"the service's folder has more than {MOST_FILES} files")
            if not info.isdir():
                yield self._member(info)

    def _member(self, info: tarfile.TarInfo) -> Member:
        path = _inside(info.name)
        mode = _mode(info.mode)
        if info.isfile():
            return Member(path, mode, _sha256(self._tar.extractfile(info)), None, info)
        if not info.issym() or not stays_inside(path, info.linkname.encode(errors="replace")):
            raise Failure(f"the bundle's entry {info.name!r} is neither a file nor a link inside")
        target = info.linkname
        digest = hashlib.sha256(target.encode(errors="surrogateescape")).hexdigest()
        return Member(path, mode, digest, target, info)


def _mode(bits: int) -> int:
    if not bits & 0o077:
        # It was decrypted for us.
        return 0o600
    return 0o755 if bits & 0o100 else 0o644


def _inside(name: str) -> str:
    try:
        path = relative_path(name)
    except ValueError as error:
        raise Failure(f"the bundle's entry {name!r} leads out of the folder: {error}") from error
    if path.split("/")[0] == ".git":
        raise Failure("the bundle holds a .git folder")
    return path


def _sha256(file: IO[bytes] | None) -> str:
    assert file
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
