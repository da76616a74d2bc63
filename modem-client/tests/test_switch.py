"""The switch: its table, its preflight, its journal; and a power cut before and after every write and every APDU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_backbone.sqlite import SqliteUnusable
from simway_modem_client import switch
from simway_modem_client.journal import CommandRecord, Journal, OpenSwitch
from simway_modem_client.switch import FINAL, TABLE, Action, Event, Phase
from simway_protocol.commands import FLAG_FORCE, Kind
from simway_protocol.sim import apdu
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.card import CardGone
from simway_protocol.sim.es10c import DisableProfile, EnableProfile, EnableResult, ProfileId

# --- the table -----------------------------------------------------------------------------------------------------------

REPORTS = {Action.REPORT_FAILED, Action.REPORT_ROLLED_BACK, Action.REPORT_STAYED, Action.REPORT_CLOSED}
SIGHTS = [Event.CARD_ON_TARGET, Event.CARD_ON_WAY_BACK, Event.CARD_ELSEWHERE, Event.CARD_EMPTY, Event.CARD_STALE, Event.CARD_UNREADABLE]


def test_what_is_over_stays_over_and_is_reported() -> None:
    assert not [key for key in TABLE if key[0] in FINAL]
    for step in TABLE.values():
        assert (step.phase in FINAL) == bool(REPORTS & set(step.actions))


def test_every_open_phase_knows_what_each_sight_of_the_card_and_each_boot_means() -> None:
    for phase in set(Phase) - FINAL:
        for event in [*SIGHTS, Event.BOOTED, Event.BOOTED_TOO_OFTEN]:
            assert (phase, event) in TABLE


def test_only_a_confirmation_lets_a_switch_stand() -> None:
    assert [key for key, step in TABLE.items() if step.phase is Phase.CLOSED] == [(Phase.REPORTED, Event.CONFIRMED)]


class Shell:
    """The shell reduced to what is due: the deadline, a look at the card, a try to go back."""

    def __init__(self) -> None:
        self.phase = Phase.INTENT
        self.due: Action | None = None
        self.deadline = True
        self.card_is_seen = True
        """A sight of the card follows: the shell never waits between an action on the card and looking at it."""

    def happened(self, event: Event) -> None:
        found = None if self.phase in FINAL else switch.step(self.phase, event)
        if found is None:
            return
        self.phase, self.card_is_seen = found.phase, False
        for action in found.actions:
            self.act(action)

    def act(self, action: Action) -> None:
        match action:
            case Action.LOOK_AT_CARD | Action.ENABLE_WAY_BACK:
                self.card_is_seen = True
                self.deadline = self.deadline and action is not Action.ENABLE_WAY_BACK
            case Action.LOOK_LATER:
                self.due = Action.LOOK_AT_CARD
            case Action.ENABLE_WAY_BACK_LATER:
                self.due = Action.ENABLE_WAY_BACK
            case Action.RESTART_DEADLINE:
                self.deadline = True

    def tick(self) -> None:
        due, self.due = self.due, None
        if due is not None:
            self.act(due)
        elif self.deadline:
            self.deadline = False
            self.happened(Event.DEADLINE)

    def power_cut(self, boots: int) -> None:
        self.due, self.deadline, self.card_is_seen = None, False, False
        self.happened(switch.boot_event(boots))


STORY = st.lists(st.one_of(st.sampled_from(list(Event)), st.just("tick"), st.just("power cut")), max_size=60)


@given(STORY, st.sampled_from(SIGHTS))
def test_no_story_is_a_dead_end(story: list[Event | str], sight: Event) -> None:
    """Whatever happens in whatever order: it is over, or the card is about to be looked at, or something is due."""
    shell, boots = Shell(), 0
    for event in story:
        if event == "tick":
            shell.tick()
        elif event == "power cut":
            boots += 1
            shell.power_cut(boots)
        elif event in SIGHTS or event in (Event.ATTACHED, Event.CONFIRMED, Event.NO_WAY_BACK):
            shell.happened(Event(event))
        if shell.card_is_seen:
            shell.happened(sight)
        assert shell.phase in FINAL or shell.card_is_seen or shell.due or shell.deadline


@given(STORY)
def test_a_card_that_can_go_back_ends_any_story_within_its_deadline(story: list[Event | str]) -> None:
    shell, boots = Shell(), 0
    for event in story:
        if event == "tick":
            shell.tick()
        elif event == "power cut":
            boots += 1
            shell.power_cut(boots)
        else:
            shell.happened(Event(event))
    for _ in range(4):
        if shell.card_is_seen:
            shell.happened(Event.CARD_ON_WAY_BACK if shell.phase is Phase.RETURNING else Event.CARD_ON_TARGET)
        shell.tick()
    if shell.card_is_seen:
        shell.happened(Event.CARD_ON_WAY_BACK)
    assert shell.phase in FINAL


@pytest.mark.parametrize(
    ("state", "data", "phase", "reason"),
    [
        ("searching", False, Phase.SWITCHED, "no_coverage"),
        ("off", False, Phase.SWITCHED, "no_coverage"),
        ("denied", False, Phase.SWITCHED, "registration_denied"),
        ("home", False, Phase.SWITCHED, "no_data"),
        ("roaming", True, Phase.SWITCHED, "not_reachable"),
        ("home", True, Phase.REPORTED, "not_confirmed"),
        ("searching", False, Phase.REPORTED, "not_confirmed"),
        ("searching", False, Phase.INTENT, "card_unreadable"),
    ],
)
def test_at_the_deadline_the_radio_says_why(state: str, data: bool, phase: Phase, reason: str) -> None:
    assert switch.why_back(phase, Event.DEADLINE, Registration(state, data)) == reason


def test_going_back_is_tried_often_then_slowly_and_without_a_wait_while_nothing_is_enabled() -> None:
    waits = [switch.return_wait_s(attempts, at_once=False) for attempts in range(1, 14)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 600, 600]
    assert switch.return_wait_s(3, at_once=True) == 0


def test_the_deadline_starts_anew_three_times_only() -> None:
    assert [switch.boot_event(boots) for boots in (1, 2, 3, 4)] == [*[Event.BOOTED] * 3, Event.BOOTED_TOO_OFTEN]


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


@pytest.mark.parametrize("page", [2, 3, 4, 7, 9])
def test_a_damaged_journal_is_one_clear_error_at_start(tmp_path: Path, page: int) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    for number in range(1, 30):
        journal.accept(CommandRecord(bytes([number]) * 16, "switch", number, 0))
        journal.finish(bytes([number]) * 16, "executed", "", {"apdus": ["x" * 50] * 20})
    journal.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(data)
    with pytest.raises(SqliteUnusable, match=r"journal\.db is damaged .* move the file away"):
        Journal(path)


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
    world.agent.switcher._card.wait = lambda _seconds: None
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
    world.agent.switcher._card.wait = lambda _seconds: None
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


# --- what cards do differently -------------------------------------------------------------------------------------------


class PickyCard(LosingCard):
    """Answers EnableProfile with ``code`` unless ``takes`` is in it."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and self._state["takes"] not in apdu:
            code = self._state["code"]
            return (b"", 0x6A80) if code is None else (bytes.fromhex("BF31038001") + bytes([code]), 0x9000)
        return self._inner.transmit(apdu)


@pytest.mark.parametrize("code", [1, 127, None])
def test_a_card_that_refuses_the_iccid_is_asked_by_aid(world: Any, code: int | None) -> None:
    target = next(profile for profile in world.profiles() if not profile.enabled)
    state: Any = {"takes": bytes.fromhex(target.aid), "code": code}
    world.sim.drop()
    world.wrap_card = lambda card: PickyCard(card, state)
    body = world.command(Kind.SWITCH, target=target.iccid)
    world.until(lambda: world.server.closings(body.command_id))
    assert world.server.closings(body.command_id) == ["closed"]
    tries = world.result(body).evidence["tries"]
    assert [(entry["by"], entry["result"] == "ok") for entry in tries] == [("iccid", False), ("aid", True)]


@pytest.mark.parametrize("code", [5, 127, None])
def test_a_card_that_refuses_the_refresh_is_asked_without(world: Any, code: int | None) -> None:
    world.agent.switcher._card.wait = lambda _seconds: None
    state: Any = {"takes": bytes.fromhex("810100"), "code": code}
    world.sim.drop()
    world.wrap_card = lambda card: PickyCard(card, state)
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id))
    assert world.server.closings(body.command_id) == ["closed"]
    last = world.result(body).evidence["tries"][-1]
    assert (last["refresh"], last["result"]) == (False, "ok")


class BrokenCard(LosingCard):
    """Disables the enabled profile before it enables another, and fails between the two: real cards must not, some have."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and not self._state["broken"]:
            self._state["broken"] = True
            disable = DisableProfile(ProfileId.of(self._state["active"]), refresh=False).encode()
            self._inner.transmit(apdu[:4] + bytes([len(disable)]) + disable)
            raise CardGone("the card stumbled")
        return self._inner.transmit(apdu)


def test_a_card_without_any_enabled_profile_gets_the_way_back_at_once(world: Any) -> None:
    before = world.active_iccid()
    state: Any = {"broken": False, "active": before}
    world.sim.drop()
    world.wrap_card = lambda card: BrokenCard(card, state)
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: state["broken"])
    assert world.active_iccid() == before
    world.until(lambda: world.server.closings(body.command_id))
    assert (world.result(body).outcome, world.result(body).reason) == ("rolled_back", "card_empty")


def test_a_card_that_takes_no_way_back_stays_and_says_so(world: Any) -> None:
    """Reachable where it stands, so a person can decide; the server hears that the switch failed."""
    world.server.confirms = False
    target = world.other_iccid()
    state: Any = {"takes": EnableProfile(ProfileId.of(target)).encode(), "code": 3}
    world.sim.drop()
    world.wrap_card = lambda card: PickyCard(card, state)
    body = world.command(Kind.SWITCH, target=target, deadline_s=30)
    world.until(lambda: world.server.closings(body.command_id), within_s=1200)
    assert world.server.closings(body.command_id) == ["failed"]
    assert (world.result(body).outcome, world.result(body).reason) == ("failed", "no_way_back")
    assert world.active_iccid() == target
    assert world.journal.open_switch() is None


def test_a_program_that_was_killed_resets_the_card_before_it_believes_its_files(world: Any) -> None:
    """The card kept its power: enabled is the target, and the files are the old profile's until a reset."""
    world.until(lambda: world.attached)
    before, target, uicc = world.active_iccid(), world.other_iccid(), world.sim.use()
    command_id = bytes(range(16))
    world.journal.accept(CommandRecord(command_id, "switch", 1, world.now_us))
    world.journal.begin_switch(OpenSwitch(command_id, before, target, 600, world.now_us))
    assert uicc.enable(target) is EnableResult.OK
    assert uicc.iccid() == before
    world.agent.switcher.open = world.journal.open_switch()
    world.agent.boot()
    world.until(lambda: world.server.results(command_id))
    assert world.server.results(command_id)[0].outcome == "executed"
    assert world.active_iccid() == target


def test_a_switch_tells_how_long_each_step_took_and_over_which_network(world: Any) -> None:
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.result(body))
    evidence = world.result(body).evidence
    steps = {"preflight", "enable", "refresh", "reset_and_read", "registration", "attach", "total"}
    assert steps <= set(evidence["timings_ms"])
    assert evidence["registration"]["state"] == "home"
    assert evidence["imsi_before"] != evidence["imsi_after"]


def test_a_test_profile_is_switched_to_only_by_force(world: Any) -> None:
    path = world.folder / "sim.json"
    world.power_off()
    path.write_text(path.read_text().replace('"imsi": "99971', '"profile_class": "test", "imsi": "99971'))
    world.boot()
    target = next(p.iccid for p in world.profiles() if p.message().profile_class == "test")
    refused = world.command(Kind.SWITCH, target=target)
    world.until(lambda: world.result(refused))
    assert (world.result(refused).outcome, world.result(refused).reason) == ("failed", "test_profile")
    forced = world.command(Kind.SWITCH, target=target, flags=FLAG_FORCE)
    world.until(lambda: world.server.closings(forced.command_id))
    assert world.server.closings(forced.command_id) == ["closed"]
    assert world.result(forced).evidence["forced"] is True
