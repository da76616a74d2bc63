"""Readings of the past into the store."""

from __future__ import annotations

from collections.abc import Sequence

from simway_protocol.messages import Uplink
from simway_protocol.readings import Reading

from simway_flask_app.store.engine import Database
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.questions import Imported
from simway_flask_app.store.uplinks import UplinkWriter


class Imports:
    """The part of the store that takes history."""

    _database: Database

    def import_history(self, device: str, readings: Sequence[Reading], *, now_us: int) -> Imported:
        """See ``questions.Questions``."""
        uplink = Uplink(device, "import", now_us, None, None, list(readings))
        outcome = UplinkWriter(self._database).store([uplink], Follower("import", "", "uplink"), {}, now_us=now_us)
        return Imported(len(outcome.readings), outcome.duplicates, outcome.conflicts, outcome.refused)
