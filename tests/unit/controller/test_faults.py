"""What would be wrong with a meta file, were it committed so."""

from __future__ import annotations

from composia.controller.services import faults
from composia.model.catalog import CatalogView
from tests.twins.office import MY_APP, REVISION, service

VIEW = CatalogView(
    revision=REVISION,
    services={
        "my-app": service(MY_APP),
        "other": service({"name": "other", "nodes": ["main"], "infra": {"rustic": {
            "compose_service": "rustic", "profile": "default"}}}),
    },
)  # fmt: skip
FILES = ("docker-compose.yaml", "composia-meta.yaml")


def found(text: str, files: tuple[str, ...] = FILES) -> list[str]:
    return [str(one) for one in faults(VIEW, "my-app", files, text.encode(), ["main"])]


def test_a_file_that_is_right_has_none() -> None:
    assert found("name: my-app\nnodes: [main]\n") == []
    assert found("name: another\n") == []


def test_places_are_those_that_the_catalog_would_name() -> None:
    (wrong,) = found("name: my-app\nnodse: [main]\n")

    assert wrong.startswith("my-app/composia-meta.yaml:2:1: ")
    assert "did you mean `nodes`?" in wrong


def test_what_must_hold_across_services_is_checked_too() -> None:
    assert "there is no node `edge`" in found("name: my-app\nnodes: [edge]\n")[0]
    (clash,) = found("name: my-app\ninfra: {rustic: {compose_service: a, profile: b}}\n")
    assert "`infra.rustic` is also in folder other" in clash


def test_a_folder_without_a_compose_file_is_told() -> None:
    assert "no docker-compose.yaml" in found("name: my-app\n", files=())[0]


def test_a_compose_file_may_be_an_encrypted_one_where_it_is_decrypted() -> None:
    files, text = ("compose.yaml.age", "more.yaml.age"), b"name: my-app\n"
    more = b"name: my-app\ncompose_files: [more.yaml]\n"
    assert faults(VIEW, "my-app", files, text, ["main"]) != ()
    decrypts = VIEW.model_copy(update={"decrypts": True})
    assert faults(decrypts, "my-app", files, text, ["main"]) == ()
    assert faults(decrypts, "my-app", files, more, ["main"]) == ()


def test_what_is_not_even_yaml_is_told() -> None:
    assert "not YAML" in found("name: [\n")[0]
