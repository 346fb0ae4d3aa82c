"""Sessions of the pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("used_at", sa.String, nullable=False),
    )
    # The newest backup of each item, found without reading the records.
    op.create_index(
        "ix_backups_newest", "backups", ["service", "data_item", "node", "status", "id"]
    )
