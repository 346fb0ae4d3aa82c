"""What plans are made from, as the controller knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.node import NodeState
from composia.model.offsite import CopyState, ReadPart
from composia.model.task import OpenMove
from composia.workflows.known import Known


class KnownStore(Protocol):
    async def repository_id(self) -> str | None: ...

    async def copies(self) -> Mapping[str, CopyState]: ...

    async def read_part(self) -> ReadPart | None: ...

    async def open_moves(self) -> Sequence[OpenMove]: ...


class KnownNodes(Protocol):
    def states(self) -> Mapping[str, NodeState | None]: ...

    def online(self, node: str) -> bool: ...


async def known(
    config: ControllerConfig, view: CatalogView, nodes: KnownNodes, store: KnownStore
) -> Known:
    """As it is now."""
    states = nodes.states()
    return Known(
        catalog=view,
        nodes=states,
        online=frozenset(node for node in states if nodes.online(node)),
        main_nodes=config.rustic.main_nodes,
        repository_id=await store.repository_id(),
        dns=config.dns_setup,
        keep=config.backup.keep,
        timezone=config.backup.timezone,
        offsite=config.offsite,
        copies=await store.copies(),
        read_part=await store.read_part(),
        moves={move.service: move for move in await store.open_moves()},
    )
