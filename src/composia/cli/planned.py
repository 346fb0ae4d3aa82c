"""What a plan would do, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def told(plan: Mapping[str, Any]) -> Iterator[str]:
    """What its title does not say: which backups, which records, and what is to be known before."""
    for item in plan.get("items") or (plan.get("restore") or {}).get("items", ()):
        if wanted := item.get("wanted"):
            yield f"{wanted['item']}: backup {wanted['backup_id']}"
    for record in plan.get("records", ()):
        values = ", ".join(record["values"]) or "none"
        yield f"{record['hostname']} {record['record_type']}: {values}"
    for remark in plan.get("remarks", ()):
        yield f"Warning: {remark}"
