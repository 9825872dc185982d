"""What Alembic runs to migrate; the connection comes from `service.store.engine.migrate`."""

from __future__ import annotations

from alembic import context

from service.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
