"""One suite for every log: in memory, embedded, and a real Kafka."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simway_backbone import open_log
from simway_backbone.log import RECORD_MAX_BYTES, Log, LogRefused, LogUnavailable, OffsetGone, Reader, Record
from simway_protocol.topics import TOPICS, Topic

WAIT_S = 20.0


@pytest.fixture(scope="module", params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path_factory.mktemp('log')}"


@pytest.fixture(scope="module")
def topics() -> MappingProxyType[str, Topic]:
    """Topics of their own for each module run: a Kafka may be shared."""
    tag = uuid.uuid4().hex[:8]
    made = {}
    for name, partitions, compacted in (("wide", 24, False), ("narrow", 1, False), ("state", 1, True)):
        template = TOPICS["registry" if compacted else "uplink"]
        made[f"{name}-{tag}"] = msgspec.structs.replace(template, name=f"{name}-{tag}", partitions=partitions)
    return MappingProxyType(made)


@pytest.fixture(scope="module")
def log(url: str, topics: MappingProxyType[str, Topic]) -> Iterator[Log]:
    log = open_log(url, client_id="contract", topics=topics)
    log.ensure_topics()
    yield log
    log.close()


@pytest.fixture
def wide(topics: MappingProxyType[str, Topic]) -> str:
    return next(name for name in topics if name.startswith("wide"))


@pytest.fixture
def narrow(topics: MappingProxyType[str, Topic]) -> str:
    return next(name for name in topics if name.startswith("narrow"))


@pytest.fixture
def state(topics: MappingProxyType[str, Topic]) -> str:
    return next(name for name in topics if name.startswith("state"))


def ends(log: Log, topic: str) -> dict[int, int]:
    return {partition: end for partition, (_, end) in log.bounds(topic).items()}


def read(reader: Reader, enough: Callable[[list[Record]], bool]) -> list[Record]:
    """Polls until there is enough; fails at the deadline."""
    found: list[Record] = []
    deadline_s = time.monotonic() + WAIT_S
    while not enough(found):
        assert time.monotonic() < deadline_s, f"only {len(found)} records came"
        found += reader.poll(0.2)
    return found


def test_topics_are_made_as_described_and_only_once(log: Log, topics: MappingProxyType[str, Topic]) -> None:
    before = {name: log.identity(name) for name in topics}
    log.ensure_topics()
    assert {name: log.identity(name) for name in topics} == before
    assert [log.partitions(name) for name in topics] == [24, 1, 1]
    assert len(set(before.values())) == 3


def test_what_is_appended_comes_back_in_order(log: Log, narrow: str) -> None:
    reader = log.reader(narrow, ends(log, narrow))
    first = log.append(narrow, 0, [(b"k", b"one"), (None, b"two")]).result(WAIT_S)
    third = log.append(narrow, 0, [(b"k", b"three")]).result(WAIT_S)
    found = read(reader, lambda found: len(found) >= 3)
    assert [(record.key, record.value) for record in found] == [(b"k", b"one"), (None, b"two"), (b"k", b"three")]
    assert [record.offset for record in found] == [first, first + 1, third]
    assert third == first + 2
    assert all(abs(record.appended_us - time.time() * 1e6) < 60e6 for record in found)
    assert reader.poll(0.05) == []
    reader.close()


def test_appends_to_all_partitions_at_once(log: Log, wide: str) -> None:
    start = ends(log, wide)
    futures = {p: [log.append(wide, p, [(None, b"%d-%d" % (p, n))]) for n in range(5)] for p in range(24)}
    for partition, appended in futures.items():
        offsets = [future.result(WAIT_S) for future in appended]
        assert offsets == list(range(start[partition], start[partition] + 5))
    reader = log.reader(wide, start)
    found = read(reader, lambda found: len(found) >= 120)
    for partition in range(24):
        assert [record.value for record in found if record.partition == partition] == [
            b"%d-%d" % (partition, n) for n in range(5)
        ]
    assert ends(log, wide) == {partition: end + 5 for partition, end in start.items()}
    reader.close()


def test_a_reader_reads_only_its_partitions_from_its_positions(log: Log, wide: str) -> None:
    start = ends(log, wide)
    for partition in (1, 2, 3):
        log.append(wide, partition, [(None, b"%d" % n) for n in range(4)]).result(WAIT_S)
    reader = log.reader(wide, {1: start[1] + 2, 3: start[3] + 4})
    log.append(wide, 3, [(None, b"last")]).result(WAIT_S)
    found = read(reader, lambda found: len(found) >= 3)
    assert sorted((record.partition, record.value) for record in found) == [(1, b"2"), (1, b"3"), (3, b"last")]
    reader.seek(1, start[1])
    again = read(reader, lambda found: len(found) >= 4)
    assert [record.value for record in again if record.partition == 1] == [b"0", b"1", b"2", b"3"]
    reader.close()


def test_a_poll_gives_no_more_than_asked(log: Log, narrow: str) -> None:
    reader = log.reader(narrow, ends(log, narrow))
    log.append(narrow, 0, [(None, b"%d" % n) for n in range(7)]).result(WAIT_S)
    found: list[Record] = []
    deadline_s = time.monotonic() + WAIT_S
    while len(found) < 7 and time.monotonic() < deadline_s:
        some = reader.poll(0.2, max_records=3)
        assert len(some) <= 3
        found += some
    assert [record.value for record in found] == [b"%d" % n for n in range(7)]
    reader.close()


def test_a_waiting_reader_gets_what_comes(log: Log, narrow: str) -> None:
    reader = log.reader(narrow, ends(log, narrow))
    assert reader.poll(0.05) == []
    timer = threading.Timer(0.2, lambda: log.append(narrow, 0, [(None, b"late")]))
    timer.start()
    assert [record.value for record in reader.poll(WAIT_S)] == [b"late"]
    timer.join()
    reader.close()


def test_many_threads_append_and_nothing_is_lost_or_doubled(log: Log, wide: str) -> None:
    start = ends(log, wide)
    offsets: list[int] = []

    def append(thread: int) -> None:
        for number in range(20):
            future = log.append(wide, 7, [(None, b"%d.%d" % (thread, number))])
            offsets.append(future.result(WAIT_S))

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(offsets) == list(range(start[7], start[7] + 80))
    reader = log.reader(wide, {7: start[7]})
    found = read(reader, lambda found: len(found) >= 80)
    assert len({record.value for record in found}) == 80
    reader.close()


def test_an_offset_never_written_is_said_to_be_gone(log: Log, narrow: str) -> None:
    log.append(narrow, 0, [(None, b"x")]).result(WAIT_S)
    end = ends(log, narrow)[0]
    reader = log.reader(narrow, {0: end + 5})
    with pytest.raises(OffsetGone) as gone:
        read(reader, lambda found: False)
    assert (gone.value.wanted, gone.value.end) == (end + 5, end)
    reader.seek(0, end - 1)
    assert len(read(reader, lambda found: len(found) >= 1)) == 1
    reader.close()


@pytest.mark.parametrize(
    ("topic", "partition", "records"),
    [
        ("no-such-topic", 0, [(None, b"x")]),
        ("narrow", 1, [(None, b"x")]),
        ("narrow", -1, [(None, b"x")]),
        ("narrow", 0, []),
        ("narrow", 0, [(b"k", b"x" * RECORD_MAX_BYTES)]),
    ],
)
def test_what_no_log_takes_is_refused(
    log: Log, narrow: str, topic: str, partition: int, records: list[tuple[bytes | None, bytes]]
) -> None:
    before = ends(log, narrow)
    with pytest.raises(LogRefused):
        log.append(narrow if topic == "narrow" else topic, partition, records).result(WAIT_S)
    assert ends(log, narrow) == before


def test_a_reader_of_what_is_not_there_is_refused(log: Log, narrow: str) -> None:
    with pytest.raises(LogRefused, match="no-such-topic"):
        log.reader("no-such-topic", {0: 0})
    with pytest.raises(LogRefused):
        log.reader(narrow, {3: 0})


def test_an_append_may_be_larger_than_any_request(log: Log, narrow: str) -> None:
    """A fleet is announced in one."""
    sizes = [100_000] * 30 + [RECORD_MAX_BYTES - 10] + [1] * 2_000
    records = [(b"%d" % number, b"x" * size) for number, size in enumerate(sizes)]
    before = log.append(narrow, 0, [(None, b"before")])
    first = log.append(narrow, 0, records)
    after = log.append(narrow, 0, [(None, b"after")])
    assert before.result(WAIT_S) < first.result(WAIT_S) < after.result(WAIT_S)
    reader = log.reader(narrow, {0: first.result()})
    found = read(reader, lambda found: len(found) > len(records))
    assert [(record.key, len(record.value)) for record in found[:-1]] == [(key, len(value)) for key, value in records]
    assert found[-1].offset == after.result()
    reader.close()


def test_the_largest_record_passes(log: Log, narrow: str) -> None:
    value = bytes(RECORD_MAX_BYTES)
    reader = log.reader(narrow, ends(log, narrow))
    log.append(narrow, 0, [(None, value)]).result(WAIT_S)
    assert read(reader, lambda found: len(found) >= 1)[0].value == value
    reader.close()


def test_the_newest_of_each_key_stays_in_a_compacted_topic(log: Log, state: str) -> None:
    start = ends(log, state)
    for number in range(3):
        log.append(state, 0, [(b"a", b"a%d" % number), (b"b", b"b%d" % number)]).result(WAIT_S)
    reader = log.reader(state, start)
    newest: dict[bytes | None, bytes] = {}
    last = -1
    while last < start[0] + 5:
        for record in read(reader, lambda found: len(found) >= 1):
            assert record.offset > last
            last, newest[record.key] = record.offset, record.value
    assert newest == {b"a": b"a2", b"b": b"b2"}
    reader.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | st.binary(max_size=20), st.binary(max_size=200)), min_size=1, max_size=20))
def test_any_bytes_come_back(log: Log, narrow: str, records: list[tuple[bytes | None, bytes]]) -> None:
    reader = log.reader(narrow, ends(log, narrow))
    log.append(narrow, 0, records).result(WAIT_S)
    found = read(reader, lambda found: len(found) >= len(records))
    assert [(record.key, record.value) for record in found] == records
    reader.close()


def test_a_closed_log_takes_no_more(url: str, topics: MappingProxyType[str, Topic], narrow: str) -> None:
    log = open_log(url, client_id="closing", topics=topics)
    log.ensure_topics()
    pending = [log.append(narrow, 0, [(None, b"x")]) for _ in range(10)]
    log.close(WAIT_S)
    assert all(future.done() and future.exception() is None for future in pending)
    with pytest.raises(LogUnavailable):
        log.append(narrow, 0, [(None, b"x")]).result(WAIT_S)
