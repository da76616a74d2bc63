"""The small parts: replay window, round-trip time, flight of frames, pacing, timers, rationing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.udp.bodies import Sealed
from simway_protocol.udp.downlink import Downlink, Timers
from simway_protocol.udp.flight import Flight, Pacer, subtract
from simway_protocol.udp.frames import Type
from simway_protocol.udp.limiter import Limiter
from simway_protocol.udp.queueing import QueueGauge
from simway_protocol.udp.replay import WINDOW, ReplayWindow
from simway_protocol.udp.timing import REBASE_US, ROUND_SAMPLES, RTO_MAX_US, RTO_MIN_US, WINDOW_MAX, RttEstimator, backoff_us


@given(st.lists(st.integers(1, 300) | st.integers(2**62, 2**64 - 1)))
def test_the_replay_window_is_a_set_of_the_newest(counters):
    window, seen, top = ReplayWindow(), set(), 0
    for counter in counters:
        judged = window.judge(counter)
        if counter <= top - WINDOW:
            assert judged == "stale"
        elif counter in seen:
            assert judged == "replayed"
        else:
            assert judged is None
            window.accept(counter)
            seen.add(counter)
            top = max(top, counter)
    assert window.top == top


@given(st.lists(st.integers(0, 10**8), min_size=1))
def test_the_time_out_stays_within_its_bounds(samples):
    rtt = RttEstimator()
    assert rtt.rto_us == 1_000_000
    for sample in samples:
        rtt.sample(sample)
        assert RTO_MIN_US <= rtt.rto_us <= RTO_MAX_US
    assert min(samples) <= max(rtt.srtt_us, 1) + len(samples)
    waits = [backoff_us(rtt.rto_us, attempts) for attempts in range(1, 70)]
    assert waits == sorted(waits)
    assert waits[-1] == RTO_MAX_US


small = st.tuples(st.integers(1, 40), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(small, max_size=4), st.lists(small, max_size=6))
def test_subtracting_ranges_subtracts_sets(ranges, gone):
    def cover(pairs):
        return {seq for first, last in pairs for seq in range(first, last + 1)}

    assert cover(subtract(ranges, gone)) == cover(ranges) - cover(gone)


def test_a_frame_overtaken_by_others_is_due_again():
    flight, rtt = Flight(), RttEstimator()
    rtt.sample(100_000)
    for seq in range(1, 12):
        flight.add(b"", [(seq, seq)], 0)
    for frame in flight.due(0):
        flight.sent(frame, rtt, 60_000 if frame.open == [(11, 11)] else 0)
    flight.settle([(2, 8)], rtt, 100_000)
    assert flight.due(200_000) == []
    flight.settle([(9, 10)], rtt, 110_000)
    assert flight.due(160_000) == []
    flight.settle([(11, 11)], rtt, 160_000)
    assert [frame.open for frame in flight.due(160_000)] == [[(1, 1)]]
    (frame,) = flight.frames
    window = flight.window
    flight.sent(frame, rtt, 200_000)
    assert flight.window < window
    assert flight.due(200_000) == []


def test_the_window_opens_to_its_limit_and_not_below_its_floor():
    flight, rtt = Flight(), RttEstimator()
    for seq in range(1, 500):
        flight.add(b"", [(seq, seq)], seq)
        flight.sent(flight.frames[0], rtt, seq)
        flight.settle([(seq, seq)], rtt, seq + 1)
    assert flight.window == WINDOW_MAX == flight.room
    flight.add(b"", [(1, 1)], 0)
    for step in range(1, 50):
        flight.sent(flight.frames[0], rtt, step * 10**8)
    assert flight.window == 4


def fly(flight, rtt, seq, sent_us, rtt_us):
    flight.add(b"", [(seq, seq)], sent_us)
    flight.sent(flight.frames[-1], rtt, sent_us)
    flight.settle([(seq, seq)], rtt, sent_us + rtt_us)


def test_the_window_closes_once_a_round_while_a_queue_stands_and_opens_again():
    flight, rtt = Flight(), RttEstimator()
    for seq in range(100):
        fly(flight, rtt, seq, seq * 10_000, 10_000)
    assert flight.window == WINDOW_MAX
    closed_us = []
    for seq in range(100, 400):
        before = flight.window
        fly(flight, rtt, seq, seq * 10_000, 80_000)
        if flight.window < before:
            closed_us.append(seq * 10_000)
    assert flight.window == 2
    assert all(later - earlier >= 70_000 for earlier, later in pairwise(closed_us))
    for seq in range(400, 1_000):
        fly(flight, rtt, seq, seq * 10_000, 12_000)
    assert flight.window > 20


def test_what_is_put_off_closes_the_window_once_a_round_trip():
    flight, rtt = Flight(), RttEstimator()
    rtt.sample(50_000)
    for seq in range(8):
        flight.add(b"", [(seq, seq)], 0)
    flight.put_off([(0, 3)], rtt, 50_000)
    flight.put_off([(4, 5)], rtt, 60_000)
    assert (flight.window, len(flight.frames)) == (pytest.approx(8 * 0.7), 2)
    flight.put_off([(90, 99)], rtt, 200_000)
    assert flight.window == pytest.approx(8 * 0.7)
    flight.put_off([(6, 7)], rtt, 200_000)
    assert flight.window == 4


def judged(gauge, rtts_us, var_us=0):
    """Whether a queue stands after one round of these."""
    for place, rtt_us in enumerate(rtts_us):
        ended = gauge.sample(rtt_us, 1_000_000, 1, var_us)
        assert ended is (place == len(rtts_us) - 1)
    return gauge.standing


@pytest.mark.parametrize(
    ("base_us", "round_us", "var_us", "queueing"),
    [
        (2_000, 11_900, 0, False), (2_000, 12_100, 0, True),
        (60_000, 119_000, 0, False), (60_000, 121_000, 0, True),
        (20_000, 79_000, 20_000, False), (20_000, 81_000, 20_000, True),
        (300_000, 399_000, 90_000, False), (300_000, 401_000, 90_000, True),
    ],
)  # fmt: skip
def test_a_queue_is_what_comes_on_top_of_the_base(base_us, round_us, var_us, queueing):
    gauge = QueueGauge()
    assert not judged(gauge, [base_us] * ROUND_SAMPLES)
    assert judged(gauge, [round_us] * ROUND_SAMPLES, var_us) is queueing


def test_one_short_round_trip_in_a_round_says_that_no_queue_stands():
    gauge = QueueGauge()
    assert not judged(gauge, [20_000] * ROUND_SAMPLES)
    assert not judged(gauge, [500_000] * (ROUND_SAMPLES - 1) + [25_000])
    assert judged(gauge, [100_000] * ROUND_SAMPLES)


def test_a_round_ends_with_a_frame_that_was_sent_after_it_began():
    gauge = QueueGauge()
    assert [gauge.sample(1_000, serial, 20, 0) for serial in range(1, 9)] == [False] * 7 + [True]
    assert [gauge.sample(1_000, serial, 40, 0) for serial in range(9, 22)] == [False] * 12 + [True]


def test_delay_that_stays_at_the_smallest_window_becomes_the_base():
    gauge = QueueGauge()
    judged(gauge, [20_000] * ROUND_SAMPLES)
    assert judged(gauge, [400_000] * ROUND_SAMPLES)
    assert not gauge.rebase(True, 0)
    assert judged(gauge, [410_000] * ROUND_SAMPLES)
    assert not gauge.rebase(True, REBASE_US - 1)
    assert judged(gauge, [420_000] * ROUND_SAMPLES)
    assert gauge.rebase(True, REBASE_US)
    assert not gauge.standing
    assert not judged(gauge, [500_000] * ROUND_SAMPLES)
    assert judged(gauge, [520_000] * ROUND_SAMPLES)


def test_a_window_that_opened_in_between_begins_the_wait_for_another_base_anew():
    gauge = QueueGauge()
    judged(gauge, [20_000] * ROUND_SAMPLES)
    assert judged(gauge, [400_000] * ROUND_SAMPLES)
    assert [gauge.rebase(at_floor, now_us) for at_floor, now_us in ((True, 0), (False, 1), (True, REBASE_US))] == [False] * 3


def test_a_link_that_became_slower_than_the_time_out_is_measured_again():
    """Each frame would be repeated before its answer, and a repeated one is not measured: the time-out must grow by itself."""
    flight, rtt, now_us = Flight(), RttEstimator(), 0
    rtt.sample(20_000)
    for seq in range(8):
        begin_us = now_us
        flight.add(b"", [(seq, seq)], now_us)
        while now_us < begin_us + 2_000_000:
            for frame in flight.due(now_us):
                flight.sent(frame, rtt, now_us)
            now_us = min(begin_us + 2_000_000, flight.next_us)
        flight.settle([(seq, seq)], rtt, now_us)
    assert rtt.srtt_us > 200_000
    assert rtt.wait_us(1) > 2_000_000


def test_the_pacer_spreads_what_is_beyond_a_burst():
    pacer = Pacer(burst=4)
    interval_us = pacer.interval_us(window=8, srtt_us=80_000)
    assert interval_us == 8_000
    sent = [now_us for now_us in range(0, 80_000, 1_000) for _ in range(10) if pacer.take(now_us, interval_us)]
    assert sent[:4] == [0, 0, 0, 0]
    assert sent[4:] == list(range(8_000, 80_000, 8_000))
    assert pacer.ready_us(interval_us) == 80_000


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9))))
def test_timers_come_up_in_order(entries):
    timers = Timers()
    for due_us, thing in entries:
        timers.add(due_us, thing)
    assert timers.next_us == min((due_us for due_us, _ in entries), default=None)
    assert timers.pop_due(50) == [thing for due_us, thing in sorted(entries, key=lambda entry: entry[0]) if due_us <= 50]


def test_the_limiter_gives_a_burst_and_then_its_rate():
    limiter = Limiter(rate_per_s=10, burst=3)
    assert [limiter.take(0) for _ in range(4)] == [True, True, True, False]
    assert [limiter.take(100_000), limiter.take(100_000), limiter.take(50_000)] == [True, False, False]
    assert sum(limiter.take(10**9) for _ in range(10)) == 3


def test_the_downlink_keeps_one_entry_a_command_and_type():
    downlink = Downlink()
    sealed, other = Sealed(bytes(16), b"a", bytes(32)), Sealed(bytes(16), b"b", bytes([1] * 32))
    first = downlink.add("d", Type.COMMAND, sealed, 0)
    assert downlink.add("d", Type.COMMAND, sealed, 0) is None
    assert downlink.add("d", Type.CONFIRM, sealed, 0) is not None
    again = downlink.add("d", Type.COMMAND, other, 0)
    assert (first.live, again.live) == (False, True)
    downlink.drop("d", bytes(16), Type.CONFIRM)
    assert downlink.of("d") == [again]
    downlink.drop("d", bytes(16))
    downlink.drop("d", bytes(16))
    assert downlink.of("d") == []
    assert downlink._by_device == {}


def test_a_cancel_takes_the_place_of_its_command():
    downlink = Downlink()
    sealed, other = Sealed(bytes(16), b"a", bytes(32)), Sealed(bytes([1] * 16), b"a", bytes(32))
    command, unconcerned = downlink.add("d", Type.COMMAND, sealed, 0), downlink.add("d", Type.COMMAND, other, 0)
    cancel = downlink.add("d", Type.CANCEL, sealed, 0)
    assert downlink.add("d", Type.COMMAND, sealed, 0) is None
    assert downlink.of("d") == [unconcerned, cancel]
    assert not command.live
