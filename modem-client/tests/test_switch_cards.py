"""The switch and cards that lose answers, are busy or pulled, refuse a name or a REFRESH, or stumble between two profiles."""

from __future__ import annotations

from typing import Any

import pytest
from simway_modem_client.journal import CommandRecord, OpenSwitch
from simway_protocol.commands import FLAG_FORCE, Kind
from simway_protocol.sim import apdu
from simway_protocol.sim.card import CardGone
from simway_protocol.sim.es10c import DisableProfile, EnableProfile, EnableResult, ProfileId


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
