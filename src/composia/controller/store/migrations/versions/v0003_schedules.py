"""Schedules: the runs that were due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "schedules",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("expression", sa.String, nullable=False),
        sa.Column("timezone", sa.String, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("seen", sa.String, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("schedule", sa.String, primary_key=True),
        sa.Column("node", sa.String, primary_key=True),
        sa.Column("slot", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("first", sa.String, nullable=False),
        sa.Column("times", sa.Integer, nullable=False, server_default="1"),
        sa.Column("batch", sa.String),
        sa.Column("task", sa.String(26)),
    )
    op.create_index("ix_runs_state", "runs", ["state"])
