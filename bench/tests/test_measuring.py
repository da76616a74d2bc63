"""The pure parts of measuring: who waited how long, what a flood left unexplained, rows and uplinks made."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench import bare, machine
from bench.backlog import Flood, Waits, sort_waits
from bench.bare import Shape
from bench.fleet_generator import device_name
from bench.generator import Load
from bench.sending import Sent
from bench.stored import delays_s


def test_an_uplink_waits_until_its_last_number_is_seen() -> None:
    sent = {"a": [1.0, 2.0, 3.0], "b": [1.5]}
    seen = {"a": [(1.2, 2), (2.5, 5), (3.5, 6)], "b": []}
    assert delays_s(sent, seen, 2) == [(1.0, 1.2 - 1.0), (2.0, 0.5), (3.0, 0.5)]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 5))
def test_delays_are_those_of_a_search_from_the_start(times: list[float], per: int, step: int) -> None:
    times = sorted(times)
    looks = [(time + 0.5, number) for number, time in enumerate(times, 1) if number % step == 0]
    expected = []
    for index, sent in enumerate(times):
        found = [at for at, highest in looks if highest >= (index + 1) * per]
        if not found:
            break
        expected.append((sent, found[0] - sent))
    assert delays_s({"a": times}, {"a": looks}, per) == expected


def test_waits_fall_before_the_backlog_or_beside_it() -> None:
    sent = Sent(4, 0, 0, 0.0, 9.0, [], {"a": [0.5, 2.0, 5.0, 8.0]}, {"a": [(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4)]})
    seen = {"a": [(0.6, 1), (2.5, 2), (5.75, 3), (8.5, 4)]}
    idle, busy = Waits(), Waits()
    sort_waits(sent, seen, from_s=4.0, to_s=6.0, settled_s=1.0, idle=idle, busy=busy)
    assert (idle.ack, busy.ack) == ([0.2], [0.3])
    assert (idle.row, busy.row) == ([0.5], [0.75])


def test_what_no_count_tells_of_is_unexplained() -> None:
    assert Flood(sent=100, stored=60, later=10, refused=5, kernel_dropped=25).unexplained == 0
    assert Flood(sent=100, stored=60, later=10, refused=5, kernel_dropped=20).unexplained == 5


def test_uplinks_of_a_shape_are_numbered_on_and_never_share_a_key() -> None:
    shape = Shape(devices=3, readings_per_uplink=2)
    uplinks = [uplink for batch in bare.batches(shape, 12, 1_000_000, readings_before=12) for uplink in batch.uplinks]
    assert [(uplink.device, uplink.first_seq) for uplink in uplinks] == [
        ("bench3-0", 5), ("bench3-1", 5), ("bench3-2", 5), ("bench3-0", 7), ("bench3-1", 7), ("bench3-2", 7),
    ]  # fmt: skip
    keys = {(uplink.device, reading.sensor, reading.t_us) for uplink in uplinks for reading in uplink.readings}
    assert len(keys) == 12


def test_loads_and_names() -> None:
    assert Load(1, "", ("a", "b"), 5, 20).uplinks_each == 2
    assert Shape(32, 20).device(3) == "bench32-3"
    assert device_name("fleet-1000", 7) == "fleet-1000-000007"


def test_the_machine_says_what_it_is(tmp_path: Path) -> None:
    text = "\n".join(machine.describe(tmp_path))
    for part in ("cores", "GiB", "Linux", "Python 3", "SQLite 3.", "PostgreSQL", "Kafka 4.", "fdatasync of 4 KiB: median"):
        assert part in text
    assert machine.filesystem(Path("/proc")) == "proc"
    assert machine.filesystem(machine.place()) not in machine.IN_MEMORY


def test_versions_are_found_in_what_programs_say() -> None:
    assert machine.first_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)") == "15.18"
    assert machine.first_version('openjdk version "17.0.15" 2025-04-15') == "17.0.15"
    assert machine.first_version("nothing") == "?"
