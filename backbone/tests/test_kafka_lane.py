"""A lane's groups: what goes together, in what order, what becomes of what is held. The broker is a producer of a few lines."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from kafka import errors as kafka_errors
from simway_backbone.kafka_lane import Append, Lane
from simway_backbone.log import LogRefused, LogUnavailable

TOPIC = "uplink"


class Sent:
    """What kafka-python's ``send`` gives."""

    def __init__(self, partition, value):
        self.partition, self.value = partition, value

    def add_callback(self, told, number):
        self.succeed = lambda offset: told(number, SimpleNamespace(offset=offset))

    def add_errback(self, told):
        self.fail = told


class Producer:
    """Keeps what it is to send until its thread is woken."""

    def __init__(self):
        self._metadata = SimpleNamespace(partitions_for_topic=lambda _: {0})
        self.waiting, self.groups = [], []

        class Sender:
            def wakeup(_):
                self.groups.append(self.waiting)
                self.waiting = []

            def force_close(_):
                pass

            def join(_, seconds):
                pass

        self._sender = Sender()

    def send(self, topic, value, key, partition):
        assert topic == TOPIC
        sent = Sent(partition, value)
        self.waiting.append(sent)
        self._sender.wakeup()
        return sent

    def close(self, timeout):
        pass


class Later:
    """An executor whose jobs run when the test says so."""

    def __init__(self):
        self.jobs, self.closed = [], False

    def submit(self, job, *arguments):
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.jobs.append(lambda: job(*arguments))

    def run(self):
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def lane():
    lane = Lane(Later(), Later(), lambda _: Producer(), lambda _: None, lambda error: LogUnavailable(str(error)))
    lane.producer = Producer()
    return lane


def put(lane, *values):
    """Appends, one to each partition in turn."""
    futures = []
    for partition, value in enumerate(values):
        futures.append(Future())
        lane.put(Append(futures[-1], TOPIC, partition, [(None, value)]))
    return futures


def groups(lane):
    return [[sent.value for sent in group] for group in lane.producer.groups if group]


def test_what_a_lane_at_rest_is_given_in_one_sweep_goes_together(lane):
    futures = put(lane, b"a", b"b", b"c")
    assert groups(lane) == []
    assert not lane.is_idle
    lane._starter.run()
    assert groups(lane) == [[b"a", b"b", b"c"]]
    for offset, sent in enumerate(lane.producer.groups[0]):
        sent.succeed(offset)
    assert [future.result(0) for future in futures] == [0, 1, 2]
    assert lane.is_idle


def test_what_comes_while_a_group_is_under_way_goes_together_when_all_of_it_is_answered(lane):
    put(lane, b"a", b"b")
    lane._starter.run()
    put(lane, b"c", b"d")
    assert lane._starter.jobs == []
    first, second = lane.producer.groups[0]
    first.succeed(7)
    assert groups(lane) == [[b"a", b"b"]]
    second.succeed(8)
    assert groups(lane) == [[b"a", b"b"], [b"c", b"d"]]
    assert not lane.is_idle


def test_what_is_held_behind_a_broker_that_is_away_fails_with_what_was_under_way(lane):
    failed = put(lane, b"a")
    lane._starter.run()
    failed += put(lane, b"b", b"c")
    lane.producer.groups[0][0].fail(kafka_errors.KafkaTimeoutError("no answer"))
    assert [type(future.exception(0)) for future in failed] == [LogUnavailable] * 3
    assert lane.is_idle
    assert lane.producer is None


def test_a_group_that_is_refused_at_once_lets_the_next_one_go(lane):
    """That begins while the first is still being given to the producer."""
    followed = []

    def refuse(append):
        if append.records[0][1] != b"large":
            return None
        followed.extend(put(lane, b"a"))
        return LogRefused("too large")

    lane._refuse = refuse
    (refused,) = put(lane, b"large")
    lane._starter.run()
    assert isinstance(refused.exception(0), LogRefused)
    assert groups(lane) == [[b"a"]]
    next(sent for group in lane.producer.groups for sent in group).succeed(3)
    assert followed[0].result(0) == 3
    assert lane.is_idle


def test_a_lane_whose_threads_have_ended_says_that_the_log_is_closed(lane):
    lane._starter.closed = True
    (future,) = put(lane, b"a")
    assert "closed" in str(future.exception(0))
    assert lane.is_idle
