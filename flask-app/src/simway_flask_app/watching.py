"""The database as a service sees it, asked again and again: is it there, does it answer, has it the schema of this code?

A thread of its own asks, so that health has an answer while another thread, or the database itself, hangs.
"""

from __future__ import annotations

from simway_backbone.health import Health

from simway_flask_app.store.port import SchemaMismatch, StoreError
from simway_flask_app.store.sql import SqlStore

PERIOD_S = 2.0
ANSWERS_WITHIN_S = 8.0
"""A look that takes longer says that the database hangs."""
DATABASE, SCHEMA = "database", "schema"


class StoreWatch:
    """``look`` sets the checks ``database`` and ``schema``."""

    def __init__(self, store: SqlStore, health: Health) -> None:
        self._store, self._health = store, health
        health.starting(DATABASE, SCHEMA)
        health.expect(DATABASE, ANSWERS_WITHIN_S)

    def look(self) -> None:
        """Blocks on the database; raises nothing that the store raises."""
        for name, problem in look(self._store).items():
            self._health.set(name, problem)


def look(store: SqlStore) -> dict[str, str | None]:
    """What is wrong with the database and its schema, in words; None where all is well. Blocks."""
    try:
        store.check_schema()
    except SchemaMismatch as error:
        return {DATABASE: None, SCHEMA: str(error)}
    except StoreError as error:
        return {DATABASE: str(error)}
    return {DATABASE: None, SCHEMA: None}
