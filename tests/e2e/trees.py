"""Trees of files with everything a file system holds, compared by other means than ours."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

#: Names that trip tools up.
HOSTILE = (
    b"new\nline",
    b" space ",
    b"quote'\"",
    bytes([255, 254]),
    b"-rf",
    b"--help",
    b"*?[x]{y}\\",
)


def fill(root: Path, files: int = 20) -> None:
    """Everything that has to come back: odd names, owners, modes, links, xattrs, empty folders."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        path = root / f"folder {number % 3}" / f"file{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(1000 + number))
        os.chown(path, 1000 + number, 2000)
        path.chmod(0o640)
    for name in HOSTILE:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    (root / "empty folder").mkdir()
    (root / "empty folder").chmod(0o711)
    (root / "hard link").hardlink_to(root / "folder 0" / "file0")
    (root / "symlink").symlink_to("folder 0/file0")
    (root / "dangling").symlink_to("/no/such/place")
    os.mkfifo(root / "fifo")
    os.setxattr(root / "hard link", "user.colour", b"green")
    (root / "setuid").write_bytes(b"x")
    (root / "setuid").chmod(0o4755)
    os.utime(root / "folder 1", ns=(1_500_000_000_123_456_789,) * 2)
    os.chown(root, 4242, 4343)
    root.chmod(0o2750)
    os.utime(root, ns=(1_400_000_000_987_654_321,) * 2)


def look(root: Path) -> dict[str, Any]:
    """Everything that can be seen of a tree, by path; the root is `.`."""
    seen: dict[str, Any] = {".": _entry(root)}
    links: dict[tuple[int, int], list[str]] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            seen[relative] = _entry(path)
            found = path.lstat()
            if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                links.setdefault((found.st_dev, found.st_ino), []).append(relative)
    seen["hard links"] = sorted(sorted(group) for group in links.values())
    return seen


def _entry(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    content: str | None = None
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    return (
        oct(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_mtime_ns,
        content,
        tuple(sorted(xattrs.items())),
    )
