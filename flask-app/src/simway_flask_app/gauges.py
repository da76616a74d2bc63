"""The dispatcher's gauges, read from the store every few seconds by their own thread: open commands, their age, the outbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from simway_backbone import metrics
from sqlalchemy import func, select

from simway_flask_app.ledger import LAPSING, State
from simway_flask_app.store.port import StoreError
from simway_flask_app.store.schema import commands, outbox
from simway_flask_app.store.sql import SqlStore

PERIOD_S = 5.0
OPEN = (State.QUEUED, *LAPSING, State.UNKNOWN)


class Gauges:
    """Sets gauges until ``stopping``. While the store is away they keep their last values."""

    def __init__(self, store: SqlStore, *, stopping: Event, now_us: Callable[[], int]) -> None:
        self._store, self._stopping, self._now_us = store, stopping, now_us
        self._thread = Thread(target=self._run, name="gauges", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self) -> None:
        """Waits for the end, which ``stopping`` brings."""
        self._thread.join(timeout=2)

    def measure(self) -> None:
        """Sets them once. Raises ``StoreError``."""
        with self._store.reading() as connection:
            rows = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
            query = select(commands.c.state, func.count(), func.min(commands.c.created_us)).where(commands.c.state.in_(OPEN))
            found = {
                state: (count, oldest_us) for state, count, oldest_us in connection.execute(query.group_by(commands.c.state))
            }
        metrics.OUTBOX_ROWS.set(rows)
        now_us = self._now_us()
        for state in OPEN:
            count, oldest_us = found.get(state.value, (0, now_us))
            metrics.COMMANDS_OPEN.labels(state.value).set(count)
            metrics.COMMAND_AGE.labels(state.value).set(max(0, now_us - oldest_us) / 1e6)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(StoreError):  # the dispatcher itself reports it
                self.measure()
            self._stopping.wait(PERIOD_S)
