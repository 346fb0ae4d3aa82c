"""A folder's files as one tar, for a node: nothing in it leads out of the folder."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TypeAlias

from composia.errors import Invalid, Problem
from composia.tools.git import LINK, SUBMODULE, Entry

#: How the name of an encrypted file ends.
ENCRYPTED = ".age"
#: Of a file's content. Raises ValueError with the reason.
Decrypt: TypeAlias = Callable[[bytes], bytes]
_EXECUTABLE = "100755"


def bundle(
    entries: Iterable[Entry],
    contents: Mapping[str, bytes],
    *,
    below: str,
    decrypt: Decrypt | None = None,
) -> bytes:
    """The entries below a folder as tar; encrypted ones in plain, where that can be done.

    Raises Invalid for what would lead out of the folder, and for what cannot be decrypted.
    """
    found = [(entry.path.removeprefix(f"{below}/"), entry) for entry in entries]
    for name, entry in found:
        if objection := _objection(name, entry, contents):
            raise _refused(entry, objection)
    if decrypt:
        _refuse_clashes(found)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, entry in found:
            if decrypt and is_encrypted(entry):
                content = _decrypted(entry, contents[entry.sha], decrypt)
                _add_file(tar, deployed_name(name), 0o600, content)
            else:
                _add(tar, name, entry, contents[entry.sha])
    return made.getvalue()


def is_encrypted(entry: Entry) -> bool:
    """Whether it is a file that is decrypted where there is an identity; a link never is."""
    return entry.path.endswith(ENCRYPTED) and entry.mode not in (LINK, SUBMODULE)


def deployed_name(name: str) -> str:
    """What an encrypted file is called on a node."""
    return name.removesuffix(ENCRYPTED)


def _objection(name: str, entry: Entry, contents: Mapping[str, bytes]) -> str | None:
    if not _may_be(name):
        return "a name that no catalog may have"
    if entry.mode == SUBMODULE:
        return "submodules are not understood; put the files themselves into the catalog"
    if entry.mode == LINK and not stays_inside(name, contents[entry.sha]):
        return "a symbolic link that leads out of the service's folder"
    return None


def _may_be(name: str) -> bool:
    return not any(part.lower() in ("", ".", "..", ".git") for part in name.split("/"))


def _refuse_clashes(found: Iterable[tuple[str, Entry]]) -> None:
    """No two files may be deployed under one name, nor one where another has its folder."""
    taken: dict[str, Entry] = {}
    for name, entry in found:
        there = deployed_name(name) if is_encrypted(entry) else name
        if not _may_be(there):
            raise _refused(entry, f"without {ENCRYPTED} it has a name that no catalog may have")
        if there in taken:
            raise _clash(entry, taken[there])
        taken[there] = entry
    for there, entry in taken.items():
        for folder in PurePosixPath(there).parents:
            if str(folder) in taken:
                raise _clash(entry, taken[str(folder)])


def _clash(entry: Entry, other: Entry) -> Invalid:
    paths = sorted((entry.path, other.path), key=lambda path: path.endswith(ENCRYPTED))
    named = " and ".join(_printable(path) for path in paths)
    return _refused(entry, f"{named} cannot both be deployed; take one of them out of the catalog")


def _decrypted(entry: Entry, content: bytes, decrypt: Decrypt) -> bytes:
    try:
        return decrypt(content)
    except ValueError as error:
        raise _refused(
            entry,
            f"cannot be decrypted: {error}",
            "Encrypt it anew, and commit it: composia catalog encrypt --force "
            + shlex.quote(_printable(deployed_name(entry.path))),
        ) from None


def _refused(entry: Entry, objection: str, hint: str | None = None) -> Invalid:
    path = _printable(entry.path)
    problem = Problem(msg=objection, file=path)
    return Invalid(f"{path}: {objection}", hint=hint, problems=(problem,))


def _printable(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")


def stays_inside(name: str, target: bytes) -> bool:
    """Whether a link's target stays in the folder, whatever other links of the folder say.

    So `..` may stand at its beginning only, where it climbs out of real folders.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    return not target.startswith(b"/") and b".." not in parts[climbs:] and climbs <= name.count("/")


def _add(tar: tarfile.TarFile, name: str, entry: Entry, content: bytes) -> None:
    if entry.mode == LINK:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, content.decode(errors="surrogateescape")
        tar.addfile(info)
        return
    _add_file(tar, name, 0o755 if entry.mode == _EXECUTABLE else 0o644, content)


def _add_file(tar: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(content)
    tar.addfile(info, io.BytesIO(content))
