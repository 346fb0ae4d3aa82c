"""Moves in the order in which they began, whatever their tasks' ids are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: so far the order was that of the ids."""
    for name in ("number", "attempt"):
        op.add_column("moves", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE moves SET number ="
        " (SELECT count(*) FROM moves AS earlier WHERE earlier.task <= moves.task)"
    )
