"""Commits into a bare repository, as somebody's push would make them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.lab.catalog import GIT_ENV
from tests.lab.shell import run

#: Git's name of no object: what removes an entry.
NOTHING = "0" * 40


def commit(bare: Path, files: Mapping[str, str | None], message: str = "Change services") -> str:
    """Put one commit with these files (None removes one) on the branch; gives its id."""
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, **GIT_ENV, "GIT_INDEX_FILE": str(Path(scratch, "index"))}

        def git(*words: str, stdin: str | None = None) -> str:
            return run("git", "-C", bare, *words, env=env, stdin=stdin).strip()

        git("read-tree", "main")
        for path, content in files.items():
            if content is None:
                git("update-index", "--index-info", stdin=f"0 {NOTHING}\t{path}\n")
            else:
                blob = git("hash-object", "-w", "--stdin", stdin=content)
                git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        parent = git("rev-parse", "main")
        made = git("commit-tree", git("write-tree"), "-p", parent, "-m", message)
        git("update-ref", "refs/heads/main", made, parent)
        return made


def read_folder(folder: Path) -> dict[str, str]:
    """The files of a folder, named as they will be in the catalog."""
    return {
        f"{folder.name}/{path.relative_to(folder)}": path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
