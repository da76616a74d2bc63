"""What a worker counts, in plain numbers so that counting costs nothing, and the metrics that these are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from simway_backbone import metrics
from simway_ingest.registry import Refused

GATEWAY = "udp"
ACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ACK_BUCKETS_US = tuple(int(bound_s * 1e6) for bound_s in ACK_BUCKETS_S)
_REFUSED_ATTACHES = frozenset({*map(str, Refused), "full", "busy"})


@dataclass(slots=True)
class Counts:
    """Totals of one worker since its start."""

    datagrams_in: int = 0
    bytes_in: int = 0
    datagrams_out: int = 0
    bytes_out: int = 0
    send_dropped: int = 0
    attached: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    uplinks: int = 0
    readings: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped_at_device: int = 0
    later: dict[str, int] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    ack_seconds_sum: float = 0.0
    ack_buckets: list[int] = field(default_factory=lambda: [0] * (len(_ACK_BUCKETS_US) + 1))

    def acknowledged(self, age_us: int, times: int) -> None:
        """Notes that ``times`` frames were answered ``age_us`` after they came."""
        self.ack_buckets[bisect_left(_ACK_BUCKETS_US, age_us)] += times
        self.ack_seconds_sum += age_us * times / 1e6

    def families(self, sessions: int) -> Iterator[Metric]:
        """The counts as Prometheus families, under the names of ``simway_backbone.metrics``."""
        yield counter(metrics.DATAGRAMS, {("in",): self.datagrams_in, ("out",): self.datagrams_out})
        yield counter(metrics.DATAGRAM_BYTES, {("in",): self.bytes_in, ("out",): self.bytes_out})
        yield counter(metrics.SEND_DROPS, {(): self.send_dropped})
        refused_attaches = {reason: times for reason, times in self.refused.items() if reason in _REFUSED_ATTACHES}
        yield counter(metrics.ATTACHES, _labelled({"attached": self.attached, **refused_attaches}))
        bad = {reason: times for reason, times in self.refused.items() if reason not in _REFUSED_ATTACHES}
        yield counter(metrics.BAD_DATAGRAMS, _labelled(bad))
        yield counter(metrics.UPLINKS_RECEIVED, {(GATEWAY,): self.uplinks})
        yield counter(metrics.READINGS_RECEIVED, {(GATEWAY,): self.readings})
        admitted = self.readings - sum(self.rejected.values())
        yield counter(metrics.READINGS_ADMITTED, {(GATEWAY,): admitted})
        yield counter(metrics.READINGS_REJECTED, _labelled(self.rejected, GATEWAY))
        yield counter(metrics.READINGS_DROPPED, {(GATEWAY,): self.dropped_at_device})
        yield counter(metrics.UPLINKS_LATER, _labelled(self.later, GATEWAY))
        yield counter(metrics.DEAD_LETTERS, _labelled(self.dead_letters, "admit"))
        yield gauge(metrics.SESSIONS, sessions)
        yield self._ack_seconds()

    def _ack_seconds(self) -> Metric:
        described = _described(metrics.ACK_SECONDS)
        family = HistogramMetricFamily(described.name, described.documentation, labels=["gateway"])
        bounds = [*map(str, ACK_BUCKETS_S), "+Inf"]
        family.add_metric([GATEWAY], list(zip(bounds, accumulate(self.ack_buckets), strict=True)), self.ack_seconds_sum)
        return family


def _described(metric: Any) -> Metric:
    found: Metric = next(iter(metric.describe()))
    return found


def _labelled(totals: dict[str, int], *before: str) -> dict[tuple[str, ...], int]:
    return {(*before, label): total for label, total in totals.items()}


def counter(metric: Any, values: Mapping[tuple[str, ...], float]) -> Metric:
    """A declared counter, with these values by the values of its labels."""
    described = _described(metric)
    family = CounterMetricFamily(described.name, described.documentation, labels=metric._labelnames)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def counter_of(metric: Any, value: float) -> Metric:
    """A declared counter without labels, with this value."""
    return counter(metric, {(): value})


def gauge(metric: Any, value: float) -> Metric:
    """A declared gauge without labels, with this value."""
    described = _described(metric)
    return GaugeMetricFamily(described.name, described.documentation, value=value)
