"""Alarms that time alone raises: a switch that is open for longer than it can be."""

from __future__ import annotations

from simway_flask_app.store import twins
from simway_flask_app.store.sql import SqlStore

PERIOD_S = 15.0


def refresh_overdue(store: SqlStore, now_us: int) -> int:
    """Judges devices with an overdue switch; gives how many. Takes no lock when there is none. Raises ``StoreError``."""
    with store.reading() as connection:
        found = twins.overdue(connection, now_us)
    if found:
        with store.deciding() as connection:
            for device in found:
                twins.refresh(connection, device, now_us)
    return len(found)
