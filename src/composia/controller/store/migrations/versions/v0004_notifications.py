"""Notifications, and the tasks whose end is still to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("service", sa.String),
        sa.Column("node", sa.String),
        sa.Column("data_item", sa.String),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hint", sa.Text),
        sa.Column("task_id", sa.String),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("times", sa.Integer, nullable=False, server_default="1"),
        sa.Column("told_at", sa.String),
        sa.Column("acknowledged_at", sa.String),
        sa.Column("acknowledged_by", sa.String),
        sa.Column("settled_at", sa.String),
        sa.Column("settled_by", sa.Text),
    )
    op.create_index("ix_notifications_state", "notifications", ["state"])
    op.create_index("ix_notifications_subject", "notifications", ["subject"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "notification",
            sa.String(26),
            sa.ForeignKey("notifications.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("queued_at", sa.String, nullable=False),
        sa.Column("due", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("sent_at", sa.String),
    )
    op.create_index("ix_deliveries_notification", "deliveries", ["notification"])
    op.create_index("ix_deliveries_sent_at", "deliveries", ["sent_at"])
    op.create_table(
        "ended_tasks",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "task", sa.String(26), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False
        ),
    )
