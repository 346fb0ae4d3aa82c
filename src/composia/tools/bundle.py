"""A folder's files as one tar, for a node: nothing in it leads out of the folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping

from composia.errors import Invalid, Problem
from composia.tools.git import LINK, SUBMODULE, Entry

_EXECUTABLE = "100755"


def bundle(entries: Iterable[Entry], contents: Mapping[str, bytes], *, below: str) -> bytes:
    """The entries below a folder as tar. Raises Invalid for what would lead out of it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            name = entry.path.removeprefix(f"{below}/")
            if objection := _objection(name, entry, contents):
                problem = Problem(msg=objection, file=entry.path)
                raise Invalid(f"{entry.path}: {objection}", problems=(problem,))
            _add(tar, name, entry, contents[entry.sha])
    return made.getvalue()


def _objection(name: str, entry: Entry, contents: Mapping[str, bytes]) -> str | None:
    parts = name.split("/")
    if any(part.lower() in ("", ".", "..", ".git") for part in parts):
        return "a name that no catalog may have"
    if entry.mode == SUBMODULE:
        return "submodules are not understood; put the files themselves into the catalog"
    if entry.mode == LINK and not stays_inside(name, contents[entry.sha]):
        return "a symbolic link that leads out of the service's folder"
    return None


def stays_inside(name: str, target: bytes) -> bool:
    """Whether a link's target stays in the folder, whatever other links of the folder say.

    So `..` may stand at its beginning only, where it climbs out of real folders.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    return not target.startswith(b"/") and b".." not in parts[climbs:] and climbs <= name.count("/")


def _add(tar: tarfile.TarFile, name: str, entry: Entry, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if entry.mode == _EXECUTABLE else 0o644
    if entry.mode == LINK:
        info.type, info.linkname = tarfile.SYMTYPE, content.decode(errors="surrogateescape")
        tar.addfile(info)
        return
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
