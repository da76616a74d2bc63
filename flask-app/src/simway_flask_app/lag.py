"""How far a consumer is behind its topic: records by partition, and seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simway_backbone import metrics
from simway_backbone.log import Log


class LagGauges:
    """Sets the gauges of one consumer. ``positions``: the next offset by partition, of those that it reads now.

    ``newest_us``: when the newest record that it has handled was appended; None before the first.
    """

    def __init__(
        self, log: Log, consumer: str, topic: str, *, positions: Callable[[], Mapping[int, int]],
        newest_us: Callable[[], int | None], now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._log, self._labels = log, (consumer, topic)
        self._positions, self._newest_us, self._now_us = positions, newest_us, now_us
        self._began_us = now_us()
        self._shown: set[int] = set()

    def measure(self) -> None:
        """Blocks on the log. Raises ``LogError``."""
        bounds = self._log.bounds(self._labels[1])
        waiting = {
            partition: max(0, bounds[partition][1] - max(position, bounds[partition][0]))
            for partition, position in self._positions().items()
        }
        for partition, records in waiting.items():
            metrics.CONSUMER_LAG.labels(*self._labels, partition).set(records)
        for partition in self._shown - waiting.keys():
            metrics.CONSUMER_LAG.remove(*self._labels, partition)
        self._shown = set(waiting)
        metrics.CONSUMER_LAG_SECONDS.labels(*self._labels).set(self._behind_s() if any(waiting.values()) else 0)

    def _behind_s(self) -> float:
        newest_us = self._newest_us()
        return max(0, self._now_us() - (self._began_us if newest_us is None else newest_us)) / 1e6
