"""What is known of two services and two nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from composia.model.catalog import CatalogView
from composia.model.node import NodeState
from composia.workflows.known import Known
from tests.twins.office import INFRA, MY_APP, REPOSITORY, REVISION, container, node_state, service


class World:
    """Changes to what is known, one at a time."""

    def __init__(self) -> None:
        self.known = Known(
            catalog=CatalogView(),
            nodes={"main": node_state(container("my-app", "web")), "edge": node_state()},
            main_nodes=("main",),
            repository_id=REPOSITORY,
        )
        self.has(MY_APP, INFRA)

    def has(self, *metas: Mapping[str, Any]) -> Known:
        services = {one.name: one for one in map(service, metas)}
        return self.change(catalog=CatalogView(revision=REVISION, services=services))

    def sees(self, **nodes: NodeState | None) -> Known:
        return self.change(nodes={**self.known.nodes, **nodes})

    def change(self, **changes: Any) -> Known:
        self.known = dataclasses.replace(self.known, **changes)
        return self.known


@pytest.fixture
def world() -> World:
    return World()
