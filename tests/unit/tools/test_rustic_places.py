"""Whether a catalog's rustic profile names a repository that every node reaches by itself."""

from __future__ import annotations

import pytest

from composia.tools.rustic_places import are_remote, place, profiles


@pytest.mark.parametrize(
    ("named", "remote"),
    [
        ("/repo", False),
        ("local:/repo", False),
        ("./repo", False),
        ("rest:https://user:secret@host/", True),
        ("opendal:s3", True),
        ("opendal:sftp", True),
        ("rclone:disk:folder", True),
    ],
)
def test_a_place_is_remote_by_its_scheme(named: str, remote: bool) -> None:
    text = f'[repository]\nrepository = "{named}"\npassword = "x"\n'

    assert are_remote([place(text)]) is remote


def test_no_place_at_all_is_not_remote() -> None:
    assert not are_remote([place("[backup]\n"), place("not = [toml")])


def test_the_profile_is_taken_by_its_name() -> None:
    files = ["docker-compose.yaml", "config/rustic.toml", "config/other.toml"]

    assert profiles(files, "other") == ("config/other.toml",)
    assert profiles(files, "default") == ("config/rustic.toml",)
    assert profiles(files, "/config/other.toml") == ("config/other.toml",)
    assert profiles(files, "elsewhere") == ("config/rustic.toml", "config/other.toml")
