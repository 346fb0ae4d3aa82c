"""Whatever a client sends, every answer is one that the OpenAPI document announces."""

from __future__ import annotations

from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from composia.controller.api import mount
from tests.contract.answers import not_for
from tests.twins.office import MemoryOffice, backup, notification

AUTHORIZATION = {"Authorization": "Bearer admin-token"}


def _app() -> FastAPI:
    app = FastAPI(openapi_url="/api/v1/openapi.json")
    office = MemoryOffice()
    office.store.records.append(backup("01B9", snapshot_id="9" * 64))
    office.store.notices["01N1"] = notification()
    app.state.controller = office
    mount(app)
    return app


schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", _app())


@schema.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_answer_is_undocumented(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers=AUTHORIZATION, excluded_checks=not_for(case))
