from __future__ import annotations

import pytest

from composia.errors import Invalid, NotFound, Problem
from composia.model.catalog import Broken, Service, settled
from composia.model.meta import Meta
from composia.model.service import ServiceRef

BROKEN = Broken(folder="sick", name="sick", problems=(Problem(msg="unknown key `x`"),))


def a_service(name: str, *, folder: str | None = None, **more: object) -> Service:
    meta = Meta.model_validate({"name": name, "nodes": ("main",), **more})
    ref = ServiceRef(
        name=name,
        folder=folder or name,
        project=meta.project,
        compose_files=("docker-compose.yaml",),
        revision="r1",
    )
    return Service(ref=ref, meta=meta)


RUSTIC: dict[str, object] = {"rustic": {}}


def test_a_service_is_found_by_its_name_not_its_folder() -> None:
    view = settled("r1", [a_service("app", folder="the-app")], ["main"])
    assert view.service("app").ref.folder == "the-app"
    with pytest.raises(NotFound):
        view.service("the-app")


def test_a_misspelt_name_gets_the_closest_one() -> None:
    view = settled("r1", [a_service("my-app")], ["main"])
    with pytest.raises(NotFound) as told:
        view.service("my-ap")
    assert told.value.hint == "Did you mean `my-app`?"


def test_a_broken_service_hides_no_other() -> None:
    view = settled("r1", [a_service("app"), BROKEN], ["main"])
    assert view.service("app")
    with pytest.raises(Invalid, match="unknown key `x`") as told:
        view.service("sick")
    assert told.value.problems == BROKEN.problems


def test_two_services_of_one_name_are_both_broken_and_nobody_else() -> None:
    twins = [a_service("app"), a_service("app", folder="copy"), a_service("blog")]
    view = settled("r1", twins, ["main"])
    assert list(view.services) == ["blog"]
    with pytest.raises(Invalid, match="also in folder"):
        view.service("app")


def test_two_services_of_one_project_are_both_broken() -> None:
    view = settled("r1", [a_service("app"), a_service("b", project_name="app")], ["main"])
    assert not view.services


def test_a_node_that_config_does_not_name_breaks_the_service() -> None:
    view = settled("r1", [a_service("app", nodes=("mian",))], ["main"])
    with pytest.raises(Invalid, match=r"there is no node `mian`.*Did you mean `main`"):
        view.service("app")


def test_the_repositorys_service_is_found() -> None:
    view = settled("r1", [a_service("app"), a_service("infra", infra=RUSTIC)], ["main"])
    assert view.infra_rustic
    assert view.infra_rustic.name == "infra"
    assert view.infra_caddy is None


def test_two_services_for_the_repository_are_an_error_of_both() -> None:
    both = [a_service("one", infra=RUSTIC), a_service("two", infra=RUSTIC), a_service("app")]
    view = settled("r1", both, ["main"])
    assert list(view.services) == ["app"]
    with pytest.raises(Invalid, match=r"infra\.rustic"):
        _ = view.infra_rustic


@pytest.mark.parametrize("infra", [("rustic",), None])
def test_a_broken_repositorys_service_is_not_taken_for_a_missing_one(
    infra: tuple[str, ...] | None,
) -> None:
    broken = BROKEN.model_copy(update={"infra": infra})
    with pytest.raises(Invalid, match="sick is broken"):
        _ = settled("r1", [broken], ["main"]).infra_rustic
