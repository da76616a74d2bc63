"""Plans, words and changes as values; a switch by hand on the virtual SIM with everything that may go wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_modem_client.card import Card, CardGone, SimCard, open_card
from simway_modem_client.desk import words
from simway_modem_client.desk.facts import read_facts
from simway_modem_client.desk.interrupts import held_off
from simway_modem_client.desk.plan import REFUSALS, Unclear, choose, key_survives, make_plan
from simway_modem_client.desk.switch import HandSwitch, Outcome
from simway_modem_client.desk.switch_words import outcome_line, plan_lines
from simway_modem_client.desk.watch import View, changes, follow
from simway_protocol.messages import KEEP_ENABLED, KEEP_INSTALLED, Profile
from simway_protocol.sim.es10b import Notification, Operation
from simway_protocol.sim.es10c import ProfileId
from simway_protocol.sim.transport import Processor
from simway_protocol.sim.uicc import Uicc

A, B, C, T = (f"899990{number}000000000{number:03}" for number in range(1, 5))


def profile(iccid: str, provider: str, **more: Any) -> Profile:
    return Profile(iccid=iccid, aid=f"A00000055910{iccid[-2:]}", state=more.pop("state", "disabled"), provider=provider, **more)


NORTH = profile(A, "Northwind Mobile", name="Northwind IoT", state="enabled")
BLUE = profile(B, "Blue Harbour", nickname="summer")
BLUE_2 = profile(C, "Blue Mountain", fallback=True)
TEST = profile(T, "Laboratory", profile_class="test")
CARD = (NORTH, BLUE, BLUE_2, TEST)


# --- the plan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        (A, NORTH), (BLUE.aid.lower(), BLUE), ("summer", BLUE), ("SUM", BLUE), ("blue harbour", BLUE), ("north", NORTH),
        ("northwind iot", NORTH), (" Blue M", BLUE_2), (T[:9], TEST),
    ],
)  # fmt: skip
def test_a_profile_is_named_in_any_way_that_names_one(word: str, meant: Profile) -> None:
    assert choose(CARD, word) is meant


@pytest.mark.parametrize(
    ("word", "said"), [("blue", f"names 2 profiles.*{B} summer; {C}"), ("mars", "is called 'mars'"), ("", "is called")]
)
def test_a_word_that_names_none_or_several_is_refused_with_what_there_is(word: str, said: str) -> None:
    with pytest.raises(Unclear, match=said):
        choose(CARD, word)
    with pytest.raises(Unclear, match="no eUICC"):
        choose((), A)


def refusal(wanted: str = B, profiles: tuple[Profile, ...] = CARD, **changed: Any) -> str:
    given = {"key_survives": True, "switch_open": False, "forced": False, **changed}
    return make_plan(profiles, given.pop("active", A), wanted, **given).refusal


def test_what_a_switch_is_refused_for() -> None:
    assert refusal() == ""
    assert refusal(A) == "already_enabled"
    assert refusal(T) == "test_profile"
    assert refusal(T, forced=True) == ""
    assert refusal(switch_open=True) == "switch_open"
    assert refusal(key_survives=False) == "key_would_be_out_of_reach"
    bound = profile(A, "Northwind Mobile", state="enabled", rules=[KEEP_ENABLED])
    assert refusal(profiles=(bound, BLUE)) == "policy"
    assert refusal(profiles=(BLUE, TEST), active="") == "no_way_back"
    assert all(reason in REFUSALS for reason in ("policy", "no_way_back", "already_enabled", "test_profile", "not_an_euicc"))


def test_the_ways_back_begin_with_where_it_comes_from_and_the_fallback() -> None:
    assert make_plan(CARD, A, B, key_survives=True, switch_open=False, forced=False).ways_back == (A, C)


@pytest.mark.parametrize(
    ("provider", "level", "applet", "survives"),
    [
        ("file", "profile", True, True),
        ("card", "card", True, True),
        ("card", "profile", True, False),
        ("card", "profile", False, True),
    ],
)
def test_where_the_key_survives(provider: str, level: str, applet: bool, survives: bool) -> None:
    assert key_survives(provider, level, applet) is survives


# --- words ---------------------------------------------------------------------------------------------------------------

FACTS = {
    "eid": "8" * 32, "refused": "", "active_iccid": A, "imsi": "999701234567890", "profiles": 4,
    "profile": {"iccid": A, "nickname": "", "name": "n", "provider": "Northwind"},
    "test_profiles": 1, "os_version": "2.1", "smdp": "smdp.example", "notifications": 2,
    "euicc": {"sgp22": "2.2.2", "profile_package": "2.3.1", "free_bytes": 5_000_000}, "applet_key_version": None, "atr": "3B00",
}  # fmt: skip


def test_a_card_in_words() -> None:
    assert words.info_lines(FACTS).splitlines() == [
        "card      eUICC, OS 2.1, SGP.22 2.2.2, profile packages 2.3.1", f"EID       {'8' * 32}",
        f"ICCID     {A} (Northwind)", "IMSI      999701234567890",
        "profiles  4, 1 of them of class test: a risk in the field", "memory    4,882 KiB free for profiles",
        "SM-DP+    smdp.example", "waiting   2 notifications for the operators' servers",
        "key       no Simway applet on this card: the key belongs into a file (KEY_PROVIDER=file)", "ATR       3B00 (T=0)",
    ]  # fmt: skip
    plain = FACTS | {"eid": "", "profile": None, "imsi": "", "euicc": None, "smdp": "", "notifications": None, "atr": ""}
    said = words.info_lines(plain)
    assert "a plain SIM, no eUICC" in said
    assert "behind a PIN" in said
    assert "ATR" not in said
    assert "memory" not in said
    assert "SGP.02" in words.info_lines(plain | {"refused": "STORE DATA block 0: 6A80"})
    empty = words.info_lines(FACTS | {"active_iccid": "", "profile": None})
    assert "no profile is enabled: the device is cut off; simway-modem sim switch" in empty
    assert "still without a key" in words.key_words(0)
    assert words.atr_words("3BFF").endswith("(not well formed)")


def test_profiles_as_a_table() -> None:
    def plain(one: Profile, **changed: Any) -> dict[str, Any]:
        return {name: getattr(one, name) for name in one.__struct_fields__} | changed

    lines = words.profile_table([plain(NORTH, rules=[KEEP_ENABLED, KEEP_INSTALLED]), plain(BLUE_2), plain(TEST)]).splitlines()
    assert lines[0].split() == ["ICCID", "state", "class", "provider", "name", "notes"]
    assert lines[1].startswith(f"*  {A}  enabled ")
    assert lines[1].endswith("may not be disabled, may not be deleted")
    assert lines[2].endswith("fallback")
    assert lines[3].endswith("TEST PROFILE: a risk in the field")
    assert "no eUICC" in words.profile_table([])


def test_readers_as_a_table() -> None:
    seen = {"reader": "R 0", "card": "yes", "iccid": A, "provider": "Northwind", "trouble": ""}
    lines = words.reader_table(
        [seen, {"reader": "R 1", "card": "no", "iccid": "", "provider": "", "trouble": "held"}]
    ).splitlines()
    assert lines[1].split() == ["R", "0", "yes", A, "Northwind"]
    assert lines[2].split() == ["R", "1", "no", "-", "held"]
    assert words.reader_table([]) == "no reader; plug one in\n"


def test_a_switch_in_words() -> None:
    plan = make_plan(CARD, A, B, key_survives=True, switch_open=False, forced=False)
    assert plan_lines(plan) == [
        f"from     {A} (Northwind Mobile)",
        f"to       {B} (summer), operational",
        f"way back {A}, then {C}",
    ]

    def line(result: str, active: str = "", cause: str = "") -> str:
        return outcome_line(Outcome(result, active, "", cause, {}), plan)

    assert line("switched", B) == f"done     {B} (summer) is enabled; proof: card-only"
    assert line("unchanged", A, "cat_busy") == f"failed   the card stayed with {A} (cat busy)"
    assert line("returned", A, "wrong_profile") == f"failed   the card went back to {A} (wrong profile)"
    assert line("stuck").startswith("stuck    the card cannot be read, or has no profile enabled; see it with: ")
    assert line("stuck", C).startswith(f"stuck    the card shows {C}; see it with: ")


# --- watching ------------------------------------------------------------------------------------------------------------

HERE = View("", A, "8" * 32, CARD, (Notification(1, Operation.ENABLE, "smdp.example", A),))


def kinds(before: View | None, after: View) -> list[str]:
    return [change.kind for change in changes(before, after)]


def test_changes_between_two_looks() -> None:
    away = View(trouble="there is no card in R; put one in")
    assert kinds(None, away) == ["trouble"]
    assert kinds(away, away) == []
    assert kinds(None, HERE) == kinds(away, HERE) == ["in", "notification"]
    assert kinds(HERE, HERE) == []
    assert changes(HERE, away)[0].text == "card out: there is no card in R; put one in"
    switched = HERE._replace(iccid=B)
    (change,) = changes(HERE, switched)
    assert change.text == f"active profile: {A} (Northwind Mobile) -> {B} (summer)"
    assert changes(HERE, HERE._replace(iccid=""))[0].text.endswith("-> no profile")
    more = HERE._replace(profiles=(NORTH, profile(B, "Blue Harbour", nickname="winter"), profile("8" * 19, "New")))
    assert [change.text.split(":")[0] for change in changes(HERE, more)] == [
        "profile added", "profile deleted", "profile deleted", "profile renamed",
    ]  # fmt: skip
    told = HERE._replace(notifications=(*HERE.notifications, Notification(2, Operation.DISABLE, "smdp.example", A)))
    assert changes(HERE, told)[0].text == f"notification 2: disable {A} (Northwind Mobile)"
    assert kinds(HERE, HERE._replace(eid="9" * 32)) == ["in", "notification"], "another card"
    assert kinds(View("", A), View("", B)) == ["in"], "another plain SIM"


def test_a_watch_goes_on_for_as_long_as_it_may() -> None:
    views, waits = iter([HERE, HERE._replace(iccid=B), HERE._replace(iccid=B)]), iter([True, True, False])
    found = list(follow(lambda: next(views), lambda: next(waits)))
    assert [change.kind for change in found] == ["in", "notification", "active"]


# --- looking ---------------------------------------------------------------------------------------------------------------


class NoEs10(Processor):
    """An eUICC of another kind: there is an ISD-R, but it knows nothing of ES10."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        return (b"", 0x6A80) if apdu[1] == 0xE2 else super().transmit(apdu)


def test_an_euicc_without_the_consumer_functions_still_shows_who_it_is(tmp_path: Path) -> None:
    inner = open_card("virtual", {"state_file": str(tmp_path / "sim.json")})
    facts = read_facts(Uicc(NoEs10(inner), lambda: 0), b"")
    assert (facts["eid"], facts["profiles"]) == ("", 0)
    assert facts["imsi"].startswith("99970")
    assert "6A80" in facts["refused"]
    inner.close()


# --- a switch by hand ----------------------------------------------------------------------------------------------------

SIM_FILE = f"""
[[profiles]]
iccid = "{A}"
imsi = "999700000000001"
provider = "Northwind"
enabled = true
[[profiles]]
iccid = "{B}"
imsi = "999710000000002"
provider = "Blue"
[[profiles]]
iccid = "{C}"
imsi = "999720000000003"
provider = "Alpine"
fallback = true
[faults]
"""


class Hand:
    """A card with faults, and what a switch by hand said."""

    def __init__(self, directory: Path, faults: str) -> None:
        file = directory / "sim.toml"
        file.write_text(SIM_FILE + faults)
        self.open = lambda: open_card("virtual", {"state_file": str(directory / "sim.json"), "sim_file": str(file)})
        self.sim = SimCard(self.open)
        self.said: list[str] = []
        self.waits: list[float] = []

    def switch(self, wanted: str) -> Outcome:
        inventory = self.sim.use().inventory()
        profiles = tuple(info.message() for info in inventory.profiles)
        plan = make_plan(profiles, inventory.active_iccid, wanted, key_survives=True, switch_open=False, forced=False)
        assert plan.refusal == ""
        return HandSwitch(self.sim, self.said.append, self.waits.append).run(plan)

    def enabled(self) -> list[str]:
        return [info.iccid for info in self.sim.use().profiles() if info.enabled]


@pytest.fixture
def hand(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hand]:
    opened = Hand(tmp_path, getattr(request, "param", ""))
    yield opened
    opened.sim.drop()


def test_a_switch_by_hand_step_by_step(hand: Hand) -> None:
    outcome = hand.switch("Blue")
    assert (outcome.result, outcome.active, outcome.imsi, outcome.cause) == ("switched", B, "999710000000002", "")
    assert hand.said == ["enable   by ICCID, with REFRESH: ok", f"look     reset, the card shows ICCID {B}, IMSI 999710000000002"]
    assert outcome.evidence["proof"] == "card-only"
    assert {"enable", "reset_and_read"} <= outcome.evidence["timings_ms"].keys()
    assert hand.enabled() == [B]


@pytest.mark.parametrize(
    ("hand", "tries"),
    [
        ("refuse_iccid = true", [("iccid", True, "not_found"), ("aid", True, "ok")]),
        ("cat_busy_times = 2", [("iccid", True, "cat_busy"), ("iccid", True, "cat_busy"), ("iccid", True, "ok")]),
        ("refuse_refresh = true", [("iccid", True, "undefined"), ("aid", True, "undefined"), ("iccid", False, "ok")]),
    ],
    indirect=["hand"],
)
def test_a_card_with_quirks_is_switched_all_the_same(hand: Hand, tries: list[tuple[str, bool, str]]) -> None:
    outcome = hand.switch("Blue")
    assert (outcome.result, outcome.active) == ("switched", B)
    assert [(tried["by"], tried["refresh"], tried["result"]) for tried in outcome.evidence["tries"]] == tries
    assert hand.enabled() == [B]


@pytest.mark.parametrize("hand", ["lose_response_after_enable = 1"], indirect=True)
def test_a_lost_answer_is_settled_by_looking(hand: Hand) -> None:
    outcome = hand.switch("Blue")
    assert (outcome.result, outcome.active) == ("switched", B)
    assert any("answer lost; what the card shows decides" in line for line in hand.said)


@pytest.mark.parametrize("hand", ["no_reset_after_refresh = true"], indirect=True)
def test_a_card_that_shows_its_old_files_is_taken_up_anew(hand: Hand) -> None:
    assert hand.switch("Blue").active == B
    assert hand.enabled() == [B]


class Confused(Processor):
    """A card that takes one profile for another."""

    def __init__(self, inner: Card, asked: str, taken: str) -> None:
        super().__init__(inner)
        self._asked, self._taken = ProfileId.of(asked).value, ProfileId.of(taken).value

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        return super().transmit(apdu.replace(self._asked, self._taken) if b"\xbf\x31" in apdu else apdu)


def test_a_card_that_enables_another_profile_is_brought_back(hand: Hand, tmp_path: Path) -> None:
    hand.sim = SimCard(lambda: Confused(hand.open(), B, C))
    outcome = hand.switch("Blue")
    assert (outcome.result, outcome.active, outcome.cause) == ("returned", A, "card_did_not_switch")
    assert hand.said[2] == f"going back to {A} (Northwind)"
    assert hand.enabled() == [A]


class Pulled(Processor):
    """A card that is pulled when it is asked to enable, and not put back."""

    gone = False

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        Pulled.gone = Pulled.gone or b"\xbf\x31" in apdu
        if Pulled.gone:
            raise CardGone("pulled")
        return super().transmit(apdu)

    def reset(self) -> bytes:
        return self.transmit(b"") and super().reset()


def test_a_card_that_stays_away_ends_stuck_after_many_looks(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pulled, "gone", False)
    inner = hand.open
    hand.sim = SimCard(lambda: Pulled(inner()))
    outcome = hand.switch("Blue")
    assert (outcome.result, outcome.active, outcome.cause) == ("stuck", "", "answer_lost")
    assert len(hand.waits) > 20
    assert any("waiting for it" in line for line in hand.said)
    hand.sim = SimCard(inner)
    assert hand.enabled() == [A]


def test_ctrl_c_waits_for_the_end_of_a_switch_once() -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with held_off(said.append):
        signal.raise_signal(signal.SIGINT)
        assert said[0].strip().startswith("finishing first")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with held_off(said.append):
        pass
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("cut", [f"power_cut_{when}_write = {k}" for when in ("before", "after") for k in (1, 2, 3, 4)])
def test_a_power_cut_at_any_write_leaves_one_profile_enabled(tmp_path: Path, cut: str) -> None:
    hand = Hand(tmp_path, cut)
    try:
        outcome = hand.switch("Blue")
    except CardGone:
        hand.sim.drop()
        hand = Hand(tmp_path, "")
        outcome = hand.switch("Blue")
    assert outcome.result in ("switched", "unchanged", "returned")
    assert hand.enabled() == [outcome.active]
    hand.sim.drop()
