"""Commands down, receipts, results and closings up: each told once, repeated until it is answered, over any weather."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_protocol.errors import LocalError
from simway_protocol.udp.bodies import Result, ResultPart, encode_result_part, result_digest, split_result
from simway_protocol.udp.events import CommandArrived, Refused, Settled
from simway_protocol.udp.frames import Type, encode_body, parse_header
from simway_protocol.udp.reports import Report
from simway_testing.udp_link import (
    CLIENT_ADDRESS,
    DEVICE,
    S_US,
    T0_US,
    Link,
    Weather,
    attach,
    make_client,
    make_link,
    make_server,
)

ID, OTHER = bytes(range(16)), bytes(16)
BODY, MAC = b"a canonical body", bytes(range(32))
FAR_US = T0_US + 3_600 * S_US


class Shells(Link):
    """A link whose device executes what arrives, and whose server settles what it was told."""

    def __post_init__(self):
        super().__post_init__()
        self.evidence = {"iccid_after": "8949", "apdus": [{"name": "EnableProfile", "sw": 0x9000, "ms": 12}]}
        self.settling = True

    def on_client(self, events):
        super().on_client(events)
        for event in events:
            if isinstance(event, CommandArrived) and event.body == BODY:
                self.client.send_receipt(ID, 5, self.now_us)
                self.client.send_result(ID, "executed", "", self.evidence, self.now_us)
            elif isinstance(event, CommandArrived) and event.body == b"confirm":
                self.client.send_closed(ID, "closed", self.now_us)

    def on_server(self, events):
        super().on_server(events)
        for event in events:
            if type(event).__name__ == "CommandProgress" and event.event in ("result", "closed") and self.settling:
                self.server.settle(event.session_id, event.command_id, event.event)

    def heard(self):
        return [(event.event, event.outcome) for event in self.of("CommandProgress")]


def shells(**more):
    link = Shells(make_client(), make_server(), **more)
    link.attached()
    return link


def submit(link, type_="command", body=BODY, expires_us=FAR_US, command_id=ID):
    link.server.submit(DEVICE, command_id, type_, body, MAC, expires_us)


def sent(link, type_):
    return sum(parse_header(datagram).type is type_ for datagram in [*link.to_client, *link.to_server])


def test_the_whole_way():
    link = shells()
    submit(link)
    link.run(lambda: link.of("Settled"))
    submit(link, "confirm", b"confirm")
    link.run(lambda: len(link.of("Settled")) == 2)
    assert link.heard() == [("sent", ""), ("received", ""), ("result", "executed"), ("closed", "closed")]
    result = link.of("CommandProgress")[2]
    assert (result.evidence, result.iccid, result.generation) == (link.evidence, "8949000000000000001", link.client.generation)
    assert link.of("CommandProgress")[1].counter == 5
    assert link.of("Settled") == [Settled(ID, "result"), Settled(ID, "closed")]
    link.run(for_us=60 * S_US)
    assert [sent(link, type_) for type_ in (Type.COMMAND, Type.RECEIPT, Type.RESULT, Type.CONFIRM, Type.CLOSED)] == [1] * 5


@settings(max_examples=30, deadline=None)
@given(loss=st.floats(0, 0.5), doubling=st.floats(0, 0.5), spread=st.integers(0, 1_500_000), seed=st.integers(0, 2**32))
def test_the_whole_way_in_any_weather(loss, doubling, spread, seed):
    link = Shells(make_client(seed), make_server(seed + 1), Weather(loss, doubling, (1_000, 1_000 + spread)), seed)
    link.evidence = {"noise": random.Random(seed).randbytes(5_000)}
    attach(link.client)
    submit(link)
    link.run(lambda: Settled(ID, "result") in link.client_events, for_us=3_600 * S_US)
    submit(link, "confirm", b"confirm", expires_us=link.now_us + 3_600 * S_US)
    link.run(lambda: Settled(ID, "closed") in link.client_events, for_us=3_600 * S_US)
    assert {("sent", ""), ("result", "executed"), ("closed", "closed")} <= set(link.heard())
    results = [event for event in link.of("CommandProgress") if event.event == "result"]
    assert all(event.evidence == link.evidence for event in results)
    assert len({event.session_id for event in results}) == len(results)


def test_a_command_waits_for_the_device():
    link = Shells(make_client(), make_server())
    submit(link)
    submit(link)
    link.run(for_us=5 * S_US)
    assert link.heard() == []
    attach(link.client, link.now_us)
    link.run(lambda: link.of("Settled"))
    assert sent(link, Type.COMMAND) == 1


def test_an_unanswered_command_is_repeated_with_growing_waits_and_new_counters():
    link = make_link()
    link.attached()
    link.run(for_us=S_US)
    submit(link)
    link.run(for_us=59 * S_US)
    commands = [datagram for datagram in link.to_client if parse_header(datagram).type is Type.COMMAND]
    assert len(commands) == len({datagram[:17] for datagram in commands}) == 7
    assert link.of("CommandProgress")[0].event == "sent"
    assert len(link.of("CommandProgress")) == 1
    link.server.forget(DEVICE, ID)
    link.run(for_us=60 * S_US)
    assert sent(link, Type.COMMAND) == 7


def test_a_servers_clock_that_is_set_back_holds_up_no_repetition():
    link = make_link()
    link.attached()
    submit(link)
    link.server.take_output(link.now_us)
    earlier_us = link.now_us - 3_600 * S_US
    link.server.tick(earlier_us)
    again = [parse_header(frame).type for frame, _ in link.server.take_output(earlier_us)]
    assert (again, link.server.sessions) == ([Type.COMMAND], 1)
    ended = [event.reason for second in range(200) for event in link.server.tick(earlier_us + second * S_US) if second > 110]
    assert ended == ["idle"]


def test_a_repeated_command_is_receipted_again_without_the_shell():
    link = make_link()
    link.attached()
    submit(link)
    link.run(lambda: link.of("CommandArrived"))
    link.weather = Weather(loss=1.0)
    link.client.send_receipt(ID, 9, link.now_us)
    link.flush()
    link.weather = Weather()
    link.run(lambda: link.of("CommandProgress")[-1].event == "received")
    assert len(link.of("CommandArrived")) == 1
    assert link.of("CommandProgress")[-1].counter == 9


def test_a_command_sealed_anew_under_its_id_arrives_again():
    link = make_link()
    link.attached()
    submit(link)
    link.run(lambda: link.of("CommandArrived"))
    link.client.send_receipt(ID, 9, link.now_us)
    link.run(for_us=S_US)
    link.server.submit(DEVICE, ID, "command", b"with a higher counter", bytes(32), FAR_US)
    link.run(lambda: len(link.of("CommandArrived")) == 2)
    assert link.of("CommandArrived")[-1].body == b"with a higher counter"


def test_what_expired_unsent_is_not_sent():
    link = Shells(make_client(), make_server())
    submit(link, expires_us=T0_US + S_US)
    link.run(for_us=2 * S_US)
    attach(link.client, link.now_us)
    link.run(for_us=5 * S_US)
    assert link.heard() == []


def test_what_another_worker_sent_is_sent_beyond_its_expiry():
    """The device may have it from there: whichever worker it attaches to now hears its refusal."""
    link = Shells(make_client(), make_server())
    submit(link, expires_us=T0_US + S_US)
    link.server.note_sent(DEVICE, ID)
    link.run(for_us=2 * S_US)
    attach(link.client, link.now_us)
    link.run(lambda: link.of("CommandArrived"))


def test_a_cancel_is_answered_by_a_result():
    link = make_link()
    link.attached()
    submit(link, "cancel", b"cancel")
    link.run(lambda: link.of("CommandArrived"))
    link.client.send_result(ID, "cancelled", "", {}, link.now_us)
    link.run(lambda: any(event.event == "result" for event in link.of("CommandProgress")))
    count = sent(link, Type.CANCEL)
    link.run(for_us=30 * S_US)
    assert sent(link, Type.CANCEL) == count


def test_a_command_that_was_cancelled_before_it_was_sent_is_never_sent():
    """The device was away: it hears of the CANCEL alone, also when the command is submitted after it."""
    link = Shells(make_client(), make_server())
    submit(link)
    submit(link, "cancel", b"cancel")
    submit(link)
    attach(link.client, link.now_us)
    link.run(lambda: link.of("CommandArrived"))
    link.run(for_us=5 * S_US)
    assert sent(link, Type.COMMAND) == 0
    assert {event.body for event in link.of("CommandArrived")} == {b"cancel"}
    assert link.heard() == []


@pytest.mark.parametrize("outcome", ["rolled_back", "failed"])
def test_a_device_that_went_back_ends_the_confirm(outcome):
    link = shells()
    submit(link, "confirm", b"another confirm")
    link.run(lambda: link.of("CommandArrived"))
    link.client.send_result(ID, outcome, "deadline", {}, link.now_us)
    link.run(lambda: link.of("Settled"))
    count = sent(link, Type.CONFIRM)
    link.run(for_us=30 * S_US)
    assert sent(link, Type.CONFIRM) == count
    assert link.heard() == [("result", outcome)]


def test_a_result_is_repeated_until_settled_and_told_once():
    link = shells()
    link.settling = False
    link.client.send_result(OTHER, "executed", "", {"inventory": {"eid": ""}}, link.now_us)
    link.run(for_us=20 * S_US)
    assert link.heard() == [("result", "executed")]
    assert sent(link, Type.RESULT) > 3
    link.server.settle(link.client.session_id, OTHER, "result")
    link.run(lambda: link.of("Settled") == [Settled(OTHER, "result")])


@pytest.mark.parametrize("whole", [{1: "executed", 2: "", 3: {"a": float("inf")}}, {1: "closed by hand", 2: "", 3: {}}])
def test_a_result_that_breaks_a_rule_is_counted_and_settled_so_that_its_repeating_ends(whole):
    link = shells()
    data = encode_body(whole)
    part = ResultPart(ID, result_digest(data), 0, 1, data)
    for _ in range(2):
        plain = encode_body(encode_result_part(part))
        link.client._reports._add(Report(Type.RESULT, ID, part.digest, [plain], link.now_us))
        link.run(lambda: link.client._reports.next_us is None)
        assert link.client._reports.next_us is None
    assert [event.reason for event in link.of("Refused")] == ["bad_result"]
    assert link.heard() == []


def test_an_older_result_settled_does_not_settle_the_newer():
    link = shells()
    link.settling = False
    for outcome in ("executed", "rolled_back"):
        link.client.send_result(ID, outcome, "", {}, link.now_us)
        link.run(lambda outcome=outcome: ("result", outcome) in link.heard())
    link.server.settle(link.client.session_id, ID, "result")
    link.run(for_us=5 * S_US)
    assert link.of("Settled") == []
    link.server.settle(link.client.session_id, ID, "result")
    link.run(lambda: link.of("Settled") == [Settled(ID, "result")])


def test_results_outlive_sessions():
    link = shells()
    link.weather = Weather(loss=1.0)
    link.client.send_result(ID, "executed", "", {}, link.now_us)
    link.client.send_closed(ID, "closed", link.now_us)
    link.run(lambda: link.of("SessionLost"))
    link.weather = Weather()
    link.run(lambda: len(link.of("Settled")) == 2, for_us=120 * S_US)
    assert not link.client.send_receipt(ID, 1, link.now_us)


def test_results_before_any_session_wait_for_one():
    link = Shells(make_client(), make_server())
    link.client.send_receipt(ID, 1, link.now_us)
    link.client.send_result(ID, "executed", "", {}, link.now_us)
    assert link.client.take_output(link.now_us) == []
    attach(link.client)
    link.run(lambda: link.of("Settled"))


def test_what_cannot_be_sent_down_is_counted():
    server = make_server()
    server.submit(DEVICE, ID, "command", bytes(1_150), MAC, FAR_US)
    server.submit(DEVICE, ID, "nonsense", BODY, MAC, FAR_US)
    assert server.next_deadline_us() == 0
    assert server.tick(T0_US) == [Refused("command_too_long", DEVICE), Refused("command_type", DEVICE)]


def test_the_largest_body_goes_down():
    link = make_link()
    link.attached()
    link.server.submit(DEVICE, ID, "command", bytes(1_103), MAC, FAR_US)
    link.run(lambda: link.of("CommandArrived"))
    assert link.of("CommandArrived")[0].body == bytes(1_103)
    assert max(map(len, link.to_client)) <= 1_200


def test_evidence_over_the_limit_is_the_shells_fault():
    with pytest.raises(LocalError):
        make_client().send_result(ID, "executed", "", {"a": bytes(66_000)}, T0_US)


def test_a_device_cannot_fill_the_servers_memory():
    link = make_link()
    link.attached()
    session = link.client._session
    for number in range(300):
        command_id = number.to_bytes(16, "big")
        part = split_result(command_id, Result("executed", "", {"a": bytes(3_000)}))[0]
        link.client._emit(session, Type.RESULT, encode_result_part(part), link.now_us)
        link.client._emit(session, Type.CLOSED, {1: command_id, 2: "closed"}, link.now_us)
        for datagram in link.client.take_output(link.now_us):
            link.server.receive(datagram, CLIENT_ADDRESS, link.now_us)
    (session,) = link.server._sessions.values()
    assert len(session.shelf._open) == 4
    assert len(session.shelf._closed) == 64
