"""What only Kafka has: a broker that starts late, hangs, dies and comes back; what a topic is made like."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.protocol.producer import ProduceResponse
from simway_backbone import kafka_reader
from simway_backbone.kafka_link import Link
from simway_backbone.kafka_log import KafkaLog
from simway_backbone.log import LogUnavailable, OffsetGone, Reader, Record
from simway_protocol.topics import TOPICS
from simway_testing import Unavailable, kafka_server, scratch, strict

pytestmark = pytest.mark.real

WAIT_S = 30.0
DELIVERY_S = 2.0
NAMES = ("out", "restart", "made", "gone", "again")
TOPICS_HERE = MappingProxyType({name: msgspec.structs.replace(TOPICS["uplink"], name=name, partitions=2) for name in NAMES})


class Broker:
    """One broker that these tests may stop, and start again where it was."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._stack = directory, ExitStack()
        self.url, self.process = "", None
        self.start()

    def start(self) -> None:
        self.url, self.process = self._stack.enter_context(kafka_server.server(self._directory))

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._stack.close()

    def signal(self, number: signal.Signals) -> None:
        assert isinstance(self.process, subprocess.Popen)
        self.process.send_signal(number)

    def open(self) -> KafkaLog:
        servers = [self.url.removeprefix("kafka://")]
        return KafkaLog(servers, client_id="outage", topics=TOPICS_HERE, delivery_timeout_s=DELIVERY_S)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    try:
        with scratch("kafka-outage") as directory:
            broker = Broker(directory)
            yield broker
            broker.kill()
    except Unavailable as missing:
        if strict():
            pytest.fail(f"kafka: {missing} (CI=true: nothing may be skipped)")
        pytest.skip(f"kafka: {missing}")


@pytest.fixture
def log(broker: Broker) -> Iterator[KafkaLog]:
    log = broker.open()
    log.ensure_topics()
    yield log
    log.close()


def read(reader: Reader, count: int) -> list[Record]:
    found: list[Record] = []
    deadline_s = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline_s, f"only {len(found)} records came"
        found += reader.poll(0.2)
    return found


def append_until_taken(log: KafkaLog, topic: str, value: bytes) -> int:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            return log.append(topic, 0, [(None, value)]).result(WAIT_S)
        except LogUnavailable:
            assert time.monotonic() < deadline_s


def test_a_single_broker_syncs_each_record(log: KafkaLog) -> None:
    resource = ConfigResource(ConfigResourceType.TOPIC, "made")
    configs = log._ask(lambda admin: admin.describe_configs([resource], config_filter="all"))["topic"]["made"]
    settings = {name: config["value"] for name, config in configs.items()}
    assert settings["flush.messages"] == "1"
    assert settings["cleanup.policy"] == "delete"
    assert settings["retention.ms"] == "604800000"
    assert log.partitions("made") == 2


def test_the_first_append_to_a_broker_that_has_just_begun_is_taken(broker: Broker) -> None:
    broker.kill()
    broker.start()
    log = KafkaLog([broker.url.removeprefix("kafka://")], client_id="first", topics=TOPICS_HERE)
    try:
        log.ensure_topics()
        log.append("out", 0, [(None, b"first")]).result(WAIT_S)
    finally:
        log.close()


def test_a_hanging_broker_is_unavailable_in_time_and_then_all_goes_on(
    broker: Broker, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "ASK_AFTER_S", 0.1)
    monkeypatch.setattr(kafka_reader, "ANSWER_TIMEOUT_S", 0.5)
    first = log.append("out", 0, [(None, b"before")]).result(WAIT_S)
    reader = log.reader("out", {0: first})
    assert [record.value for record in read(reader, 1)] == [b"before"]
    broker.signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        futures = [log.append("out", 0, [(None, b"lost? %d" % number)]) for number in range(3)]
        assert time.monotonic() - began_s < 1.0
        for future in futures:
            with pytest.raises(LogUnavailable, match="does not answer"):
                future.result(DELIVERY_S + 10)
        with pytest.raises(LogUnavailable):
            read(reader, 1)
    finally:
        broker.signal(signal.SIGCONT)
    append_until_taken(log, "out", b"after")
    deadline_s = time.monotonic() + WAIT_S
    values: list[bytes] = []
    while b"after" not in values:
        assert time.monotonic() < deadline_s
        try:
            values += [record.value for record in reader.poll(0.2)]
        except LogUnavailable:
            continue
    assert values.count(b"after") == 1
    reader.close()


def test_a_killed_broker_comes_back_with_all_that_was_acknowledged(broker: Broker) -> None:
    log = broker.open()
    log.ensure_topics()
    identity = log.identity("restart")
    offsets = [log.append("restart", 0, [(None, b"%d" % number)]).result(WAIT_S) for number in range(50)]
    broker.kill()
    other = broker.open()
    starting = threading.Thread(target=other.ensure_topics)
    starting.start()
    with pytest.raises(LogUnavailable):
        log.append("restart", 0, [(None, b"while away")]).result(DELIVERY_S + 10)
    broker.start()
    starting.join(WAIT_S)
    assert not starting.is_alive()
    assert other.identity("restart") == identity
    reader = other.reader("restart", {0: offsets[0]})
    assert [record.value for record in read(reader, 50)][:50] == [b"%d" % number for number in range(50)]
    assert append_until_taken(log, "restart", b"back") >= 50
    reader.close()
    log.close()
    other.close()


def test_what_retention_took_is_gone(log: KafkaLog) -> None:
    for _ in range(5):
        log.append("gone", 1, [(None, b"x")]).result(WAIT_S)
    log._ask(lambda admin: admin.delete_records({TopicPartition("gone", 1): 3}))
    assert log.bounds("gone") == {0: (0, 0), 1: (3, 5)}
    reader = log.reader("gone", {0: 0, 1: 1})
    with pytest.raises(OffsetGone) as gone:
        read(reader, 1)
    assert (gone.value.partition, gone.value.wanted, gone.value.earliest, gone.value.end) == (1, 1, 3, 5)
    reader.seek(1, gone.value.earliest)
    assert [record.offset for record in read(reader, 2)] == [3, 4]
    reader.close()


def test_a_topic_made_again_is_another(broker: Broker, log: KafkaLog) -> None:
    before = log.identity("again")
    log._ask(lambda admin: admin.delete_topics(["again"]))
    log.ensure_topics()
    assert log.identity("again") != before
    assert append_until_taken(log, "again", b"x") == 0


def test_a_batch_that_is_sent_again_is_written_once(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is lost on the way: the real broker tells it by its identity and sequence number, and answers as before."""
    first = log.append("made", 1, [(None, b"x")]).result(WAIT_S)
    answer, lost = Link.answer, iter([True, True, False])

    def answer_or_lose(link: Link, timeout_s: float) -> object:
        found = answer(link, timeout_s)
        if isinstance(found, ProduceResponse) and next(lost, False):
            raise TimeoutError("lost on the way")
        return found

    monkeypatch.setattr(Link, "answer", answer_or_lose)
    assert log.append("made", 1, [(None, b"y"), (None, b"z")]).result(WAIT_S) == first + 1
    assert log.append("made", 1, [(None, b"after")]).result(WAIT_S) == first + 3
    assert next(lost, None) is None
    reader = log.reader("made", {1: first})
    assert [record.value for record in read(reader, 4)] == [b"x", b"y", b"z", b"after"]
    reader.close()


def test_who_is_no_longer_known_gets_another_identity(log: KafkaLog) -> None:
    """A gap in its sequence numbers is what a broker sees that has lost them."""
    first = log.append("made", 1, [(None, b"x")]).result(WAIT_S)
    log._writer._producer._sequences["made", 1] = 1_000
    with pytest.raises(LogUnavailable, match="OutOfOrderSequenceNumberError"):
        log.append("made", 1, [(None, b"y")]).result(WAIT_S)
    assert log.append("made", 1, [(None, b"z")]).result(WAIT_S) == first + 1


def test_an_append_does_not_wait_for_what_the_log_must_ask_first(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_in: list[threading.Thread] = []
    describe = log._describe

    def note_and_describe(topic: str) -> tuple[str, int]:
        asked_in.append(threading.current_thread())
        return describe(topic)

    monkeypatch.setattr(log, "_describe", note_and_describe)
    log._counts.clear()
    first = log.append("made", 1, [(None, b"x")]).result(WAIT_S)
    assert log.append("made", 1, [(None, b"y")]).result(WAIT_S) == first + 1
    assert asked_in
    assert threading.current_thread() not in asked_in


def test_a_broker_that_never_comes_is_said_clearly() -> None:
    log = KafkaLog(["127.0.0.1:1"], client_id="nobody", topics=TOPICS_HERE, start_timeout_s=0.1)
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer.*LOG_URL"):
        log.ensure_topics()
    log.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kafka-io-nobody")]
