"""A node as the controller knows it: its connection, and how it was when it was last seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from composia import __version__
from composia.controller.channel import Channel
from composia.model.config import NodeConfig
from composia.model.node import NodeState


@dataclass(slots=True)
class KnownNode:
    """A node of config.yaml, with or without a connection."""

    config: NodeConfig
    state: NodeState | None = None
    last_seen: datetime | None = None
    #: When that was last written down.
    stored_at: datetime | None = None
    needs_update: bool = False
    channel: Channel | None = None
    #: Replaced and set whenever its connection, or its engine, comes or goes.
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """As config.yaml names it."""
        return self.config.id

    @property
    def usable(self) -> Channel | None:
        """Its connection, unless that has just come to its end."""
        return None if self.channel is None or self.channel.closed.is_set() else self.channel

    def connection(self, channel: Channel | None, *, needs_update: bool = False) -> None:
        """Its connection has come, or gone."""
        self.channel, self.needs_update = channel, needs_update
        self.last_seen = datetime.now(UTC)
        self._has_changed()

    def learn(self, state: NodeState) -> None:
        """It has told how it is."""
        answered, self.state = self.engine_answers, state
        self.last_seen = datetime.now(UTC)
        if self.engine_answers != answered:
            self._has_changed()

    @property
    def engine_answers(self) -> bool:
        """Whether its Docker engine did when it was last seen."""
        return self.state is None or self.state.docker

    def _has_changed(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def absence(self) -> str:
        """Why it cannot be asked."""
        return f"node {self.id} " + ("needs update" if self.needs_update else "is not connected")

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.needs_update:
            return f"Install version {__version__} of composia on {self.id}."
        seen = self.last_seen.strftime("%Y-%m-%dT%H:%M:%SZ") if self.last_seen else "never"
        return f"Start its agent with `composia agent`. Last seen: {seen}."
