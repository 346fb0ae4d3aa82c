"""The tables. A change here needs a step in `migrations/versions`."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

#: Times are RFC 3339 in UTC with a fixed width, so that they sort as text.
TASKS = Table(
    "tasks",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("type", String, nullable=False),
    Column("service", String),
    #: Node ids as JSON, and between commas for the filter: `,main,edge,`.
    Column("nodes", Text, nullable=False),
    Column("on_nodes", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("created_by", String, nullable=False),
    Column("source", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("finished_at", String),
    Column("error", Text),
    Column("result", Text),
    Column("waiting", Text),
    #: Grows with every `retry`.
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("cancel_asked", Boolean, nullable=False, server_default="0"),
    Column("idempotency_key", String),
    Column("request_hash", String),
    UniqueConstraint("created_by", "idempotency_key", name="uq_tasks_idempotency_key"),
    Index("ix_tasks_status", "status"),
    Index("ix_tasks_service", "service"),
)

#: Idempotency keys of what was asked of a task that was there already; that of the request which
#: made it stands in its own row.
KEYS = Table(
    "keys",
    METADATA,
    Column("created_by", String, primary_key=True),
    Column("idempotency_key", String, primary_key=True),
    Column("task", String(26), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("request_hash", String, nullable=False),
)

STEPS = Table(
    "steps",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("task", String(26), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    #: The task's attempt.
    Column("attempt", Integer, nullable=False),
    Column("name", String, nullable=False),
    #: Empty for what the controller does itself.
    Column("node", String, nullable=False),
    Column("status", String, nullable=False),
    Column("started_at", String),
    Column("finished_at", String),
    Column("error", Text),
    Column("progress", Text),
    #: How often it was asked in this attempt, and whether the last question was sent.
    Column("tries", Integer, nullable=False, server_default="1"),
    Column("sent", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("task", "attempt", "name", "node", name="uq_steps_place"),
)

HOLDS = Table(
    "holds",
    METADATA,
    Column("name", String, primary_key=True),
    Column("task", String(26), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("shared", Boolean, nullable=False),
)

BACKUPS = Table(
    "backups",
    METADATA,
    Column("id", String, primary_key=True),
    Column("service", String, nullable=False),
    Column("data_item", String, nullable=False),
    Column("node", String, nullable=False),
    Column("status", String, nullable=False),
    Column("time", String, nullable=False),
    Column("task_id", String),
    Column("record", Text, nullable=False),
    Index("ix_backups_item", "service", "data_item", "node"),
    Index("ix_backups_newest", "service", "data_item", "node", "status", "id"),
    Index("ix_backups_time", "time", "service", "status"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", String, nullable=False),
    Column("token", String, nullable=False),
    Column("method", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("client", String),
)

#: Moves, by their tasks: how far each has come, and what a later attempt must know.
MOVES = Table(
    "moves",
    METADATA,
    Column("task", String(26), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("service", String, nullable=False),
    Column("source", String, nullable=False),
    Column("target", String, nullable=False),
    #: begun, answered, given_up, done, undone
    Column("stage", String, nullable=False),
    Column("facts", Text, nullable=False),
    #: The order in which they began: a task that is tried again may begin after younger ones.
    Column("number", Integer, nullable=False, server_default="0"),
    #: Of its task: the one that began it last.
    Column("attempt", Integer, nullable=False, server_default="0"),
    Index("ix_moves_service", "service"),
)

#: How many times each service has been placed anew.
EPOCHS = Table(
    "epochs",
    METADATA,
    Column("service", String, primary_key=True),
    Column("epoch", Integer, nullable=False),
)

#: What there is only one of, by its name: the repository's id, what was written under a DNS name.
FACTS = Table(
    "facts",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

NODES = Table(
    "nodes",
    METADATA,
    Column("id", String, primary_key=True),
    Column("last_seen", String, nullable=False),
    #: Its state as it was last told, so that a restarted controller knows it.
    Column("state", Text),
)

#: Who has signed in to the pages, by the digest of the session's id.
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    #: The digest of the access token.
    Column("token", String(64), nullable=False),
    Column("created_at", String, nullable=False),
    Column("used_at", String, nullable=False),
)

#: Matters that the owner is told of; of each subject one at most is not settled.
NOTIFICATIONS = Table(
    "notifications",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("event", String, nullable=False),
    Column("subject", String, nullable=False),
    #: open, acknowledged, settled
    Column("state", String, nullable=False),
    Column("service", String),
    Column("node", String),
    Column("data_item", String),
    Column("title", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hint", Text),
    Column("task_id", String),
    Column("time", String, nullable=False),
    Column("since", String, nullable=False),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("told_at", String),
    Column("acknowledged_at", String),
    Column("acknowledged_by", String),
    Column("settled_at", String),
    Column("settled_by", Text),
    Index("ix_notifications_state", "state"),
    Index("ix_notifications_subject", "subject"),
)

#: Who is to be brought up to date about a notification, or was.
DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column(
        "notification",
        String(26),
        ForeignKey("notifications.id", ondelete="CASCADE"),
        nullable=False,
    ),
    #: A hash of the address, and where it stands in config.yaml: the address is a secret.
    Column("target", String, nullable=False),
    Column("label", String, nullable=False),
    Column("queued_at", String, nullable=False),
    Column("due", String, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("sent_at", String),
    Index("ix_deliveries_notification", "notification"),
    Index("ix_deliveries_sent_at", "sent_at"),
)

#: Tasks whose end nobody was told of yet: written with the end, gone with what is made of it.
ENDED_TASKS = Table(
    "ended_tasks",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("task", String(26), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
)

#: Up to when each schedule was looked at, and since when it is what it is.
SCHEDULES = Table(
    "schedules",
    METADATA,
    Column("key", String, primary_key=True),
    Column("expression", String, nullable=False),
    Column("timezone", String, nullable=False),
    Column("since", String, nullable=False),
    Column("seen", String, nullable=False),
)

#: What was due: one row a schedule, node and time, so that none can run twice.
RUNS = Table(
    "runs",
    METADATA,
    Column("schedule", String, primary_key=True),
    #: Empty for what is about the repository.
    Column("node", String, primary_key=True),
    Column("slot", String, primary_key=True),
    #: waiting, taken, missed
    Column("state", String, nullable=False),
    #: What it waits for, why it was missed, or why there was nothing to do.
    Column("reason", Text),
    #: Of several that were missed at once this is the last; the first of them.
    Column("first", String, nullable=False),
    Column("times", Integer, nullable=False, server_default="1"),
    #: The idempotency key under which it is being handed in.
    Column("batch", String),
    Column("task", String(26)),
    Index("ix_runs_state", "state"),
)
