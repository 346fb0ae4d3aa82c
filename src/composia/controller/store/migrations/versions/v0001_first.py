"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    _tasks()
    _work()
    _records()


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("service", sa.String),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("on_nodes", sa.Text, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("started_at", sa.String),
        sa.Column("finished_at", sa.String),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("waiting", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("cancel_asked", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("idempotency_key", sa.String),
        sa.Column("request_hash", sa.String),
        sa.UniqueConstraint("created_by", "idempotency_key", name="uq_tasks_idempotency_key"),
    )
    op.create_index("ix_tasks_status", "tasks", ["status"])
    op.create_index("ix_tasks_service", "tasks", ["service"])


def _work() -> None:
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "task", sa.String(26), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("started_at", sa.String),
        sa.Column("finished_at", sa.String),
        sa.Column("error", sa.Text),
        sa.Column("progress", sa.Text),
        sa.Column("tries", sa.Integer, nullable=False, server_default="1"),
        sa.Column("sent", sa.Boolean, nullable=False, server_default="0"),
        sa.UniqueConstraint("task", "attempt", "name", "node", name="uq_steps_place"),
    )
    op.create_table(
        "holds",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column(
            "task", sa.String(26), sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("shared", sa.Boolean, nullable=False),
    )


def _records() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("data_item", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("task_id", sa.String),
        sa.Column("record", sa.Text, nullable=False),
    )
    op.create_index("ix_backups_item", "backups", ["service", "data_item", "node"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("client", sa.String),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("last_seen", sa.String, nullable=False),
        sa.Column("state", sa.Text),
    )
