"""The switch: its table, and a power cut before and after every write and every APDU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client import switch
from simway_modem_client.journal import CommandRecord, Journal, OpenSwitch
from simway_modem_client.switch import FINAL, TABLE, Action, Event, Phase
from simway_protocol.commands import Kind
from simway_protocol.sim.bearer import Registration

# --- the table -----------------------------------------------------------------------------------------------------------

REPORTS = {Action.REPORT_FAILED, Action.REPORT_ROLLED_BACK, Action.REPORT_STAYED, Action.REPORT_CLOSED}
SIGHTS = [
    Event.CARD_ON_TARGET,
    Event.CARD_ON_WAY_BACK,
    Event.CARD_ELSEWHERE,
    Event.CARD_EMPTY,
    Event.CARD_STALE,
    Event.CARD_UNREADABLE,
]


def test_what_is_over_stays_over_and_is_reported() -> None:
    assert not [key for key in TABLE if key[0] in FINAL]
    for step in TABLE.values():
        assert (step.phase in FINAL) == bool(REPORTS & set(step.actions))


def test_every_open_phase_knows_what_each_sight_of_the_card_and_each_boot_means() -> None:
    for phase in set(Phase) - FINAL:
        for event in [*SIGHTS, Event.BOOTED, Event.BOOTED_TOO_OFTEN]:
            assert (phase, event) in TABLE


def test_only_an_attach_over_the_way_back_ends_the_way_back() -> None:
    rolled_back = [key for key, step in TABLE.items() if step.phase is Phase.ROLLED_BACK]
    assert rolled_back == [(Phase.RETURNED, Event.ATTACHED_BACK)]
    assert TABLE[Phase.RETURNED, Event.DEADLINE].phase is Phase.RETURNING


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
        elif event in SIGHTS or event in (Event.ATTACHED, Event.ATTACHED_BACK, Event.CONFIRMED, Event.NO_WAY_BACK):
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
    for _ in range(5):
        is_back = shell.phase in (Phase.RETURNING, Phase.RETURNED)
        if shell.card_is_seen:
            shell.happened(Event.CARD_ON_WAY_BACK if is_back else Event.CARD_ON_TARGET)
        elif is_back:
            shell.happened(Event.ATTACHED_BACK)
        shell.tick()
    if shell.card_is_seen:
        shell.happened(Event.CARD_ON_WAY_BACK)
    shell.happened(Event.ATTACHED_BACK)
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
    assert switch.why_back(phase, Event.DEADLINE, Registration(state, data), card_was_seen=True) == reason
    assert switch.why_back(phase, Event.DEADLINE, Registration(state, data), card_was_seen=False) == "card_unreadable"
    other = switch.why_back(phase, Event.DEADLINE, Registration(state, data), card_was_seen=False, is_other_card=True)
    assert other == "other_card"


def test_a_way_back_has_the_time_of_a_switch_and_the_previous_one_longer_in_the_end() -> None:
    assert [switch.turn_s(600, turns, is_previous=True) for turns in (0, 2, 3)] == [600, 600, switch.TURN_SLOW_S]
    assert switch.turn_s(600, 9, is_previous=False) == 600


def test_going_back_is_tried_often_then_slowly_and_without_a_wait_while_nothing_is_enabled() -> None:
    waits = [switch.return_wait_s(attempts, at_once=False) for attempts in range(1, 14)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 600, 600]
    assert switch.return_wait_s(3, at_once=True) == 0


def test_the_deadline_starts_anew_three_times_only() -> None:
    assert [switch.boot_event(boots) for boots in (1, 2, 3, 4)] == [*[Event.BOOTED] * 3, Event.BOOTED_TOO_OFTEN]


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


STRIDE = 41
"""So many steps apart, after the first ten: ``make faults-switch`` takes them all."""


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
