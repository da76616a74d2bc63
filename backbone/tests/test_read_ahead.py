"""A reader that can be woken, on a log in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from simway_backbone.log import LogUnavailable, OffsetGone, Record
from simway_backbone.memory_log import MemoryLog
from simway_backbone.read_ahead import ReadAhead

WAIT_S = 20.0
TOPIC = "device-events"


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    log = MemoryLog()
    log.ensure_topics()
    yield log
    log.close()


@pytest.fixture
def reader(log: MemoryLog) -> Iterator[ReadAhead]:
    reader = ReadAhead(log.reader(TOPIC, {0: 0}), 3)
    yield reader
    reader.close()
    assert not reader._thread.is_alive()


def append(log: MemoryLog, *values: bytes) -> None:
    log.append(TOPIC, 0, [(b"demo", value) for value in values]).result(WAIT_S)


def test_records_come_in_order_and_no_more_at_once_than_asked_for(log: MemoryLog, reader: ReadAhead) -> None:
    append(log, *(b"%d" % n for n in range(8)))
    found: list[Record] = []
    while len(found) < 8:
        came = reader.poll(WAIT_S)
        assert 0 < len(came) <= 3
        found += came
    assert [record.offset for record in found] == list(range(8))


def test_a_wait_is_ended_by_another_thread(log: MemoryLog, reader: ReadAhead) -> None:
    came: list[list[Record]] = []
    waiting = threading.Thread(target=lambda: came.append(reader.poll(60 * WAIT_S)), daemon=True)
    waiting.start()
    reader.wake()
    waiting.join(WAIT_S)
    assert came == [[]]


def test_one_that_was_woken_before_it_waits_does_not_wait_and_loses_nothing(log: MemoryLog, reader: ReadAhead) -> None:
    reader.wake()
    assert reader.poll(60 * WAIT_S) == []
    append(log, b"one")
    assert [record.value for record in reader.poll(WAIT_S)] == [b"one"]


def test_it_is_quiet_only_when_the_log_was_asked_and_had_nothing(log: MemoryLog) -> None:
    log.outage = "away"
    reader = ReadAhead(log.reader(TOPIC, {0: 0}), 3)
    with pytest.raises(LogUnavailable, match="away"):
        reader.poll(WAIT_S)
    assert not reader.is_quiet
    log.outage = None
    assert reader.poll(1.0) == []
    assert reader.is_quiet
    append(log, b"one")
    assert reader.poll(WAIT_S)
    reader.close()


def test_what_retention_took_is_told_and_reading_goes_on_where_it_is_sent(log: MemoryLog) -> None:
    append(log, b"gone", b"gone too", b"there")
    log.drop_before(TOPIC, 0, 2)
    reader = ReadAhead(log.reader(TOPIC, {0: 0}), 3)
    with pytest.raises(OffsetGone):
        reader.poll(WAIT_S)
    reader.seek(0, 2)
    assert [record.value for record in reader.poll(WAIT_S)] == [b"there"]
    with pytest.raises(RuntimeError):
        reader.seek(0, 0)
    reader.close()
