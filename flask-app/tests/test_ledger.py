"""The command ledger's table: what must hold of every path through it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app import ledger
from simway_flask_app.ledger import FINAL, Event, State

KINDS = ("switch", "ping", "audit")
paths = st.lists(st.sampled_from(Event), max_size=30)


def walk(kind: str, events: list[Event]) -> list[tuple[State, Event, State]]:
    state, moves = State.QUEUED, []
    for event in events:
        after = ledger.move(kind, state, event)
        if after is not None:
            moves.append((state, event, after))
            state = after
    return moves


@given(st.sampled_from(KINDS), paths)
def test_what_holds_of_every_path(kind: str, events: list[Event]) -> None:
    for before, event, after in walk(kind, events):
        assert before not in FINAL, "final is final"
        assert (after is State.EXPIRED) == (event is Event.EXPIRE)
        if event is Event.EXPIRE:
            assert before is State.QUEUED
        if after is State.UNKNOWN:
            assert event is Event.LAPSE
            assert before in ledger.LAPSING
        if after is State.VERIFIED:
            assert (kind, event) == ("switch", Event.CLOSED)
        if after is State.CONFIRMING:
            assert (kind, event) == ("switch", Event.PROVED)
        if event is Event.CANCEL:
            assert ledger.may_cancel(before)
            assert after in (before, State.CANCELLED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", State)
def test_going_back_is_legal_from_every_open_state_of_a_switch(kind: str, state: State) -> None:
    after = ledger.move(kind, state, Event.ROLLED_BACK)
    assert after is (State.ROLLED_BACK if kind == "switch" and state not in FINAL else None)


@pytest.mark.parametrize("state", State)
def test_ping_and_audit_end_at_executed(state: State) -> None:
    assert not any(ledger.move("ping", State.EXECUTED, event) for event in Event)
    for event in (Event.PROVED, Event.CLOSED, Event.ROLLED_BACK):
        assert ledger.move("audit", state, event) is None


def test_the_usual_way_of_a_switch() -> None:
    moves = walk("switch", [Event.SENT, Event.RECEIVED, Event.PROVED, Event.CLOSED])
    assert [after for _, _, after in moves] == [State.SENT, State.RECEIVED, State.CONFIRMING, State.VERIFIED]


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELLED, State.UNKNOWN])
def test_what_the_device_says_is_truer_than_what_we_assumed(state: State) -> None:
    for event, after in ((Event.PROVED, State.CONFIRMING), (Event.FAILED, State.FAILED), (Event.EXECUTED, State.EXECUTED)):
        assert ledger.move("switch", state, event) is after


@pytest.mark.parametrize(
    ("kind", "state", "sealed", "holds"),
    [
        ("ping", State.QUEUED, False, False), ("ping", State.QUEUED, True, True), ("ping", State.SENT, True, True),
        ("ping", State.EXECUTED, True, False), ("switch", State.EXECUTED, True, True), ("switch", State.CONFIRMING, True, True),
        ("switch", State.UNKNOWN, True, False), ("switch", State.VERIFIED, True, False), ("switch", State.EXPIRED, True, False),
    ],
)  # fmt: skip
def test_whose_turn_it_is(kind: str, state: State, sealed: bool, holds: bool) -> None:
    assert ledger.holds_turn(kind, state, sealed=sealed) is holds


@pytest.mark.parametrize(
    ("kind", "outcome", "reason", "proves", "event"),
    [
        ("switch", "executed", "", True, Event.PROVED), ("switch", "executed", "", False, Event.EXECUTED),
        ("ping", "executed", "", True, Event.EXECUTED), ("switch", "failed", "already_enabled", False, Event.FAILED),
        ("switch", "refused", "bad_mac", False, Event.REFUSED), ("ping", "refused", "counter", False, Event.BAD_COUNTER),
        ("ping", "refused", "too_late", False, None), ("ping", "cancelled", "", False, Event.CANCELLED),
        ("switch", "rolled_back", "", True, Event.ROLLED_BACK), ("switch", "whatever", "", True, None),
    ],
)  # fmt: skip
def test_the_meaning_of_a_result(kind: str, outcome: str, reason: str, proves: bool, event: Event | None) -> None:
    assert ledger.event_of_result(kind, outcome, reason, proves=proves) is event


ID = "ab" * 16


@pytest.mark.parametrize(
    ("journal", "event"),
    [
        ({"last_counter": 9, "commands": [{"command_id": ID, "outcome": "executed", "closed": "closed"}]}, Event.CLOSED),
        (
            {"last_counter": 9, "commands": [{"command_id": ID, "outcome": "executed", "closed": "rolled_back"}]},
            Event.ROLLED_BACK,
        ),
        ({"last_counter": 9, "commands": [{"command_id": ID, "outcome": "rolled_back", "closed": ""}]}, Event.ROLLED_BACK),
        ({"last_counter": 9, "commands": [{"command_id": ID, "outcome": "failed", "reason": "x", "closed": ""}]}, Event.FAILED),
        ({"last_counter": 9, "commands": [{"command_id": ID, "outcome": "executed", "closed": ""}]}, None),
        ({"last_counter": 9, "commands": [], "open_switch": {"command_id": ID}}, None),
        ({"commands": []}, None),
        ({}, None),
    ],
)
def test_what_an_audit_resolves(journal: dict[str, Any], event: Event | None) -> None:
    assert ledger.event_of_audit(journal, "switch", ID, reaches_back=False) is event
    assert ledger.event_of_audit({"commands": []}, "switch", ID, reaches_back=True) is Event.REFUSED
