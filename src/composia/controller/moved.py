"""Writing into a service's meta file where it runs now."""

from __future__ import annotations

from collections.abc import Sequence

from composia.errors import Conflict
from composia.tools.yaml import load
from composia.tools.yaml_edit import set_list


def move_nodes(
    file: str, service: str, nodes: Sequence[str], was: Sequence[str], content: bytes
) -> bytes:
    """The meta file with these nodes. Raises Conflict where somebody else wrote others."""
    data = load(content, file).data
    found = data if isinstance(data, dict) else {}
    if found.get("name") != service:
        raise Conflict(
            f"{file} is not the file of {service} any more",
            hint=f"Set `nodes: [{', '.join(nodes)}]` where {service} is now, and try again.",
        )
    now = found.get("nodes") or []
    if sorted(map(str, now)) == sorted(nodes):
        return content
    if sorted(map(str, now)) != sorted(was):
        raise Conflict(
            f"somebody else changed `nodes` of {service} to {_listed(now)} meanwhile: "
            f"they were {_listed(was)}, and should become {_listed(nodes)}",
            hint=f"Write {_listed(nodes)} into {file}, commit and push it, and try again.",
        )
    return set_list(content, file, "nodes", nodes, after="name")


def moved(service: str, nodes: Sequence[str], was: Sequence[str]) -> str:
    """The commit's message."""
    left = [node for node in was if node not in nodes]
    new = [node for node in nodes if node not in was]
    if left and new:
        return f"Move {service} from {', '.join(left)} to {', '.join(new)}"
    return f"Run {service} on {', '.join(nodes) or 'no node'}"


def _listed(nodes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, nodes))}]"
