"""The names of metrics: Prometheus' conventions, as ``promtool check metrics`` holds them, and one page that lists them all.

The rules are those of promlint (github.com/prometheus/client_golang, prometheus/testutil/promlint/validations).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families
from simway_backbone import metrics

DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"
ROW = re.compile(r"^\| `(?P<name>simway_\w+)` \| (?P<type>\w+) \| (?P<labels>[^|]*) \| (?P<by>[^|]*) \| [^|]+ \|$", re.MULTILINE)
OTHER_UNITS = {
    "minutes", "hours", "days", "weeks", "milliseconds", "microseconds", "nanoseconds", "bits", "kilobytes", "megabytes",
    "gigabytes", "kibibytes", "mebibytes", "celsius", "percent", "grams",
}  # fmt: skip
ABBREVIATED = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
TYPES = ("gauge", "counter", "summary", "histogram", "untyped")


def families() -> Iterator[Metric]:
    for metric in DECLARED.values():
        yield from metric.describe()


def exposed(family: Metric) -> str:
    """The name as it is asked for: that of a counter ends in ``_total``."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def table() -> dict[str, re.Match[str]]:
    return {row["name"]: row for row in ROW.finditer(PAGE.read_text())}


def words(cell: str) -> list[str]:
    return [word.strip(" `") for word in cell.split(",") if word.strip(" –")]


def test_none_is_declared_twice_and_each_is_served_by_somebody() -> None:
    names = [family.name for family in families()]
    assert len(names) == len(set(names)) == len(DECLARED)
    served = {id(metric) for those in metrics.SERVED_BY.values() for metric in those}
    assert [name for name, metric in DECLARED.items() if id(metric) not in served] == []


@pytest.mark.parametrize("family", list(families()), ids=lambda family: family.name)
def test_promtools_rules(family: Metric) -> None:
    name, parts = family.name, family.name.split("_")
    assert re.fullmatch(r"simway(_[a-z]+)+", name), "snake case, no colon"
    assert family.documentation
    assert not name.endswith(("_total", "_count", "_sum", "_bucket")), "what the client adds by itself"
    assert not set(TYPES) & set(parts), "no type in the name"
    assert not OTHER_UNITS & set(parts), "base units"
    assert parts[-1] not in ABBREVIATED, "units in full"
    assert not {"le", "quantile"} & set(labels_of(name)), "reserved"


@pytest.mark.parametrize("family", list(families()), ids=lambda family: family.name)
def test_what_measures_says_its_unit(family: Metric) -> None:
    if family.type == "histogram":
        assert family.name.endswith(("_seconds", "_bytes", "_rows", "_uplinks"))


def labels_of(name: str) -> list[str]:
    (metric,) = (one for one in DECLARED.values() if next(iter(one.describe())).name == name)
    return list(metric._labelnames)


def test_the_page_lists_each_metric_with_type_labels_and_processes() -> None:
    """A new metric needs a row in docs/observability.md."""
    code = {
        exposed(family): (
            family.type,
            labels_of(family.name),
            sorted(
                process
                for process, those in metrics.SERVED_BY.items()
                if any(family.name == next(iter(one.describe())).name for one in those)
            ),
        )
        for family in families()
    }
    everybody = sorted(metrics.SERVED_BY)
    page = {
        name: (row["type"], words(row["labels"]), everybody if row["by"] == "all" else sorted(words(row["by"])))
        for name, row in table().items()
    }
    assert page == code


@pytest.mark.parametrize("process", metrics.SERVED_BY)
def test_a_process_serves_what_it_sets_and_nothing_else_of_ours(process: str) -> None:
    text = metrics.exposition(lambda: metrics.families(process)).decode()
    found = {family.name for family in text_string_to_metric_families(text)}
    assert {name for name in found if name.startswith("simway_")} == {
        family.name for metric in metrics.SERVED_BY[process] for family in metric.describe()
    }
    assert "python_info" in found


def test_a_process_without_a_list_serves_everything() -> None:
    assert {family.name for family in families()} <= {family.name for family in metrics.families("")}
