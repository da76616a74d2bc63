"""The names of metrics: one scheme, units in the name, none declared twice."""

from __future__ import annotations

import re

from prometheus_client import Counter, Gauge, Histogram
from simway_backbone import metrics

DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}


def test_names_follow_one_scheme() -> None:
    names = [family.name for metric in DECLARED.values() for family in metric.describe()]
    assert len(names) == len(set(names)) == len(DECLARED)
    assert all(re.fullmatch(r"simway_[a-z][a-z_]+", name) for name in names)


def test_what_measures_time_or_size_says_its_unit() -> None:
    for metric in DECLARED.values():
        if isinstance(metric, Histogram):
            (family,) = metric.describe()
            assert family.name.endswith(("_seconds", "_bytes", "_rows", "_uplinks"))
