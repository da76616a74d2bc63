"""What is open and what is over, from ``downlink`` and ``device-events`` read side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.messages import CommandEvent, Downlink
from simway_udp_server.commands import EXPIRY_GRACE_US, SENT_KEPT_US, Commands

ID = "000102030405060708090a0b0c0d0e0f"
EXPIRES_US = 1_000_000_000


def down(type_="command", command_id=ID, device="demo", expires_us=EXPIRES_US):
    return Downlink(device, type_, command_id, 1, expires_us, b"body", b"mac")


def said(event, outcome="", command_id=ID, device="demo"):
    return CommandEvent(device, command_id, event, "udp", 1, 0, outcome=outcome)


def types(commands, command_id=ID):
    return [message.type for message in commands.of("demo", command_id)]


def test_a_command_is_open_until_a_result():
    commands = Commands()
    assert commands.take(down(), 10, now_us=20)
    assert not commands.note(said("sent"), 11)
    assert not commands.note(said("received"), 12)
    assert types(commands) == ["command"]
    assert commands.note(said("result", "executed"), 13)
    assert types(commands) == []
    assert len(commands) == 0


@pytest.mark.parametrize(
    ("event", "outcome", "left"),
    [
        ("result", "executed", ["confirm"]), ("result", "refused", ["confirm"]), ("result", "cancelled", ["confirm"]),
        ("result", "failed", []), ("result", "rolled_back", []), ("closed", "closed", []), ("closed", "rolled_back", []),
        ("received", "", ["command", "cancel", "confirm"]), ("expired", "", ["confirm"]),
        ("unknown", "", ["command", "cancel", "confirm"]),
    ],
)  # fmt: skip
def test_what_each_event_ends(event, outcome, left):
    commands = Commands()
    for type_ in ("command", "cancel", "confirm"):
        commands.take(down(type_), 10, now_us=20)
    commands.note(said(event, outcome), 30)
    assert types(commands) == left


def test_what_was_over_before_it_is_read_is_not_sent():
    commands = Commands()
    commands.note(said("result", "executed"), 30)
    assert not commands.take(down(), 10, now_us=40)
    assert not commands.take(down("cancel"), 30, now_us=40)
    assert commands.take(down("confirm"), 35, now_us=40)


def test_a_command_sealed_anew_after_a_refusal_is_sent():
    commands = Commands()
    commands.take(down(), 10, now_us=20)
    commands.note(said("result", "refused"), 30)
    assert commands.take(down(), 40, now_us=50)
    assert not commands.note(said("result", "refused"), 30)
    assert types(commands) == ["command"]


def test_expired_or_malformed_records_are_not_taken():
    commands = Commands()
    assert not commands.take(down(expires_us=20), 10, now_us=20)
    assert not commands.take(down("other"), 10, now_us=20)
    assert not commands.take(down(command_id="xyz"), 10, now_us=20)
    assert not commands.take(down(command_id="00"), 10, now_us=20)
    assert commands.malformed == 3


def test_only_a_command_that_nobody_sent_expires_as_unsent():
    commands = Commands()
    other = "f" * 32
    commands.take(down(), 10, now_us=20)
    commands.take(down(command_id=other), 10, now_us=20)
    commands.take(down("confirm", command_id="e" * 32), 10, now_us=20)
    commands.note(said("sent", command_id=other), 11)
    assert commands.expire(EXPIRES_US + EXPIRY_GRACE_US) == []
    gone = commands.expire(EXPIRES_US + EXPIRY_GRACE_US + 1)
    assert [(message.command_id, unsent) for message, unsent in gone] == [(ID, True), ("e" * 32, False)]
    assert [(message.command_id, unsent) for message, unsent in commands.expire(EXPIRES_US + SENT_KEPT_US + 1)] == [
        (other, False)
    ]
    assert len(commands) == 0


def test_what_another_worker_sent_may_be_read_before_the_command_itself():
    commands = Commands()
    commands.note(said("sent"), 11)
    commands.take(down(), 10, now_us=20)
    assert commands.was_sent("demo", ID)
    assert commands.expire(EXPIRES_US + EXPIRY_GRACE_US + 1) == []
    commands.take(down(), 12, now_us=20)
    assert not commands.was_sent("demo", ID), "sealed anew since"


def test_the_oldest_open_record():
    commands = Commands()
    assert commands.oldest_us() is None
    commands.take(down(), 10, now_us=20)
    commands.take(down("cancel"), 12, now_us=20)
    assert commands.oldest_us() == 10


steps = st.lists(
    st.tuples(st.just("take"), st.sampled_from(["command", "cancel", "confirm"]), st.sampled_from("ab"), st.integers(0, 50))
    | st.tuples(
        st.sampled_from(["sent", "received", "result", "closed", "expired"]),
        st.sampled_from(["executed", "failed", "rolled_back"]),
        st.sampled_from("ab"),
        st.integers(0, 50),
    )
)


@given(steps)
def test_the_order_of_reading_the_two_topics_does_not_matter(history):
    """Whether all commands are read first or all events: the same is open in the end (records of one id told apart by time)."""
    history = list({(step[0], step[1], step[2]): step for step in history}.values())
    takes = [step for step in history if step[0] == "take"]
    events = [step for step in history if step[0] != "take"]
    outcomes = []
    for order in (takes + events, events + takes):
        commands = Commands()
        for name, what, device, at_us in order:
            if name == "take":
                commands.take(down(what, device=device), at_us, now_us=60)
            else:
                commands.note(said(name, what, device=device), at_us)
        outcomes.append(sorted((message.device, message.type) for message in commands.open()))
    assert outcomes[0] == outcomes[1]
