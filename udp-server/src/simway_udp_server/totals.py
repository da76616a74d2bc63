"""Metrics of several worker processes as one: each sends its samples, the parent adds them up.

A worker that ended leaves its counts behind, so that totals never go back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from prometheus_client import Metric

Sample: TypeAlias = tuple[str, dict[str, str], float]
Family: TypeAlias = tuple[str, str, str, list[Sample]]
"""Name, type, help and samples: what travels to the parent as JSON."""


def to_families(found: Iterable[Metric]) -> list[Family]:
    """The samples of metrics; times of creation are left out."""
    return [
        (metric.name, metric.type, metric.documentation, samples)
        for metric in found
        if (samples := [(one.name, one.labels, one.value) for one in metric.samples if not one.name.endswith("_created")])
    ]


class Totals:
    """The sum over workers."""

    def __init__(self) -> None:
        self._workers: dict[int, list[Family]] = {}
        self._ended: list[list[Family]] = []

    def update(self, worker: int, families: list[Family]) -> None:
        """Takes the newest samples of a worker, which replace its last ones."""
        self._workers[worker] = families

    def end(self, worker: int) -> None:
        """A worker is gone: its counters stay, its gauges go."""
        families = self._workers.pop(worker, [])
        self._ended = [_added([*self._ended, [family for family in families if family[1] != "gauge"]])]

    def collect(self) -> list[Metric]:
        """The families, each sample summed by its name and labels."""
        return [_metric(family) for family in _added([*self._ended, *self._workers.values()])]


def _added(parts: Iterable[list[Family]]) -> list[Family]:
    heads: dict[str, tuple[str, str]] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in parts:
        for name, kind, documentation, samples in families:
            heads[name] = kind, documentation
            into = sums.setdefault(name, {})
            for sample, labels, value in samples:
                key = sample, tuple(labels.items())
                into[key] = into.get(key, 0.0) + value
    return [
        (name, *heads[name], [(sample, dict(labels), value) for (sample, labels), value in into.items()])
        for name, into in sums.items()
    ]


def _metric(family: Family) -> Metric:
    name, kind, documentation, samples = family
    metric = Metric(name, documentation, kind)
    for sample, labels, value in samples:
        metric.add_sample(sample, labels, value)
    return metric
