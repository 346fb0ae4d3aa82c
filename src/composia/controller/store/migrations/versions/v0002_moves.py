"""Moves, and the epochs of services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "moves",
        sa.Column(
            "task", sa.String(26), sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_index("ix_moves_service", "moves", ["service"])
    op.create_table(
        "epochs",
        sa.Column("service", sa.String, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
