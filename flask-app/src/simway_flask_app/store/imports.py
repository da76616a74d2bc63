"""Readings of the past into the store."""

from __future__ import annotations

from collections.abc import Sequence

from simway_protocol.readings import Reading

from simway_flask_app.store.engine import Database
from simway_flask_app.store.history import HistoryWriter
from simway_flask_app.store.questions import Imported


class Imports:
    """The part of the store that takes history."""

    _database: Database

    def import_history(self, device: str, readings: Sequence[Reading], *, now_us: int) -> Imported:
        """See ``questions.Questions``."""
        outcome = HistoryWriter(self._database).store(device, readings, now_us)
        return Imported(len(outcome.readings), outcome.duplicates, outcome.conflicts, outcome.refused)
