"""The switch: its table, its preflight, its journal; and a power cut before and after every write and every APDU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client import switch
from simway_modem_client.journal import CommandRecord, Journal, OpenSwitch
from simway_modem_client.switch import FINAL, TABLE, Action, Event, Phase, Preflight
from simway_protocol.commands import Kind
from simway_protocol.sim import apdu
from simway_protocol.sim.card import CardGone
from simway_protocol.sim.es10c import EnableProfile, EnableResult, ProfileId

# --- the table -----------------------------------------------------------------------------------------------------------

REPORTS = {Action.REPORT_FAILED, Action.REPORT_ROLLED_BACK, Action.REPORT_CLOSED}


def test_what_is_over_stays_over_and_is_reported() -> None:
    assert not [key for key in TABLE if key[0] in FINAL]
    for step in TABLE.values():
        assert (step.phase in FINAL) == bool(REPORTS & set(step.actions))


def test_every_open_phase_knows_what_each_sight_of_the_card_and_each_boot_means() -> None:
    sights = [Event.CARD_ON_TARGET, Event.CARD_ON_WAY_BACK, Event.CARD_ELSEWHERE, Event.CARD_UNREADABLE]
    for phase in set(Phase) - FINAL:
        for event in [*sights, Event.BOOTED, Event.BOOTED_TOO_OFTEN]:
            assert (phase, event) in TABLE


def test_only_a_confirmation_lets_a_switch_stand() -> None:
    assert [key for key, step in TABLE.items() if step.phase is Phase.CLOSED] == [(Phase.REPORTED, Event.CONFIRMED)]


@given(st.lists(st.sampled_from(list(Event)), max_size=40))
def test_any_story_ends_or_waits_for_something(events: list[Event]) -> None:
    """From wherever a story got to, a readable card on the previous profile, or a deadline first, ends it."""
    phase = Phase.INTENT
    for event in events:
        found = switch.step(phase, event)
        phase = found.phase if found and phase not in FINAL else phase
    for event in (Event.DEADLINE, Event.CARD_ON_WAY_BACK):
        found = switch.step(phase, event)
        phase = found.phase if found else phase
    assert phase in FINAL


def test_the_deadline_starts_anew_three_times_only() -> None:
    assert [switch.boot_event(boots) for boots in (1, 2, 3, 4)] == [*[Event.BOOTED] * 3, Event.BOOTED_TOO_OFTEN]


PROFILES = (("A", "operational", True), ("B", "operational", False), ("T", "test", False), ("C", "operational", False))
FIT = Preflight("B", "A", PROFILES, True, True, False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"switch_open": True}, "switch_open"),
        ({"request_is_enable_of_target": False}, "not_an_enable_of_the_target"),
        ({"profiles": ()}, "not_an_euicc"),
        ({"target": "X"}, "profile_not_found"),
        ({"target": "A"}, "already_enabled"),
        ({"target": "T"}, "test_profile"),
        ({"active": ""}, "no_way_back"),
        ({"key_survives": False}, "key_would_be_out_of_reach"),
    ],
)
def test_preflight(changes: dict[str, Any], reason: str) -> None:
    assert switch.refuse(FIT._replace(**changes)) == reason


def test_the_way_back_is_the_previous_profile_then_others_in_turn_never_test_ones() -> None:
    tries = [switch.way_back("A", "B", PROFILES, attempts) for attempts in range(7)]
    assert tries == ["A", "A", "A", "C", "A", "C", "A"]
    assert switch.way_back("A", "B", (), 9) == "A"


# --- the journal ---------------------------------------------------------------------------------------------------------


def test_the_journal_survives_and_counts_boots(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    assert journal.count_boot() == 1
    journal.accept(CommandRecord(b"\1" * 16, "switch", 7, 5))
    journal.begin_switch(OpenSwitch(b"\1" * 16, "A", "B", 600, 5, evidence={"proof": "card-only"}))
    journal.close()
    journal = Journal(path)
    assert journal.count_boot() == 2
    assert journal.last_counter == 7
    found = journal.open_switch()
    assert found is not None
    assert (found.previous, found.target, found.phase, found.boots) == ("A", "B", Phase.INTENT, 1)
    assert found.evidence == {"proof": "card-only"}
    journal.end_switch(found, outcome="rolled_back", reason="not_confirmed", closed="rolled_back")
    assert journal.open_switch() is None
    assert [record.closed for record in journal.unsettled()] == ["rolled_back"]
    journal.settle(b"\1" * 16, "result")
    journal.settle(b"\1" * 16, "closed")
    assert journal.unsettled() == []
    journal.close()


def test_the_journal_forgets_old_settled_commands_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_modem_client.journal.COMMANDS_KEPT", 8)
    journal = Journal(tmp_path / "journal.db")
    for number in range(1, 40):
        command_id = number.to_bytes(16, "big")
        journal.accept(CommandRecord(command_id, "ping", number, 0))
        journal.finish(command_id, "executed", "", {})
        if number != 3:
            journal.settle(command_id, "result")
    assert journal.command((1).to_bytes(16, "big")) is None
    assert journal.command((3).to_bytes(16, "big")) is not None, "the server does not have its result yet"
    assert journal.command((39).to_bytes(16, "big")) is not None
    assert len(journal.recent(1_000)) <= 10
    journal.close()


# --- power cuts ----------------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """The power is gone: nothing after this point happens."""


class Fuse:
    """Blows at the ``at``-th of the steps that count."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.armed = False

    def step(self) -> None:
        if not self.armed:
            return
        self.passed += 1
        if self.passed == self.at:
            raise PowerCut


class FusedCard:
    """The card, with a cut before each command reaches it and one before its answer comes back."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        self._fuse.step()
        answer = self._inner.transmit(apdu)
        self._fuse.step()
        return answer

    def reset(self) -> bytes:
        self._fuse.step()
        return self._inner.reset()

    def close(self) -> None:
        self._inner.close()


def fuse_journal(journal: Journal, fuse: Fuse) -> None:
    for name in ("accept", "begin_switch", "update_switch", "finish", "end_switch", "settle"):
        setattr(journal, name, fused(getattr(journal, name), fuse))


def fused(write: Callable[..., Any], fuse: Fuse) -> Callable[..., Any]:
    """A write with a cut before and one after it."""

    def call(*arguments: Any, **named: Any) -> Any:
        fuse.step()
        done = write(*arguments, **named)
        fuse.step()
        return done

    return call


def switch_with_a_cut(make_world: Any, at: int, *, confirms: bool) -> bool:
    """One switch with the power cut at step ``at``; False when the switch was over before. Checks that all agree in the end."""
    world, fuse = make_world(), Fuse(at)
    world.server.confirms = confirms
    before, target = world.active_iccid(), world.other_iccid()
    world.sim.drop()
    world.wrap_card = lambda card: FusedCard(card, fuse)
    fuse_journal(world.journal, fuse)
    world.until(lambda: world.attached)
    fuse.armed = True
    body = world.command(Kind.SWITCH, target=target, deadline_s=60)
    cut = False
    try:
        world.until(lambda: world.server.closings(body.command_id) and not world.journal.unsettled(), within_s=300)
    except PowerCut:
        cut = True
        fuse.armed = False
        world.power_off()
        world.boot()
    world.until(lambda: is_over(world, body), within_s=600)
    fuse.armed = False
    after = world.active_iccid()
    enabled = [profile.iccid for profile in world.profiles() if profile.enabled]
    assert enabled == [after], "exactly one profile is enabled"
    last = world.result(body).outcome
    closing = world.server.closings(body.command_id)[-1:]
    assert (closing, last, after) in (
        (["closed"], "executed", body.target_iccid), (["rolled_back"], "rolled_back", before), ([], "failed", before),
    )  # fmt: skip
    assert confirms or after == before
    world.power_off()
    return cut


def is_over(world: Any, body: Any) -> bool:
    result = world.result(body)
    told = result is not None and (result.outcome == "failed" or world.server.closings(body.command_id))
    return bool(told) and world.journal.open_switch() is None and not world.journal.unsettled()


STRIDE = 17
"""Every seventeenth step, and each of the first ten: the fault suite takes them all."""


@pytest.mark.parametrize("confirms", [True, False])
def test_a_power_cut_at_any_step_resolves_at_boot(make_world: Any, confirms: bool) -> None:
    at = 1
    while switch_with_a_cut(make_world, at, confirms=confirms):
        at += 1 if at < 10 else STRIDE
    assert at > 150, "the switch has that many steps at least"


def test_power_that_never_lasts_brings_the_device_back(make_world: Any) -> None:
    world = make_world()
    world.server.confirms = False
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=600)
    world.until(lambda: world.result(body))
    for _ in range(4):
        world.power_off()
        world.boot()
        world.pass_time(300)
    world.until(lambda: is_over(world, body), within_s=60)
    assert world.server.closings(body.command_id)[-1] == "rolled_back"
    assert world.active_iccid() == before


def test_a_device_that_booted_too_often_goes_back_even_if_it_never_saw_the_card(make_world: Any) -> None:
    world = make_world()
    world.server.confirms = False
    before, target, uicc = world.active_iccid(), world.other_iccid(), world.sim.use()
    command_id = bytes(range(16))
    world.journal.accept(CommandRecord(command_id, "switch", 1, world.now_us))
    world.journal.begin_switch(OpenSwitch(command_id, before, target, 600, world.now_us, boots=switch.BOOTS_MAX))
    uicc.enable(target)
    world.power_off()
    world.boot()
    world.until(lambda: world.server.closings(command_id), within_s=60)
    assert world.server.closings(command_id) == ["rolled_back"]
    assert world.active_iccid() == before


class LosingCard:
    """Loses the answer to the first EnableProfile, which the card has carried out."""

    def __init__(self, inner: Any, state: dict[str, bool]) -> None:
        self._inner, self._state = inner, state

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        answer = self._inner.transmit(apdu)
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and not self._state.get("lost"):
            self._state["lost"] = True
            raise CardGone("the answer was lost")
        return answer

    def reset(self) -> bytes:
        return self._inner.reset()

    def close(self) -> None:
        self._inner.close()


def test_when_the_answer_is_lost_the_card_is_asked_what_is_true(world: Any) -> None:
    state: dict[str, bool] = {}
    world.sim.drop()
    world.wrap_card = lambda card: LosingCard(card, state)
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id))
    assert state["lost"]
    assert world.server.closings(body.command_id) == ["closed"]
    assert world.active_iccid() == body.target_iccid


class BusyCard(LosingCard):
    """Answers EnableProfile with catBusy as often as told, without doing anything."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and self._state["times"] > 0:
            self._state["times"] -= 1
            return bytes.fromhex("BF3103800105"), 0x9000
        return self._inner.transmit(apdu)


@pytest.mark.parametrize(("times", "outcome"), [(2, "executed"), (99, "failed")])
def test_a_busy_card_is_asked_again_within_bounds(world: Any, times: int, outcome: str) -> None:
    state: Any = {"times": times}
    world.agent.switcher._wait = lambda _seconds: None
    world.sim.drop()
    world.wrap_card = lambda card: BusyCard(card, state)
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.result(body))
    assert world.result(body).outcome == outcome
    if outcome == "failed":
        assert world.result(body).reason == "cat_busy"
        assert world.active_iccid() == before


@pytest.mark.parametrize("fetched", [False, True])
def test_a_refresh_left_by_somebody_is_ended_before_the_next_try(world: Any, fetched: bool) -> None:
    """``fetched``: whoever left it had even fetched it, and never answered; then only a reset helps."""
    world.until(lambda: world.attached)
    world.agent.switcher._wait = lambda _seconds: None
    active, other, uicc = world.active_iccid(), world.other_iccid(), world.sim.use()
    assert uicc.enable(other) is EnableResult.OK
    assert uicc.enable(active, refresh=False) is EnableResult.OK
    if fetched:
        uicc._chain.send(apdu.fetch(uicc._chain.proactive.pending_bytes), "FETCH")
    assert uicc.enable(other) is EnableResult.CAT_BUSY
    body = world.command(Kind.SWITCH, target=other)
    world.until(lambda: world.result(body))
    assert (world.result(body).outcome, world.result(body).reason) == ("executed", "")
    assert world.active_iccid() == other


class PulledCard(LosingCard):
    """Carries out the first EnableProfile and is out of the reader then, until it is put back."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if self._state.get("out"):
            raise CardGone("no card in the reader")
        answer = self._inner.transmit(apdu)
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and "out" not in self._state:
            self._state["out"] = True
            raise CardGone("the card was pulled")
        return answer

    def reset(self) -> bytes:
        if self._state.get("out"):
            raise CardGone("no card in the reader")
        return self._inner.reset()


@pytest.mark.parametrize(("out_s", "closing", "last"), [(20, "closed", "executed"), (200, "rolled_back", "rolled_back")])
def test_a_card_pulled_during_the_switch_is_looked_at_when_it_is_back(world: Any, out_s: int, closing: str, last: str) -> None:
    state: dict[str, bool] = {}
    world.sim.drop()
    world.wrap_card = lambda card: PulledCard(card, state)
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=60)
    world.until(lambda: state.get("out"))
    world.pass_time(out_s)
    assert world.journal.open_switch() is not None
    state["out"] = False
    world.until(lambda: world.server.closings(body.command_id), within_s=300)
    assert world.server.closings(body.command_id) == [closing]
    assert world.result(body).outcome == last
    assert world.active_iccid() == (body.target_iccid if closing == "closed" else before)
    assert world.journal.open_switch() is None


class StubbornCard(LosingCard):
    """Lets the first switch through, and refuses to enable one profile ever after (policy)."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if apdu[1] == 0xE2 and self._state["refused"] in apdu:
            return bytes.fromhex("BF3103800103"), 0x9000
        return self._inner.transmit(apdu)


def test_when_the_previous_profile_cannot_be_had_another_one_is(world: Any) -> None:
    world.server.confirms = False
    before = world.active_iccid()
    state: Any = {"refused": EnableProfile(ProfileId.of(before)).encode()}
    world.sim.drop()
    world.wrap_card = lambda card: StubbornCard(card, state)
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=30)
    world.until(lambda: world.server.closings(body.command_id), within_s=300)
    assert world.server.closings(body.command_id) == ["rolled_back"]
    after = world.active_iccid()
    assert after not in ("", before, body.target_iccid)
    assert world.result(body).evidence["iccid_after"] == after
    assert world.result(body).reason == "not_confirmed"
