from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.tools.exchange import (
    Move,
    Place,
    children,
    exchangeable,
    existing,
    planned,
)
from composia.tools.mounts import is_mount_point
from tests.unit.other_numbers import after_a_reboot, of_another_disk


def place(path: Path, below: Path) -> Place:
    return Place(below=below, path=path)


def folder_with(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


@pytest.fixture
def move(tmp_path: Path) -> Move:
    live = folder_with(tmp_path / "live" / "data", "old")
    staged = folder_with(tmp_path / "aside" / "data", "new")
    return planned(place(live, tmp_path), place(staged, tmp_path))


def read(place: Place) -> str:
    return (place.path / "file").read_text()


def test_two_folders_trade_places(move: Move) -> None:
    move.make()
    assert (read(move.live), read(move.staged)) == ("new", "old")


def test_a_move_made_twice_is_made_once(move: Move) -> None:
    move.make()
    move.make()
    assert read(move.live) == "new"


def test_an_undone_move_leaves_everything_as_it_was(move: Move) -> None:
    move.make()
    move.undo()
    move.undo()
    assert (read(move.live), read(move.staged)) == ("old", "new")


def test_a_move_read_from_a_journal_knows_whether_it_was_done(move: Move) -> None:
    move.make()
    assert Move.model_validate_json(move.model_dump_json()).is_done()


def test_a_move_is_undone_after_a_reboot_that_has_numbered_the_devices_anew(move: Move) -> None:
    move.make()
    again = Move.model_validate_json(after_a_reboot(move.model_dump_json()))
    assert again.is_done()
    again.undo()
    assert (read(move.live), read(move.staged)) == ("old", "new")


def test_files_of_another_disk_with_the_same_numbers_are_left_alone(move: Move) -> None:
    move.make()
    another = Move.model_validate_json(of_another_disk(move.model_dump_json()))
    for act in (another.undo, another.make):
        with pytest.raises(Failure, match="something else has moved them"):
            act()
    assert (read(move.live), read(move.staged)) == ("new", "old")


def test_a_single_file_trades_places(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("old")
    (tmp_path / "staged").write_text("new")
    planned(place(tmp_path / "live", tmp_path), place(tmp_path / "staged", tmp_path)).make()
    assert (tmp_path / "live").read_text() == "new"
    assert (tmp_path / "staged").read_text() == "old"


def test_what_was_not_there_is_gone_again_after_going_back(tmp_path: Path) -> None:
    (tmp_path / "staged").write_text("new")
    move = planned(place(tmp_path / "live", tmp_path), place(tmp_path / "staged", tmp_path))
    move.make()
    assert (tmp_path / "live").read_text() == "new"
    move.undo()
    assert not (tmp_path / "live").exists()
    assert (tmp_path / "staged").read_text() == "new"


def test_nothing_on_either_side_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="neither"):
        planned(place(tmp_path / "a", tmp_path), place(tmp_path / "b", tmp_path))


def test_somebody_else_having_moved_one_is_an_error_and_touches_nothing(move: Move) -> None:
    move.live.path.rename(move.live.path.with_name("elsewhere"))
    with pytest.raises(Failure, match="something else has moved them"):
        move.make()
    assert read(move.staged) == "new"


def test_a_symbolic_link_planted_on_the_way_is_not_followed(tmp_path: Path, move: Move) -> None:
    outside = folder_with(tmp_path / "outside" / "data", "precious")
    move.live.path.parent.rename(tmp_path / "moved")
    move.live.path.parent.symlink_to(outside.parent)
    with pytest.raises(Failure, match="no folder of its own"):
        move.make()
    assert (outside / "file").read_text() == "precious"


def test_a_symbolic_link_in_place_of_the_data_is_moved_itself(tmp_path: Path) -> None:
    outside = folder_with(tmp_path / "outside", "precious")
    (tmp_path / "live").symlink_to(outside)
    staged = folder_with(tmp_path / "staged", "new")
    planned(place(tmp_path / "live", tmp_path), place(staged, tmp_path)).make()
    assert (tmp_path / "live" / "file").read_text() == "new"
    assert (outside / "file").read_text() == "precious"


def test_a_place_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "a", tmp_path / "b" / ".." / "a", tmp_path / "b" / ".."):
        with pytest.raises(ValueError, match="does not lie in"):
            place(path, tmp_path / "b")


def test_the_children_of_a_folder_that_cannot_move_trade_places(tmp_path: Path) -> None:
    live, staged = tmp_path / "live", tmp_path / "live" / ".aside"
    folder_with(live, "old")
    (live / "only-old").write_text("1")
    folder_with(staged, "new")
    (staged / "only-new").write_text("2")
    left = frozenset({".aside"})
    for move in children(place(live, tmp_path), place(staged, tmp_path), leave=left):
        move.make()
    assert sorted(os.listdir(live)) == [".aside", "file", "only-new"]
    assert sorted(os.listdir(staged)) == ["file", "only-old"]
    assert (live / "file").read_text() == "new"


def test_folders_of_one_file_system_are_exchangeable(tmp_path: Path) -> None:
    assert exchangeable(tmp_path / "not" / "yet", tmp_path / "staged")


def test_a_mount_point_is_not_exchangeable(tmp_path: Path) -> None:
    assert is_mount_point(Path("/proc"))
    assert not exchangeable(Path("/proc"), tmp_path / "staged")


def test_the_nearest_folder_that_exists_is_found(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path


def test_a_name_that_is_no_text_goes_through_a_journal(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff \\ \n")
    odd.write_text("new")
    move = planned(place(tmp_path / "live", tmp_path), place(odd, tmp_path))
    Move.model_validate_json(move.model_dump_json()).make()
    assert (tmp_path / "live").read_text() == "new"
