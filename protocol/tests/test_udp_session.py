"""A session: readings over any weather, replays, silence, RESET, another address, the end."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_protocol.errors import LocalError
from simway_protocol.limits import DATAGRAM_MAX_BYTES
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.udp.client import reading_fits
from simway_protocol.udp.events import Acknowledged, DataReceived, Refused, SessionLost
from simway_protocol.udp.frames import Type, encode_clear, parse_header
from simway_protocol.udp.server_session import merged
from simway_testing.udp_link import CLIENT_ADDRESS, EPOCH, S_US, T0_US, Link, Weather, attach, make_client, make_link, make_server

ELSEWHERE = ("198.51.100.9", 6002)


def attached_link(**more):
    link = make_link(**more)
    link.attached()
    return link


def types_of(datagrams):
    return [parse_header(datagram).type for datagram in datagrams]


def last_of(link, type_):
    return next(datagram for datagram in reversed(link.to_server) if parse_header(datagram).type is type_)


# --- readings ------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    loss=st.floats(0, 0.5), doubling=st.floats(0, 0.5), shortest=st.integers(0, 200_000), spread=st.integers(0, 1_500_000),
    seed=st.integers(0, 2**32), how_many=st.integers(1, 400),
)  # fmt: skip
def test_no_weather_loses_or_changes_a_reading(loss, doubling, shortest, spread, seed, how_many):
    link = Link(make_client(seed), make_server(seed + 1), Weather(loss, doubling, (shortest, shortest + spread)), seed)
    attach(link.client)
    outbox = link.fill(how_many)
    link.run(lambda: not link.outbox, for_us=3_600 * S_US)
    assert link.stored == outbox
    acknowledged = {seq for event in link.of("Acknowledged") for first, last in event.logged for seq in range(first, last + 1)}
    assert acknowledged == set(outbox)


def test_every_transmission_takes_a_new_counter():
    link = attached_link(weather=Weather(loss=0.4))
    link.fill(300)
    link.run(lambda: not link.outbox, for_us=600 * S_US)
    for datagrams in (link.to_server, link.to_client):
        hello, seen = b"", []
        for datagram in datagrams:
            match parse_header(datagram).type:
                case Type.HELLO:
                    hello = datagram
                case Type.ATTACH:
                    seen.append(datagram[:17] + hello)
                case type_ if type_ is not Type.CHALLENGE:
                    seen.append(datagram[:17])
        assert len(seen) == len(set(seen))


def test_a_good_link_repeats_nothing():
    link = attached_link()
    link.fill(2_000)
    link.run(lambda: not link.outbox)
    sequences = [event.first_seq for event in link.of("DataReceived")]
    assert sequences == sorted(set(sequences))
    assert all(len(datagram) <= DATAGRAM_MAX_BYTES for datagram in link.to_server)


def test_a_lost_ack_brings_the_same_frame_again():
    link = attached_link()
    link.acknowledging = False
    link.fill(3)
    link.run(lambda: len(link.of("DataReceived")) >= 3)
    first, *others = link.of("DataReceived")
    assert all(event == first for event in others)
    link.acknowledging = True
    link.run(lambda: not link.outbox)


def test_dropped_ranges_are_sent_and_acknowledged_like_readings():
    link = attached_link()
    link.acknowledging = False
    readings = [Reading("a", T0_US, 1)]
    assert link.client.send_data(5, readings, [(1, 4)], link.now_us) == 1
    assert link.client.send_data(10, [], [(6, 9)], link.now_us) == 0
    link.run(lambda: len(link.of("DataReceived")) == 2)
    assert [(event.first_seq, event.dropped) for event in link.of("DataReceived")] == [(5, [(1, 4)]), (10, [(6, 9)])]
    link.server.acknowledge(link.client.session_id, EPOCH, 5, 5, Outcome.LOGGED)
    link.server.acknowledge(link.client.session_id, EPOCH, 6, 9, Outcome.LOGGED)
    before = len(link.of("DataReceived"))
    link.run(lambda: len(link.of("DataReceived")) > before)
    assert link.of("DataReceived")[-1].dropped == [(1, 4)]
    link.server.acknowledge(link.client.session_id, EPOCH, 1, 4, Outcome.LOGGED)
    link.run(lambda: link.of("Acknowledged")[-1].logged == [(1, 4)])
    count = len(link.of("DataReceived"))
    link.run(for_us=20 * S_US)
    assert len(link.of("DataReceived")) == count


def test_a_new_outbox_does_not_speak_in_the_old_ones_epoch():
    link = attached_link()
    link.acknowledging = False
    link.client.send_data(1, [Reading("a", T0_US, 1)], [], link.now_us)
    link.client.attach(iccid="", boot_counter=1, epoch="ee" * 8, last_counter=0, now_us=link.now_us)
    assert link.client.attached
    assert link.client.window() == 0
    assert link.client.send_data(1, [Reading("b", T0_US, 2)], [], link.now_us) == 0
    link.run(lambda: len(link.of("AttachedTo")) == 2)
    assert link.client.send_data(1, [Reading("b", T0_US, 2)], [], link.now_us) == 1
    link.run(lambda: link.of("DataReceived"))
    assert {event.epoch for event in link.of("DataReceived")} == {"ee" * 8}


def test_outcomes_reach_the_client():
    link = attached_link()
    link.acknowledging = False
    link.client.send_data(1, [Reading("a", T0_US, index) for index in range(9)], [], link.now_us)
    link.run(lambda: link.of("DataReceived"))
    session_id = link.client.session_id
    link.server.acknowledge(session_id, EPOCH, 1, 3, Outcome.LOGGED)
    link.server.acknowledge(session_id, EPOCH, 4, 4, Outcome.REJECTED, "too_old")
    link.server.acknowledge(session_id, EPOCH, 6, 6, Outcome.LOGGED)
    link.server.acknowledge(session_id, EPOCH, 5, 5, Outcome.LOGGED)
    link.server.acknowledge(session_id, EPOCH, 7, 9, Outcome.LATER, later_ms=3_000)
    link.run(lambda: link.of("Acknowledged"))
    assert link.of("Acknowledged") == [Acknowledged(EPOCH, [(1, 3), (5, 6)], [(4, 4, "too_old")], [(7, 9)], 3_000)]
    assert link.client.window() == 0
    asked_us = link.now_us
    link.run(lambda: link.client.window() > 0)
    assert link.now_us - asked_us == 3_000_000


def test_one_ack_for_all_that_was_logged_since():
    link = attached_link()
    link.run(for_us=S_US)
    for first in range(1, 400, 4):
        link.server.acknowledge(link.client.session_id, EPOCH, first, first + 3, Outcome.LOGGED)
    ((ack, address),) = link.server.take_output(link.now_us)
    assert address == CLIENT_ADDRESS
    (event,) = link.client.receive(ack, link.now_us)
    assert event.logged == [(1, 400)]


def test_what_is_settled_goes_with_the_ranges():
    link = attached_link()
    link.run(for_us=S_US)
    for number in range(30):
        link.client.send_closed(number.to_bytes(16, "big"), "closed", link.now_us)
        link.flush()
    link.run(lambda: len(link.of("CommandProgress")) == 30)
    session_id = link.client.session_id
    link.server.acknowledge(session_id, EPOCH, 1, 9, Outcome.LOGGED)
    for number in range(10):
        link.server.settle(session_id, number.to_bytes(16, "big"), "closed")
    ((ack, _),) = link.server.take_output(link.now_us)
    events = link.client.receive(ack, link.now_us)
    assert [type(event).__name__ for event in events] == ["Acknowledged"] + ["Settled"] * 10
    link.server.acknowledge(session_id, EPOCH, 11, 11, Outcome.LOGGED)
    for number in range(10, 30):
        link.server.settle(session_id, number.to_bytes(16, "big"), "closed")
    events = [event for ack, _ in link.server.take_output(link.now_us) for event in link.client.receive(ack, link.now_us)]
    assert [type(event).__name__ for event in events] == ["Acknowledged"] + ["Settled"] * 20


def test_many_ranges_take_several_acks():
    link = attached_link()
    link.run(for_us=S_US)
    for first in range(1, 400, 4):
        link.server.acknowledge(link.client.session_id, EPOCH, first, first, Outcome.LOGGED)
        link.server.acknowledge(link.client.session_id, EPOCH, first + 2, first + 2, Outcome.REJECTED, "x" * 100)
        link.server.acknowledge(link.client.session_id, "ffffffffffffffff", first, first, Outcome.LOGGED)
    events = [event for ack, _ in link.server.take_output(link.now_us) for event in link.client.receive(ack, link.now_us)]
    assert [range_ for event in events for range_ in event.logged] == [(first, first) for first in range(1, 400, 4)]
    assert [rejected[0] for event in events for rejected in event.rejected] == [first + 2 for first in range(1, 400, 4)]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda pair: [pair[0], pair[0] + pair[1]])))
def test_merged_ranges_cover_the_same(ranges):
    out = merged([list(pair) for pair in ranges])
    cover = [seq for first, last in out for seq in range(first, last + 1)]
    assert cover == sorted({seq for first, last in ranges for seq in range(first, last + 1)})
    assert all(left[1] + 1 < right[0] for left, right in pairwise(out))


def test_a_reading_that_fits_no_frame_is_refused_at_the_outbox():
    link = attached_link()
    small, large = Reading("a", T0_US, "x" * 1_000), Reading("a" * 128, T0_US, "x" * 1_060)
    assert reading_fits(small)
    assert not reading_fits(large)
    assert link.client.send_data(1, [small], [], link.now_us) == 1
    with pytest.raises(LocalError):
        link.client.send_data(2, [large], [], link.now_us)
    with pytest.raises(LocalError):
        link.client.send_data(2, [], [(1, 1)] * 33, link.now_us)


def test_nothing_is_sent_without_a_session_or_a_window():
    client = make_client()
    assert client.window() == 0
    assert client.send_data(1, [Reading("a", T0_US, 1)], [], T0_US) == 0
    link = attached_link()
    link.acknowledging = False
    sent = 0
    while link.client.window():
        sent += link.client.send_data(1 + sent, [Reading("a", T0_US, 1)], [], link.now_us)
    assert 0 < sent <= 64
    assert link.client.send_data(1 + sent, [Reading("a", T0_US, 1)], [], link.now_us) == 0


# --- replays, forgeries, ends --------------------------------------------------------------------------------------------------


def test_a_replayed_datagram_is_not_taken_twice():
    link = attached_link()
    link.fill(10)
    link.run(lambda: not link.outbox)
    data = last_of(link, Type.DATA)
    assert link.server.receive(data, CLIENT_ADDRESS, link.now_us) == [Refused("replayed", "meter-1")]
    assert link.client.receive(link.to_client[-1], link.now_us) == [Refused("replayed")]
    link.fill(200)
    for _ in range(70):
        link.client.send_receipt(bytes(16), 1, link.now_us)
    link.run(lambda: not link.outbox)
    assert link.server.receive(data, CLIENT_ADDRESS, link.now_us) == [Refused("stale", "meter-1")]


def test_a_frame_of_the_other_direction_does_not_open():
    link = attached_link()
    link.fill(1)
    link.run(lambda: not link.outbox)
    ack = next(datagram for datagram in link.to_client if parse_header(datagram).type is Type.ACK)
    as_pong = bytes([ack[0] & 0xE0 | Type.PONG]) + ack[1:9] + (10**6).to_bytes(8, "big") + ack[17:]
    assert link.server.receive(as_pong, CLIENT_ADDRESS, link.now_us) == [Refused("bad_tag", "meter-1")]


def test_an_unknown_session_gets_a_hint_and_the_client_attaches_anew():
    link = attached_link()
    outbox = link.fill(20)
    link.server = make_server(seed=20)
    link.run(lambda: not link.outbox)
    assert link.stored == outbox
    assert [event.reason for event in link.of("SessionLost")] == ["reset"]
    assert link.now_us - T0_US < 8 * S_US


def test_hints_are_rationed_and_never_answer_hints():
    server = make_server()
    frame = bytes([1 << 5 | Type.DATA]) + b"nobodys!" + bytes(8) + bytes(40)
    for _ in range(3_000):
        assert server.receive(frame, ELSEWHERE, T0_US) == [Refused("unknown_session")]
    resets = server.take_output(T0_US)
    assert len(resets) == 1_000
    assert all(len(reset) <= 33 and reset[1:17] == frame[1:17] for reset, _ in resets)
    assert server.receive(resets[0][0], ELSEWHERE, T0_US) == [Refused("type")]
    assert server.receive(frame[:32], ELSEWHERE, T0_US) == [Refused("too_short")]
    server.receive(frame, ELSEWHERE, T0_US + 10_000)
    assert len(server.take_output(T0_US + 10_000)) == 1


def test_a_forged_reset_does_not_kill_the_session():
    link = attached_link()
    link.run(for_us=S_US)
    for counter in (1, 10**6):
        reset = encode_clear(Type.RESET, {1: 1}, link.client.session_id, counter)
        link.deliver("down", reset, CLIENT_ADDRESS)
    outbox = link.fill(100)
    link.run(lambda: not link.outbox)
    link.run(for_us=10 * S_US)
    assert link.stored == outbox
    assert link.of("SessionLost") == []
    assert [event.reason for event in link.of("Refused")] == ["bad_echo"]


def test_silence_ends_the_session():
    link = attached_link()
    link.reattaching = False
    link.weather = Weather(loss=1.0)
    link.fill(1)
    link.run(lambda: link.of("SessionLost"), for_us=40 * S_US)
    assert link.of("SessionLost") == [SessionLost("silence")]
    assert not link.client.attached
    assert link.client.window() == 0


def test_an_idle_client_keeps_the_session_and_the_way_open():
    link = attached_link()
    link.run(for_us=600 * S_US)
    pings = types_of(link.to_server).count(Type.PING)
    assert 20 <= pings <= 30
    assert link.server.sessions == 1
    assert link.of("SessionLost") == []


def test_an_idle_session_ends_at_the_server():
    link = attached_link()
    link.reattaching = False
    link.weather = Weather(loss=1.0)
    link.run(lambda: link.of("SessionEnded"), for_us=200 * S_US)
    (ended,) = link.of("SessionEnded")
    assert ended.reason == "idle"
    assert link.server.sessions == 0
    assert link.server.next_deadline_us() is None


def test_a_revoked_device_is_out_at_once():
    link = attached_link()
    (ended,) = link.server.refuse("meter-1", "revoked")
    assert (ended.reason, link.server.sessions) == ("revoked", 0)
    assert link.server.refuse("meter-1", "revoked") == []


def test_shutdown_ends_every_session():
    link = attached_link()
    assert [event.reason for event in link.server.shutdown()] == ["shutdown"]


def test_only_older_sessions_are_superseded():
    link = attached_link()
    assert link.server.supersede("meter-1", link.client.generation) == []
    (ended,) = link.server.supersede("meter-1", link.client.generation + 1)
    assert ended.reason == "superseded"


# --- addresses -----------------------------------------------------------------------------------------------------------------


def test_the_session_moves_when_the_new_address_answers():
    link = attached_link()
    link.fill(5)
    link.run(lambda: not link.outbox)
    link.address = ELSEWHERE
    outbox = link.fill(5)
    link.run(lambda: not link.outbox)
    link.run(for_us=S_US)
    assert outbox.keys() <= link.stored.keys()
    link.server.submit("meter-1", bytes(16), "command", b"body", bytes(32), T0_US + 600 * S_US)
    link.server.tick(link.now_us)
    assert [address for _, address in link.server.take_output(link.now_us)] == [ELSEWHERE]
    assert len(link.of("SessionAttached")) == 1


def test_a_new_address_gets_three_times_its_bytes_and_no_command():
    link = attached_link()
    link.run(for_us=S_US)
    link.server.submit("meter-1", bytes(16), "command", b"body", bytes(32), T0_US + 600 * S_US)
    received = sent = 0
    for step in range(12):
        link.client.send_receipt(bytes(16), step, link.now_us)
        for datagram in link.client.take_output(link.now_us):
            received += len(datagram)
            link.server.receive(datagram, ELSEWHERE, link.now_us)
        for first in range(1, 4_000, 2):
            link.server.acknowledge(link.client.session_id, EPOCH, first, first, Outcome.LOGGED)
        for datagram, address in link.server.take_output(link.now_us):
            assert parse_header(datagram).type not in (Type.COMMAND,) or address == CLIENT_ADDRESS
            sent += len(datagram) * (address == ELSEWHERE)
        assert sent <= 3 * received
        link.now_us += S_US
    assert sent > 0


def test_a_copied_frame_from_elsewhere_moves_nothing():
    link = attached_link()
    link.run(for_us=S_US)
    link.client.send_receipt(bytes(16), 1, link.now_us)
    (first,) = link.client.take_output(link.now_us)
    link.server.receive(first, ELSEWHERE, link.now_us)
    assert {address for _, address in link.server.take_output(link.now_us)} == {ELSEWHERE}
    link.client.send_receipt(bytes(16), 2, link.now_us)
    (second,) = link.client.take_output(link.now_us)
    link.server.receive(second, CLIENT_ADDRESS, link.now_us)
    link.server.acknowledge(link.client.session_id, EPOCH, 1, 1, Outcome.LOGGED)
    assert {address for _, address in link.server.take_output(link.now_us)} == {CLIENT_ADDRESS}
    link.run(for_us=60 * S_US)
    assert link.of("SessionLost") == []


# --- whatever arrives ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_neither_end_ever_raises(data):
    link = attached_link()
    link.fill(3)
    link.run(lambda: not link.outbox)
    good = [*link.to_server, *link.to_client]
    for _ in range(20):
        base = data.draw(st.sampled_from(good) | st.binary(max_size=1_300))
        at = data.draw(st.integers(0, max(0, len(base) - 1)))
        change = data.draw(st.binary(max_size=4))
        datagram = data.draw(st.sampled_from([base, base[:at], base + change, base[:at] + change + base[at + len(change) :]]))
        address = data.draw(st.sampled_from([CLIENT_ADDRESS, ELSEWHERE]))
        for events in (link.server.receive(datagram, address, link.now_us), link.client.receive(datagram, link.now_us)):
            assert all(type(event).__name__ in {"Refused", "DataReceived"} for event in events)
        link.server.take_output(link.now_us)
    link.outbox.clear()
    outbox = link.fill(4)
    link.run(lambda: not link.outbox)
    assert outbox.keys() <= link.stored.keys()


@settings(deadline=None, max_examples=60)
@given(
    type_=st.sampled_from(list(Type)),
    body=st.dictionaries(
        st.integers(0, 8), st.none() | st.integers() | st.binary(max_size=40) | st.lists(st.integers(), max_size=3)
    ),
)
def test_a_device_that_speaks_nonsense_is_refused_and_lives(type_, body):
    link = attached_link()
    link.client._emit(link.client._session, type_, body, link.now_us)
    for datagram in link.client.take_output(link.now_us):
        for event in link.server.receive(datagram, CLIENT_ADDRESS, link.now_us):
            assert isinstance(event, Refused | DataReceived) or type(event).__name__ == "CommandProgress"
    link.fill(1)
    link.run(lambda: not link.outbox)
