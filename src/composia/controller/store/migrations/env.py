"""Run by Alembic: the changes, on the connection that `store/database.py` hands over."""

from __future__ import annotations

from alembic import context

from composia.controller.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
