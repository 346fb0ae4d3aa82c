"""Verification and copies off site: both are kept in the records and among the facts."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No table is needed."""
