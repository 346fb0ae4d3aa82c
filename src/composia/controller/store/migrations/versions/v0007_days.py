"""Backups by their days."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index: what came of each day's backups, without reading the records."""
    op.create_index("ix_backups_time", "backups", ["time", "service", "status"])
