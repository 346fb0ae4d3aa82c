"""What comes along from the data that a restore replaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.strategies import put_back
from composia.strategies.files_copy import FilesCopyBack
from composia.tools import manifest
from composia.tools.paths import parse_include
from tests.twins.site import Twins
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


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("data/app.db", "../docker-compose.yaml"),
        ("data/app.db", "not-there"),
        ("data", "other"),
        ("data", "."),
        ("data", "/etc"),
    ],
)
async def test_nothing_is_restored_over_what_a_link_leads_to(
    tmp_path: Path, link: str, to: str
) -> None:
    twins = Twins(tmp_path / "my-app")
    (twins.folder / "other").mkdir(parents=True)
    (twins.folder / "docker-compose.yaml").touch()
    (twins.folder / link).parent.mkdir(exist_ok=True)
    (twins.folder / link).symlink_to(to)

    with pytest.raises(Failure, match=r"symbolic link|leads out") as raised:
        await put_back.target(parse_include("./data/app.db"), twins.site)
    assert raised.value.hint


async def test_what_is_not_there_yet_has_its_place(tmp_path: Path) -> None:
    twins = Twins(tmp_path / "my-app")
    found = await put_back.target(parse_include("./data/app.db"), twins.site)
    assert (found.path, found.below) == (twins.folder / "data/app.db", twins.folder)
