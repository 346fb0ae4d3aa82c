"""What a property-based tester cannot know of our answers."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

import composia
from composia.controller.store import migrations

# The tester draws words from whatever of ours is imported: all of it is, whatever ran before, so
# that a run anywhere sends what every other run sends.
for _module in pkgutil.walk_packages(composia.__path__, "composia."):
    if not _module.name.startswith(f"{migrations.__name__}."):
        importlib.import_module(_module.name)

#: What fits the document and not the catalog is 422 too: source = target, or uncovered data.
MUST_FIT_THE_CATALOG = (
    "/api/v1/services/{service}/migrate",
    "/api/v1/services/{service}/restore",
    "/api/v1/backups/{id}/restore",
)


def not_for(case: schemathesis.Case[Any]) -> list[Any]:
    """The checks that would be wrong about this call."""
    checks: list[Any] = []
    if case.path == "/api/v1/catalog/files/{path}":
        # A revision of the right form may still not be today's: 412 is no refusal of valid data.
        # And no file system has a name of more than 255 bytes, which a schema does not count.
        checks.append(positive_data_acceptance)
    if case.path in MUST_FIT_THE_CATALOG:
        checks.append(positive_data_acceptance)
    if any(isinstance(value, list | dict | None) for value in (case.query or {}).values()):
        # What is wrong with it never reaches the wire: a list is its members there, and may be no
        # parameter at all; null is a word.
        checks.append(negative_data_rejection)
    return checks
