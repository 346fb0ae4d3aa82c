"""What comes along from the data that a restore replaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from composia.strategies.files_copy import FilesCopyBack
from composia.tools import manifest
from tests.unit.strategies.test_proof import GOOD, ROOT, WANTED, a_repository, site


async def test_what_the_backup_left_out_is_carried_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"123")
    taken = manifest.take(tree)
    # The first by the filters of the profile, the second by the item's own `exclude`.
    kept = manifest.join({ROOT: replace(taken, left_out=(b"cache", b"cache-2"))}).write()
    engine = a_repository(GOOD, {})
    engine.like = tree
    wanted = WANTED.model_copy(update={"exclude": ("./data/cache/temp", "./data/b/temp")})
    (tmp_path / "service").mkdir()
    staged = await FilesCopyBack(include=("./data",)).fetch(wanted, site(tmp_path, engine, kept))
    (swap,) = staged.swaps
    assert swap.carry == (Path("b/temp"), Path("cache"), Path("cache-2"))
