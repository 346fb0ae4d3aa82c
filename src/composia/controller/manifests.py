"""What items looked like when they were saved: one file a backup."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def manifest_of(state_dir: Path, backup_id: str) -> Path:
    """Where the manifest of a backup is kept."""
    return state_dir / "manifests" / f"{backup_id}.jsonl.gz"


def drop_manifests(state_dir: Path, backup_ids: Iterable[str]) -> None:
    """Remove those of backups that are forgotten; one that is not there is none the less."""
    for backup_id in backup_ids:
        manifest_of(state_dir, backup_id).unlink(missing_ok=True)
