"""The API's twin of the controller and the controller itself are used in the same way."""

from __future__ import annotations

from composia.controller.api.office import Office
from composia.controller.controller import Controller
from tests.twins.office import MemoryOffice


def the_real_one(controller: Controller) -> Office:
    return controller


def its_twin(office: MemoryOffice) -> Office:
    return office


def test_both_are_offices_as_the_type_checker_sees_it() -> None:
    assert its_twin(MemoryOffice()).gate is not None
