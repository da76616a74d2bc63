"""Readings of the past into the store, by ``history``."""

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
        done = HistoryWriter(self._database).store(device, readings, now_us)
        bad = [(one.index, one.reason, one.detail) for one in done.bad]
        return Imported(len(done.readings), done.duplicates, done.conflicts, done.refused, bad)
