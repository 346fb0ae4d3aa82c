"""What kind of volume it is, by what its driver was told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from composia.tools.volumes import PLAIN, VolumeKind, kind_of

SECRET = "addr=nas,username=me,password=planted"


@pytest.mark.parametrize("options", [None, {}])
def test_a_local_volume_without_options_is_plain(options: Mapping[str, str] | None) -> None:
    assert kind_of("local", options) == kind_of(None, options) == PLAIN
    assert PLAIN.plain


@pytest.mark.parametrize("flags", ["bind", "rbind", "bind,rw", "rw, rbind,rslave"])
@pytest.mark.parametrize("kind", [{"type": "none"}, {"type": ""}, {"type": "bind"}, {}])
def test_a_local_volume_may_bind_a_folder(flags: str, kind: Mapping[str, str]) -> None:
    found = kind_of("local", {**kind, "o": flags, "device": "/srv/data"})
    assert found.device == "/srv/data"
    assert not found.plain


@pytest.mark.parametrize(
    ("driver", "options", "told"),
    [
        ("local", {"type": "nfs", "o": SECRET, "device": ":/export"}, "driver local with type nfs"),
        (
            "local",
            {"type": "cifs", "o": SECRET, "device": "//nas/x"},
            "driver local with type cifs",
        ),
        ("local", {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}, "with type tmpfs"),
        ("local", {"type": "ext4", "o": "bind", "device": "/dev/sdb1"}, "with type ext4"),
        ("local", {"type": "none", "o": "rw", "device": "/srv/data"}, "with type none"),
        ("local", {"type": "none", "o": "bind"}, "with type none"),
        ("local", {"o": "bind", "device": "/srv", "size": "1g"}, "with options of its own"),
        ("local", {"size": "10G"}, "driver local with options of its own"),
        ("rclone", {"type": "none", "o": "bind", "device": "/srv"}, "driver rclone"),
        ("rclone", None, "driver rclone"),
    ],
)
def test_any_other_is_called_by_its_name_and_keeps_no_option(
    driver: str, options: Mapping[str, str], told: str
) -> None:
    found = kind_of(driver, options)
    assert (found.plain, found.device) == (False, None)
    assert told in str(found)
    assert "planted" not in found.model_dump_json()


def test_options_are_read_as_compose_writes_them() -> None:
    assert kind_of("local", {"size": 10}) == VolumeKind(type="")
