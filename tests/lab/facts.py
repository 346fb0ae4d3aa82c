"""What is chosen once for a lab and written down before anything is made."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import network, paths
from tests.lab.processes import write_whole

# The user guide's backup service mounts this folder, so the engines make it.
DATA = Path("/var/lib/composia")


@dataclass(frozen=True)
class Facts:
    """Names, the subnet and the secrets of one lab."""

    name: str
    index: int
    nodes: tuple[str, ...]
    token: str
    node_tokens: tuple[str, ...]
    rustic_password: str
    tsig: str
    made_data: bool

    @classmethod
    def choose(cls, name: str, nodes: Sequence[str]) -> Facts:
        """New facts for a lab that does not exist; call with the labs' lock held."""
        others = list(all_facts())
        return cls(
            name=name,
            index=network.free_index(facts.index for facts in others),
            nodes=tuple(nodes),
            token=secrets.token_hex(16),
            node_tokens=tuple(secrets.token_hex(16) for _ in nodes),
            rustic_password=secrets.token_hex(16),
            tsig=b64encode(secrets.token_bytes(32)).decode(),
            made_data=not DATA.exists() or any(facts.made_data for facts in others),
        )

    @classmethod
    def load(cls, state: Path) -> Facts | None:
        """The facts of a lab that exists."""
        try:
            found = json.loads((state / "lab.json").read_text())
        except FileNotFoundError:
            return None
        found["nodes"], found["node_tokens"] = tuple(found["nodes"]), tuple(found["node_tokens"])
        return cls(**found)

    def save(self, state: Path) -> None:
        """Write the facts down."""
        state.mkdir(parents=True, exist_ok=True)
        write_whole(state / "lab.json", json.dumps(self.__dict__, indent=2))


def all_facts() -> Iterator[Facts]:
    """The facts of every lab on this machine."""
    for path in paths.labs().glob("*/lab.json"):
        if facts := Facts.load(path.parent):
            yield facts
