"""What an engine says of containers and images, as we read it."""

from __future__ import annotations

from composia.tools.containers import digests_of, same_image

PULLED = "sha256:" + "a" * 64


def test_an_image_that_was_pulled_is_known_by_its_digest_too() -> None:
    here = digests_of({"Id": "sha256:1", "RepoDigests": [f"postgres@{PULLED}"]})
    # Another kind of store calls it by that digest itself.
    there = digests_of({"Id": PULLED, "RepoDigests": [f"mirror.lan:5000/postgres@{PULLED}"]})
    assert (here, there) == (("sha256:1", PULLED), (PULLED,))
    assert same_image(here, there)


def test_images_that_were_built_are_told_apart_by_their_ids() -> None:
    one, other = (
        digests_of({"Id": name, "RepoDigests": None}) for name in ("sha256:1", "sha256:2")
    )
    assert same_image(one, one)
    assert not same_image(one, other)
