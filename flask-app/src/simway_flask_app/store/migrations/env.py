"""How Alembic runs: within the transaction and connection that ``migrations.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from simway_flask_app.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
