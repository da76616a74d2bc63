"""Attaching: two round trips, nothing kept before the second, and whatever an attacker or the network does to them."""

from enum import StrEnum

import pytest
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.cookie import Cookie, CookieJar
from simway_protocol.udp.events import AttachedTo, AttachRefused, BusyUntil, Challenged, Refused, SessionAttached
from simway_protocol.udp.frames import HELLO_MIN_BYTES, ResetCode, Type, encode_clear, parse_header
from simway_protocol.udp.keys import card_response
from simway_testing.udp_link import (
    CLIENT_ADDRESS,
    DEVICE,
    EPOCH,
    S_US,
    T0_US,
    Weather,
    attach,
    device_key,
    make_client,
    make_link,
    make_server,
    periods,
)

ELSEWHERE = ("198.51.100.9", 5)


def exchange(client, server, now_us=T0_US, address=CLIENT_ADDRESS):
    """One turn: the client's datagrams to the server, the answers back. Events of both."""
    up = [event for datagram in client.take_output(now_us) for event in server.receive(datagram, address, now_us)]
    down = [event for datagram, to in server.take_output(now_us) if to == address for event in client.receive(datagram, now_us)]
    return up, down


def to_attach(client, server, key=None):
    """Up to the ATTACH that is about to go out."""
    attach(client)
    _, (challenged,) = exchange(client, server)
    assert isinstance(challenged, Challenged)
    client.answer(*card_response(key or device_key(DEVICE, 1), challenged.challenge), T0_US)
    (frame,) = client.take_output(T0_US)
    return frame


def reasons(events):
    return [event.reason for event in events if isinstance(event, Refused)]


def test_two_round_trips():
    client, server = make_client(), make_server()
    attach(client, last_counter=7)
    up, down = exchange(client, server)
    assert (up, [type(event) for event in down]) == ([], [Challenged])
    assert server.sessions == 0
    client.answer(*card_response(device_key(DEVICE, 1), down[0].challenge), T0_US)
    up, down = exchange(client, server)
    assert up == []
    (attached,) = down
    assert attached == AttachedTo(client.session_id, T0_US * 64, T0_US)
    assert (client.attached, server.sessions) == (True, 1)
    (told,), _ = exchange(client, server)
    assert told == SessionAttached(
        DEVICE, client.session_id, T0_US * 64, CLIENT_ADDRESS, "8949000000000000001", 1, EPOCH, 7, 1
    )  # fmt: skip
    assert client.rtt_us is not None


@pytest.mark.parametrize("address", [CLIENT_ADDRESS, ("fe80::1234:5678:9abc:def0:1234:5678%enp0s31f6", 65_535)])
def test_no_answer_is_larger_than_the_question(address):
    client = ClientEndpoint(device="d" * 64, key_version=2**32 - 1, random=bytes)
    for server in (make_server(), make_server(), make_server()):
        attach(client)
        (hello,) = client.take_output(T0_US)
        assert len(hello) == HELLO_MIN_BYTES
        server.receive(hello, address, T0_US)
        ((challenge, _),) = server.take_output(T0_US)
        assert len(challenge) <= len(hello)
    server.busy(10_000)
    server.receive(hello, address, T0_US)
    ((busy, _),) = server.take_output(T0_US)
    assert len(busy) <= len(hello)


def test_a_short_hello_gets_nothing():
    server = make_server()
    frame = encode_clear(Type.HELLO, {1: DEVICE, 2: 1, 3: bytes(16), 4: bytes(range(32)), 5: bytes(100)})
    assert reasons(server.receive(frame, CLIENT_ADDRESS, T0_US)) == ["hello_too_short"]
    assert server.take_output(T0_US) == []


def test_before_the_first_cookie_period_hello_waits():
    client, server = make_client(), make_server()
    server.set_cookie_periods([])
    attach(client)
    up, _ = exchange(client, server)
    assert reasons(up) == ["not_ready"]


def test_the_iccid_is_not_in_the_clear():
    frame = to_attach(make_client(), make_server())
    assert b"8949000000000000001" not in frame


@pytest.mark.parametrize(
    ("address", "later_us", "fresh_periods", "reason"),
    [
        (ELSEWHERE, 0, False, "cookie_address"),
        (CLIENT_ADDRESS, 61 * S_US, False, "cookie_expired"),
        (CLIENT_ADDRESS, 0, True, "bad_cookie"),
    ],
)
def test_a_cookie_serves_its_address_and_time(address, later_us, fresh_periods, reason):
    client, server = make_client(), make_server()
    frame = to_attach(client, server)
    if fresh_periods:
        server.set_cookie_periods(periods(seed=99))
    assert reasons(server.receive(frame, address, T0_US + later_us)) == [reason]
    ((reset, to),) = server.take_output(T0_US + later_us)
    assert to == address
    assert parse_header(reset).type is Type.RESET
    assert len(reset) <= len(frame)
    assert client.receive(reset, T0_US + later_us) == []
    (hello,) = client.take_output(T0_US + later_us)
    assert parse_header(hello).type is Type.HELLO


def test_another_worker_with_the_same_periods_takes_the_attach():
    client, server, other = make_client(), make_server(), make_server(seed=77, worker_index=3)
    frame = to_attach(client, server)
    assert reasons(other.receive(frame, CLIENT_ADDRESS, T0_US)) == []
    ((attached, _),) = other.take_output(T0_US)
    (event,) = client.receive(attached, T0_US)
    assert event.generation == T0_US * 64 + 3


def test_without_the_key_there_is_a_reset():
    client, server = make_client(), make_server()
    frame = to_attach(client, server, key=bytes(32))
    assert reasons(server.receive(frame, CLIENT_ADDRESS, T0_US)) == ["bad_tag"]
    ((reset, _),) = server.take_output(T0_US)
    assert client.receive(reset, T0_US) == [AttachRefused("bad_proof", False, 5_000)]
    assert server.sessions == 0
    assert client.next_deadline_us() is None


def test_a_key_that_the_server_lacks():
    def no_key(device, version):
        raise KeyError(version)

    client, server = make_client(), make_server(device_key=no_key)
    assert reasons(server.receive(to_attach(client, server), CLIENT_ADDRESS, T0_US)) == ["no_key"]


def test_a_revoked_device_hears_it_under_the_handshake_key():
    client, server = make_client(), make_server(check_device=lambda device, version: "revoked")
    up = server.receive(to_attach(client, server), CLIENT_ADDRESS, T0_US)
    assert up == [Refused("revoked", DEVICE)]
    ((answer, _),) = server.take_output(T0_US)
    assert b"revoked" not in answer
    assert client.receive(answer, T0_US) == [AttachRefused("revoked", True, 60_000)]
    assert (client.attached, server.sessions) == (False, 0)


class Why(StrEnum):
    NOT_READY = "not_ready"


def test_a_reason_may_be_an_enumeration_and_has_its_own_wait():
    client, server = make_client(), make_server(check_device=lambda device, version: Why.NOT_READY)
    server.receive(to_attach(client, server), CLIENT_ADDRESS, T0_US)
    ((answer, _),) = server.take_output(T0_US)
    assert client.receive(answer, T0_US) == [AttachRefused("not_ready", True, 1_000)]


def test_a_full_server_says_when_to_try_again():
    server = make_server(sessions_max=1)
    first = make_client()
    server.receive(to_attach(first, server), CLIENT_ADDRESS, T0_US)
    server.take_output(T0_US)
    second = make_client(seed=8, device="meter-2")
    up = server.receive(to_attach(second, server, device_key("meter-2", 1)), CLIENT_ADDRESS, T0_US)
    assert up == [Refused("full", "meter-2")]
    ((answer, _),) = server.take_output(T0_US)
    assert second.receive(answer, T0_US) == [AttachRefused("full", True, 5_000)]
    assert server.sessions == 1
    server.receive(to_attach(first, server), CLIENT_ADDRESS, T0_US)
    assert len(server.take_output(T0_US)) == 1
    assert server.sessions == 1


def test_busy_waits_and_begins_anew():
    link = make_link()
    link.server.busy(30_000)
    attach(link.client)
    link.run(lambda: link.of("BusyUntil"))
    assert link.of("BusyUntil") == [BusyUntil(5_000)]
    assert not link.client.attached
    link.server.busy(0)
    link.run(lambda: link.client.attached)
    assert 5 * S_US <= link.now_us - T0_US <= 6 * S_US


def test_hello_is_repeated_with_growing_waits():
    client = make_client()
    attach(client)
    times = []
    while len(times) < 7:
        now_us = client.next_deadline_us()
        times += [(now_us - T0_US) // S_US for _ in client.take_output(now_us)]
    assert times == [0, 1, 3, 7, 15, 30, 45]


@pytest.mark.parametrize(("resets", "most_s"), [(True, 1), (False, 6)])
def test_a_forged_challenge_costs_five_seconds_at_most(resets, most_s):
    link = make_link()
    attach(link.client)
    (hello,) = link.client.take_output(T0_US)
    nonce = hello[17:].split(b"\x03\x50")[1][:16]
    forged = encode_clear(Type.CHALLENGE, {1: nonce, 2: bytes(16), 3: bytes([9]) + bytes(31), 4: b"not a cookie"})
    link.deliver("down", forged, CLIENT_ADDRESS)
    if not resets:
        link.weather = Weather(loss=1.0)
        link.run(for_us=4 * S_US)
        link.weather = Weather()
    link.run(lambda: link.client.attached)
    assert link.now_us - T0_US <= most_s * S_US


@pytest.mark.parametrize("code", [*ResetCode, 99])
def test_a_reset_with_another_echo_is_nothing(code):
    client, server = make_client(), make_server()
    to_attach(client, server)
    assert client.receive(encode_clear(Type.RESET, {1: int(code), 2: bytes(16)}), T0_US) == [Refused("bad_echo")]


def test_a_server_of_another_version_says_so():
    client, server = make_client(), make_server()
    attach(client)
    (hello,) = client.take_output(T0_US)
    newer = bytes([2 << 5 | Type.HELLO]) + hello[1:]
    assert reasons(server.receive(newer, CLIENT_ADDRESS, T0_US)) == ["version"]
    ((reset, _),) = server.take_output(T0_US)
    assert parse_header(reset).type is Type.RESET
    assert len(reset) <= len(newer)
    assert reasons(server.receive(newer[:17], CLIENT_ADDRESS, T0_US)) == ["version"]
    assert server.take_output(T0_US) == []


# --- doubled and replayed attaches ---------------------------------------------------------------------------------------------


def test_an_attach_answered_twice_moves_the_client_to_the_newer_session():
    client, server = make_client(), make_server()
    first = to_attach(client, server)
    (second,) = client.take_output(T0_US + S_US)
    answers = []
    for frame in (first, second):
        assert server.receive(frame, CLIENT_ADDRESS, T0_US) == []
        answers += [datagram for datagram, _ in server.take_output(T0_US)]
    assert server.sessions == 1
    events = [event for answer in [*answers, *answers] for event in client.receive(answer, T0_US)]
    assert [type(event).__name__ for event in events] == ["AttachedTo", "AttachedTo", "Refused", "Refused"]
    up, _ = exchange(client, server)
    assert [type(event) for event in up] == [SessionAttached]


def test_a_replayed_attach_kills_nothing():
    link = make_link()
    link.attached()
    frame = next(datagram for datagram in link.to_server if parse_header(datagram).type is Type.ATTACH)
    assert reasons(link.server.receive(frame, CLIENT_ADDRESS, link.now_us)) == ["replayed"]
    other = make_server(seed=50, worker_index=1)
    for _ in range(3):
        assert other.receive(frame, CLIENT_ADDRESS, link.now_us) == []
    assert (link.server.sessions, other.sessions) == (1, 1)
    outbox = link.fill(50)
    link.run(lambda: not link.outbox)
    assert link.stored == outbox
    assert len(link.of("SessionAttached")) == 1
    assert link.of("SessionEnded") == []
    assert other.tick(link.now_us + 40 * S_US) == []
    assert other.sessions == 0


def test_the_same_attach_gets_the_same_answer_and_any_other_keys_of_its_own():
    client, server = make_client(), make_server()
    first = to_attach(client, server)
    (second,) = client.take_output(T0_US + S_US)
    answers = []
    for frame in (first, first, second, first):
        assert server.receive(frame, CLIENT_ADDRESS, T0_US) == []
        answers += [answer for answer, _ in server.take_output(T0_US)]
    assert answers[0] == answers[1]
    assert len({answer[1:9] for answer in answers}) == 3
    assert server.sessions == 1


def test_generations_only_grow():
    link = make_link()
    link.attached()
    first = link.client.generation
    link.server.supersede(DEVICE, first + 10**12)
    link.run(lambda: len(link.of("SessionAttached")) == 2, for_us=90 * S_US)
    assert link.client.generation > first + 10**12


def test_the_newer_session_supersedes_the_older():
    link = make_link()
    link.attached()
    old = link.client.session_id
    attach(link.client, link.now_us)
    assert link.client.attached
    link.run(lambda: len(link.of("SessionAttached")) == 2)
    (ended,) = link.of("SessionEnded")
    assert (ended.session_id, ended.reason) == (old, "superseded")
    assert link.server.sessions == 1


def test_both_sessions_live_until_the_newer_shows_a_frame():
    link = make_link()
    link.attached()
    attach(link.client, link.now_us)
    link.run(lambda: link.server.sessions == 2)
    assert link.of("SessionEnded") == []


def test_a_cookie_is_sealed():
    server = make_server()
    client = make_client()
    attach(client)
    exchange(client, server)
    jar = CookieJar(bytes)
    jar.set_periods(periods())
    cookie = Cookie("192.0.2.7", 6002, T0_US, DEVICE, 1, bytes(16), bytes(32), bytes(16), bytes(32))
    sealed = jar.seal(cookie)
    assert DEVICE.encode() not in sealed
    assert jar.open(sealed, CLIENT_ADDRESS, T0_US).cookie == cookie
    for wrong in [sealed[:end] for end in range(len(sealed))] + [sealed + b"\x00"]:
        with pytest.raises(Exception, match="bad_cookie"):
            jar.open(wrong, CLIENT_ADDRESS, T0_US)
