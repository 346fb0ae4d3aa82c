"""`composia init`, then a real process on what it wrote: as a new user does, and a hostile one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, assume, settings

from composia.controller.api import mount
from tests.contract.answers import not_for
from tests.contract.serving import PATIENCE, Served, laid_out

#: Bytes of a question in a request's first line, which has 64 KiB at most.
LONGEST = 60_000


def _document() -> dict[str, Any]:
    app = FastAPI()
    mount(app)
    return app.openapi()


# The stream of events never ends: nothing could be said of the whole of it.
schema = schemathesis.openapi.from_dict(_document()).exclude(path="/api/v1/events")


def test_what_init_wrote_is_served_with_its_node_online(tmp_path: Path, docker_host: str) -> None:
    serving = Served("serve", laid_out(tmp_path / "new"), docker_host)
    try:
        serving.ask("/api/v1/nodes/main", lambda node: node["online"] and node["docker"])
        assert serving.ask("/readyz") == {"status": "ready"}
        services = serving.ask("/api/v1/services")["items"]
        assert [one["name"] for one in services] == ["hello", "infra-backup"]
    finally:
        assert serving.end() == 0, serving.log
    assert "Traceback" not in serving.log


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A controller whose node never comes: what it is asked to do waits."""
    made = Served("controller", laid_out(tmp_path_factory.mktemp("alone") / "new"))
    assert made.ask("/api/v1/openapi.json")["paths"] == schema.raw_schema["paths"]
    yield made
    assert made.end() == 0, made.log
    assert "Traceback" not in made.log


def test_a_file_without_the_controllers_section_changes_nothing(controller: Served) -> None:
    url, headers = controller.url, {"Authorization": f"Bearer {controller.token}"}
    before = controller.config.read_text()
    controller.config.write_text("agent: {controller_addr: 'http://c', node_id: main, token: t}")
    try:
        answer = httpx2.post(f"{url}/api/v1/config/reload", headers=headers, timeout=PATIENCE)
    finally:
        controller.config.write_text(before)
    assert (answer.status_code, bool(answer.json()["hint"])) == (422, True)
    nodes = httpx2.get(f"{url}/api/v1/nodes", headers=headers, timeout=PATIENCE)
    assert nodes.json()["items"]


@schema.parametrize()
@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_real_controller_answers_as_its_document_says(
    case: schemathesis.Case[Any], controller: Served
) -> None:
    # A longer line is cut off while it is sent, and what is heard of that is chance.
    assume(len(urlencode(case.query or {}, doseq=True, errors="replace")) < LONGEST)
    headers = {"Authorization": f"Bearer {controller.token}"}
    case.call_and_validate(
        base_url=controller.url, headers=headers, excluded_checks=not_for(case), timeout=PATIENCE
    )
