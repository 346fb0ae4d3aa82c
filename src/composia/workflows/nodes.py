"""Writing back to the catalog where a service runs."""

from __future__ import annotations

from collections.abc import Sequence

from composia.model.service import ServiceRef
from composia.workflows.plan import Run


async def write_back(
    run: Run, service: ServiceRef, nodes: Sequence[str], was: Sequence[str]
) -> str:
    """Step 8 of a move: `nodes` in its meta file; the catalog's revision. Raises ComposiaError."""
    written = await run.control(
        "8_write_back",
        "write_back",
        service=service.name,
        folder=service.folder,
        nodes=list(nodes),
        was=list(was),
    )
    return str(written["revision"])
