"""How long appends take until they are durable, and how many fail: measured where they are asked for, whatever the log."""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial

from simway_backbone import metrics
from simway_backbone.log import Log, LogRefused, Pairs


class MeteredAppends:
    """Appends to one topic of a log. Thread-safe as the log is."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log, self.topic = log, topic
        self._seconds = metrics.APPEND_SECONDS.labels(topic)
        for reason in ("unavailable", "refused"):
            metrics.APPEND_FAILURES.labels(topic, reason)

    def append(self, partition: int, records: Pairs) -> Future[int]:
        """See ``Log.append``."""
        future = self._log.append(self.topic, partition, records)
        future.add_done_callback(partial(self._answered, time.perf_counter()))
        return future

    def _answered(self, started_s: float, future: Future[int]) -> None:
        """In whichever thread the log answers."""
        error = future.exception()
        if error is None:
            self._seconds.observe(time.perf_counter() - started_s)
        else:
            reason = "refused" if isinstance(error, LogRefused) else "unavailable"
            metrics.APPEND_FAILURES.labels(self.topic, reason).inc()
