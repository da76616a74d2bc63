"""A job done again and again in a thread of its own, until the service stops. A database or log that is away costs one turn."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import structlog
from simway_backbone.log import LogError

from simway_flask_app.store.port import StoreError

log = structlog.get_logger()

JOIN_S = 2.0


class Periodic:
    """Calls ``job`` at once and then every ``period_s``, between ``start`` and ``stopping``."""

    def __init__(self, name: str, job: Callable[[], object], period_s: float, *, stopping: Event) -> None:
        self._name, self._job, self._period_s, self._stopping = name, job, period_s, stopping
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self) -> None:
        """Waits, not for long, for the end, which ``stopping`` brings."""
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._job()
            except (StoreError, LogError) as error:
                log.info("not done this time", job=self._name, detail=str(error))
            self._stopping.wait(self._period_s)
