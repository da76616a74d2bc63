"""Reading a topic on and on, the registry that stands on it, and the bounded way to other topics."""

import asyncio
import threading
import time

import pytest
from simway_backbone.memory_log import MemoryLog
from simway_ingest.appender import Appender
from simway_ingest.dead_letters import DeadLetters
from simway_ingest.follower import Follower, offset_before
from simway_ingest.registry import Refused, Registry
from simway_protocol import messages
from simway_protocol.messages import EVERY_DEVICE, DeadLetter, RegistryEntry

DEADLINE_S = 10


@pytest.fixture
def log():
    log = MemoryLog()
    log.ensure_topics()
    return log


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def entry(device="demo", status="active", versions=(1,)):
    return (device.encode(), messages.encode(RegistryEntry(device, status, list(versions), 0)))


@pytest.fixture
def started(request):
    def start(thing):
        request.addfinalizer(thing.stop)
        thing.start()
        return thing

    return start


def test_the_registry_lets_in_whom_the_log_names_and_nobody_else(log, started):
    log.append("registry", 0, [entry("demo"), entry("old", "revoked"), entry("demo", versions=(1, 2))])
    registry = started(Registry(log))
    assert registry.wait_ready(DEADLINE_S)
    assert registry.check("demo", 1) is None
    assert registry.check("demo", 2) is None
    assert registry.check("demo", 3) == Refused.BAD_KEY_VERSION
    assert registry.check("old", 1) == Refused.REVOKED
    assert registry.check("nobody", 1) == Refused.UNKNOWN_DEVICE
    assert len(registry) == 2


def test_the_registry_tells_how_long_raw_readings_are_kept(log, started):
    log.append("registry", 0, [entry("demo"), kept(86_400)])
    registry = started(Registry(log))
    assert registry.wait_ready(DEADLINE_S)
    assert (registry.raw_keep_us, registry.check("*", 1), len(registry)) == (86_400_000_000, Refused.UNKNOWN_DEVICE, 1)
    log.append("registry", 0, [kept(0)])
    until(lambda: registry.raw_keep_us == 0)


def kept(keep_s):
    return (b"*", messages.encode(RegistryEntry(EVERY_DEVICE, "revoked", [], 0, keep_s)))


def test_until_it_is_read_the_registry_says_that_it_is_not_ready(log, started):
    log.outage = "no broker"
    registry = started(Registry(log))
    until(lambda: registry.error == "no broker")
    assert registry.check("demo", 1) == Refused.NOT_READY
    log.outage = None
    assert registry.wait_ready(DEADLINE_S)
    assert registry.check("demo", 1) == Refused.UNKNOWN_DEVICE


def test_a_revoked_device_is_refused_as_soon_as_the_log_says_so(log, started):
    log.append("registry", 0, [entry()])
    changed = []
    registry = started(Registry(log, changed.append))
    until(lambda: registry.check("demo", 1) is None)
    log.append("registry", 0, [entry(status="revoked", versions=())])
    until(lambda: registry.check("demo", 1) == Refused.REVOKED)
    until(lambda: [one.status for one in changed] == ["active", "revoked"])


def test_an_outage_takes_nothing_away_and_a_bad_record_stops_nothing(log, started):
    log.append("registry", 0, [entry()])
    registry = started(Registry(log))
    until(lambda: registry.check("demo", 1) is None)
    log.outage = "no broker"
    until(lambda: registry.error)
    assert registry.check("demo", 1) is None
    log.outage = None
    log.append("registry", 0, [(b"x", b"no json"), entry("late"), (b"demo", b"")])
    until(lambda: registry.check("late", 1) is None)
    until(lambda: registry.check("demo", 1) == Refused.UNKNOWN_DEVICE)
    until(lambda: registry.error is None)


def test_a_gap_that_retention_made_is_counted_and_passed(log, started):
    for index in range(5):
        log.append("downlink", 0, [(None, b"%d" % index)])
    log.drop_before("downlink", 0, 3)
    seen = []
    follower = started(Follower(log, "downlink", seen.extend, start=lambda: 1, retry_s=0.01))
    assert follower.caught_up.wait(DEADLINE_S)
    assert [record.value for record in seen] == [b"3", b"4"]
    assert follower.missed == 1


def test_an_exception_of_the_handler_is_seen(log, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    log.append("downlink", 0, [(None, b"x")])
    follower = Follower(log, "downlink", lambda _: 1 / 0)
    follower.start()
    follower.join(DEADLINE_S)
    assert follower.error == "stopped by ZeroDivisionError: division by zero"


def test_the_offset_of_a_time(log):
    assert offset_before(log, "downlink", 0) == 0
    for index in range(20):
        log.append("downlink", 0, [(None, b"%d" % index)])
    times = [record.appended_us for record in log.records("downlink")]
    for t_us in (times[0] - 1, *times, times[-1] + 1):
        offset = offset_before(log, "downlink", t_us)
        assert all(moment < t_us for moment in times[:offset])
        assert all(moment >= t_us for moment in times[offset:])


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))


async def soon(condition):
    while not condition():
        await asyncio.sleep(0.001)


def values(log, topic):
    return [record.value for record in log.records(topic)]


def test_appended_records_stay_in_order_and_are_told_when_durable(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        durable = []
        for index in range(600):
            appender.add(b"k", b"%d" % index, lambda index=index: durable.append(index))
        assert durable == []
        await appender.close(DEADLINE_S)
        assert durable == list(range(600))
        assert values(log, "device-events") == [b"%d" % index for index in range(600)]

    run(scenario)


def test_a_patient_record_goes_with_a_hurried_one_in_order_and_in_one_append(log):
    async def scenario():
        sizes = []
        append = log.append
        log.append = lambda topic, partition, records: sizes.append(len(records)) or append(topic, partition, records)
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        durable = []
        appender.add(None, b"sent", lambda: durable.append("sent"), patience_s=3600)
        appender.add(None, b"received", patience_s=3600)
        await asyncio.sleep(0)
        assert (sizes, appender.waiting) == ([], 2)
        appender.add(None, b"result", lambda: durable.append("result"))
        await soon(lambda: not appender.waiting)
        assert (sizes, durable) == ([3], ["sent", "result"])
        assert values(log, "device-events") == [b"sent", b"received", b"result"]

    run(scenario)


def test_a_patient_record_goes_alone_when_its_patience_is_over_and_at_the_end(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        appender.add(None, b"0", patience_s=0.01)
        await soon(lambda: not appender.waiting)
        appender.add(None, b"1", patience_s=3600)
        await appender.close(DEADLINE_S)
        assert values(log, "device-events") == [b"0", b"1"]

    run(scenario)


def test_a_patient_record_waits_no_longer_than_the_most_hurried_before_it(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        appender.add(None, b"0", patience_s=0.01)
        appender.add(None, b"1", patience_s=3600)
        await soon(lambda: not appender.waiting)
        assert values(log, "device-events") == [b"0", b"1"]

    run(scenario)


def test_patient_records_that_an_outage_brought_back_go_as_soon_as_it_is_over(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        log.outage = "no broker"
        appender.add(None, b"0", patience_s=0.001)
        await soon(lambda: appender.failing)
        appender.add(None, b"1", patience_s=3600)
        log.outage = None
        await soon(lambda: not appender.waiting)
        assert values(log, "device-events") == [b"0", b"1"]

    run(scenario)


def test_an_outage_delays_and_loses_nothing_while_there_is_room(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events", records_max=3)
        log.outage = "no broker"
        assert [appender.add(None, b"%d" % index) for index in range(5)] == [True, True, True, False, False]
        await soon(lambda: appender.failing)
        assert (appender.waiting, appender.lost) == (3, 2)
        log.outage = None
        await appender.close(DEADLINE_S)
        assert values(log, "device-events") == [b"0", b"1", b"2"]
        assert not appender.failing

    run(scenario)


def test_only_the_record_that_the_log_refuses_is_lost(log):
    async def scenario():
        appender = Appender(log, asyncio.get_running_loop(), "device-events")
        for value in (b"0", b"x" * 2_000_000, b"2", b"3"):
            appender.add(None, value)
        await appender.close(DEADLINE_S)
        assert values(log, "device-events") == [b"0", b"2", b"3"]
        assert appender.lost == 1

    run(scenario)


def test_dead_letters_are_kept_as_long_as_there_is_room_and_counted_always(log):
    async def scenario():
        letters = DeadLetters(log, asyncio.get_running_loop(), letters_max=2)
        log.outage = "no broker"
        letters.add(DeadLetter("admit", "too_old", 0, "demo") for _ in range(5))
        log.outage = None
        await letters.close(DEADLINE_S)
        assert len(values(log, "dead-letter")) == 2
        assert (letters.by_reason, letters.lost) == ({"too_old": 5}, 3)

    run(scenario)
