"""Idempotency keys of what is asked of a task that is there already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: so far only what made a task had a key, in the task's row."""
    op.create_table(
        "keys",
        sa.Column("created_by", sa.String, primary_key=True),
        sa.Column("idempotency_key", sa.String, primary_key=True),
        sa.Column(
            "task", sa.String(26), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("request_hash", sa.String, nullable=False),
    )
