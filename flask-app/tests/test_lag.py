"""How far a consumer is behind, by partition and in seconds, as its gauges say it."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY
from simway_backbone.memory_log import MemoryLog
from simway_flask_app.lag import LagGauges

SECOND_US = 1_000_000


class House:
    """A log with some records in two partitions of ``uplink``, and a consumer of it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.log.ensure_topics()
        self.positions = {3: 0, 4: 0}
        self.newest_us: int | None = None
        self.now_us = 1_000 * SECOND_US
        self.gauges = LagGauges(
            self.log, "reader", "uplink", positions=lambda: self.positions, newest_us=lambda: self.newest_us,
            now_us=lambda: self.now_us,
        )  # fmt: skip
        for partition, count in ((3, 5), (4, 2)):
            self.log.append("uplink", partition, [(None, b"x")] * count).result(60)

    def records(self) -> dict[str, float]:
        self.gauges.measure()
        (family,) = (one for one in REGISTRY.collect() if one.name == "simway_consumer_lag_records")
        return {one.labels["partition"]: one.value for one in family.samples if one.labels["consumer"] == "reader"}

    def seconds(self) -> float | None:
        self.gauges.measure()
        return REGISTRY.get_sample_value("simway_consumer_lag_seconds", {"consumer": "reader", "topic": "uplink"})


@pytest.fixture
def house() -> House:
    return House()


def test_each_partition_has_its_own(house: House) -> None:
    assert house.records() == {"3": 5, "4": 2}
    house.positions = {3: 4, 4: 2}
    assert house.records() == {"3": 1, "4": 0}


def test_what_another_process_reads_now_is_gone(house: House) -> None:
    assert house.records() == {"3": 5, "4": 2}
    house.positions = {4: 1}
    assert house.records() == {"4": 1}
    house.positions = {}
    assert house.records() == {}


def test_seconds_are_since_the_newest_record_that_was_handled(house: House) -> None:
    house.now_us += 7 * SECOND_US
    assert house.seconds() == 7, "nothing was handled yet: since it began"
    house.newest_us = house.now_us - 90 * SECOND_US
    assert house.seconds() == 90


def test_who_has_read_everything_is_not_behind_however_long_nothing_comes(house: House) -> None:
    house.positions, house.newest_us = {3: 5, 4: 2}, house.now_us
    house.now_us += 3_600 * SECOND_US
    assert house.seconds() == 0
