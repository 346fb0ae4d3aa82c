"""Which volumes and binds no backup would bring back."""

from __future__ import annotations

from typing import Any

import pytest

from composia.model.node import Mount
from composia.workflows.coverage import unprotected
from tests.twins.office import INFRA, MY_APP, container, node_state, service


def found(*mounts: Mount, meta: dict[str, Any] | None = None) -> list[str]:
    state = node_state(container("my-app", "web"), mounts=mounts)
    return list(unprotected(service(meta or MY_APP), {"main": state, "edge": None}))


def excluding(place: str, *others: dict[str, Any]) -> dict[str, Any]:
    """A service with an item that leaves this out, and other items."""
    first = {"include": ["./data", "cache"], "exclude": [place]}
    names = [{"name": f"item{number}"} for number, _ in enumerate((first, *others))]
    items = [
        {**name, "backup": {"strategy": "files.copy", **way}}
        for name, way in zip(names, (first, *others), strict=True)
    ]
    return {"name": "my-app", "data_protect": {"data": items}, "backup": {"data": names}}


def bind(source: str) -> Mount:
    return Mount(kind="bind", source=source, used_by=("web",))


def test_a_volume_that_nothing_names_is_unprotected() -> None:
    assert found(Mount(kind="volume", source="cache", used_by=("web",))) == ["cache"]


def test_an_anonymous_volume_is_unprotected() -> None:
    assert found(Mount(kind="anonymous", source="web:/data", used_by=("web",))) == ["web:/data"]


@pytest.mark.parametrize("source", ["./data/uploads", "./data/uploads/", "./data/uploads/sub"])
def test_what_an_item_includes_is_protected(source: str) -> None:
    assert found(bind(source)) == []


def test_a_folder_of_which_only_a_part_is_included_is_unprotected() -> None:
    assert found(bind("./data")) == ["./data"]


@pytest.mark.parametrize("source", ["./data/uploads/temp", "./data/uploads/temp/sub"])
def test_what_an_item_excludes_is_unprotected(source: str) -> None:
    assert found(bind(source)) == [source]


def test_a_volume_that_its_item_excludes_is_unprotected() -> None:
    assert found(Mount(kind="volume", source="cache"), meta=excluding("cache")) == ["cache"]


def test_what_one_item_excludes_and_another_saves_is_protected() -> None:
    meta = excluding("./data/uploads/temp", {"include": ["./data/uploads/temp"]})
    assert found(bind("./data/uploads/temp"), meta=meta) == []


def test_a_dump_protects_what_only_its_database_keeps() -> None:
    assert found(Mount(kind="volume", source="pg", used_by=("postgres",))) == []
    assert found(Mount(kind="volume", source="pg", used_by=("postgres", "web"))) == ["pg"]


def test_an_item_that_is_never_backed_up_protects_nothing() -> None:
    meta = {**MY_APP, "backup": {"data": [{"name": "database"}]}}
    assert found(bind("./data/uploads"), meta=meta) == ["./data/uploads"]


def test_what_is_excused_with_a_reason_is_no_warning() -> None:
    excused = [{"source": "cache", "reason": "rebuilt on start"}]
    meta = {**MY_APP, "data_protect": {**MY_APP["data_protect"], "unprotected": excused}}
    assert found(Mount(kind="volume", source="cache"), meta=meta) == []


def test_the_repository_itself_needs_no_backup() -> None:
    state = node_state(container("infra-backup", "rustic"), mounts=(bind("./repo"),))
    assert unprotected(service(INFRA), {"main": state}) == {}
