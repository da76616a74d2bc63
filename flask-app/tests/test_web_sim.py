"""The REST API of twins, alarms and the audit trail; and the rules before a switch, as a caller meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simway_flask_app.anchors import Anchors, Noted, raise_alarm
from simway_flask_app.ledger import Event
from simway_flask_app.store import registry, twins
from simway_flask_app.store.port import StoreError
from simway_flask_app.trail import EMPTY, Head, is_signed
from simway_flask_app.web.problems import FAILED
from simway_protocol.identity import derive_device_key
from simway_protocol.messages import KEEP_ENABLED, Inventory, Profile
from simway_protocol.sim.report import SwitchWord
from simway_testing.web_site import API, DEVICE, ICCIDS, Site

COMMANDS = f"{API}/devices/{DEVICE}/commands"
SIM = f"{API}/devices/{DEVICE}/sim"
ALPHA, BETA, GAMMA = ICCIDS
EID = "89049032000001000000012345678901"
SWITCH = {"kind": "switch", "iccid": BETA}
HEAD = {"seq": 0, "hash": "00" * 32}
FORCE = {"force": True, "reason": "on the bench, with a cable"}


def report(site: Site, *profiles: Profile, active: str = ALPHA, generation: int = 1) -> None:
    with site.store.deciding() as connection:
        now_us = site.now_us()
        registry.note_inventory(
            connection, Inventory(DEVICE, "udp", generation, now_us, EID, active, list(profiles), "3.1.0", "smdp.example.com")
        )
        twins.note_report(connection, DEVICE, now_us)


def profile(iccid: str, profile_class: str = "operational", **more: Any) -> Profile:
    state = "enabled" if iccid == ALPHA else "disabled"
    return Profile(iccid, "a0", state, f"Carrier {iccid[-1]}", profile_class=profile_class, **more)


THREE = tuple(profile(iccid) for iccid in ICCIDS)


def refusal(response: Any) -> tuple[int, str]:
    body = response.get_json()
    assert body["type"] == f"urn:simway:problem:{body['reason']}"
    assert body["status"] == response.status_code
    assert len(body["detail"]) > 60, "it says what to do"
    return response.status_code, body["reason"]


# --- the rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profiles", "reason", "forcible"),
    [
        (THREE[:2], "no_fallback", True),
        ((profile(ALPHA), profile(BETA, "test"), profile(GAMMA)), "test_profile", True),
        ((profile(ALPHA, rules=[KEEP_ENABLED]), *THREE[1:]), "policy", False),
    ],
)
def test_a_switch_that_a_rule_forbids_is_refused_unless_a_person_has_a_reason(
    site: Site, profiles: tuple[Profile, ...], reason: str, forcible: bool
) -> None:
    report(site, *profiles)
    assert refusal(site.client.post(COMMANDS, json=SWITCH)) == (409, reason)
    forced = site.client.post(COMMANDS, json=SWITCH | FORCE)
    if not forcible:
        assert refusal(forced) == (409, reason)
        return
    body = forced.get_json()
    assert (forced.status_code, body["forced"], body["force_reason"]) == (202, True, FORCE["reason"])
    assert body["test_profile"] == (reason == "test_profile")
    assert body["target"]["profile_class"] == ("test" if reason == "test_profile" else "operational")
    kinds = [entry["kind"] for entry in site.client.get(f"{API}/audit").get_json()["entries"]]
    assert kinds[:3] == ["command.forced", "command.accepted", "command.refused"]


@pytest.mark.parametrize(
    "body",
    [
        SWITCH | {"force": True}, SWITCH | {"force": True, "reason": " "}, SWITCH | {"reason": "because"},
        SWITCH | {"force": True, "reason": "…!"},
        SWITCH | {"force": True, "reason": "a\nb"}, SWITCH | {"force": True, "reason": "x" * 501}, {"kind": "ping"} | FORCE,
    ],
)  # fmt: skip
def test_force_and_its_reason_come_together(site: Site, body: Any) -> None:
    report(site, *THREE)
    response = site.client.post(COMMANDS, json=body)
    assert (response.status_code, response.get_json()["reason"]) == (422, "bad_request")


def test_one_switch_at_a_time_and_so_many_a_day(tmp_path: Path) -> None:
    site = Site(tmp_path, switches_per_day=2)
    site.enrol()
    report(site, *THREE)
    for _ in range(2):
        queued = site.client.post(COMMANDS, json=SWITCH).get_json()
        assert refusal(site.client.post(COMMANDS, json={"kind": "switch", "iccid": GAMMA} | FORCE)) == (409, "device_busy")
        site.happen(queued["id"], Event.SENT, Event.ROLLED_BACK)
    capped = site.client.post(COMMANDS, json=SWITCH | FORCE)
    assert refusal(capped) == (429, "daily_cap")
    assert 86_390 <= int(capped.headers["Retry-After"]) <= 86_400
    assert site.client.post(COMMANDS, json={"kind": "ping"}).status_code == 202
    site.close()


def test_without_an_inventory_only_force_switches(site: Site) -> None:
    assert refusal(site.client.post(COMMANDS, json=SWITCH)) == (409, "no_inventory")
    assert site.client.post(COMMANDS, json=SWITCH | FORCE).status_code == 202


# --- the twin ------------------------------------------------------------------------------------------------------------


def test_the_twin_shows_what_is_and_what_shall_be(site: Site) -> None:
    empty = site.client.get(SIM).get_json()
    assert (empty["reported"], empty["desired"], empty["alarms"], empty["sim_word"]) == (None, None, [], None)
    report(site, profile(ALPHA, fallback=True, rules=["delete_not_allowed"]), profile(BETA, "test"))
    shown = site.client.get(SIM).get_json()
    assert shown["active_iccid"] == ALPHA
    assert (shown["reported"]["os_version"], shown["reported"]["smdp"]) == ("3.1.0", "smdp.example.com")
    assert [(item["fallback"], item["rules"], item["profile_class"]) for item in shown["reported"]["profiles"]] == [
        (True, ["delete_not_allowed"], "operational"), (False, [], "test"),
    ]  # fmt: skip
    assert (shown["desired"]["iccid"], shown["desired"]["source"], shown["desired"]["profiles"]) == (
        ALPHA,
        "report",
        [ALPHA, BETA],
    )


def test_what_is_desired_raises_and_ends_alarms(site: Site) -> None:
    report(site, *THREE)
    shown = site.client.put(f"{SIM}/desired", json={"iccid": BETA, "eid": EID[::-1]}).get_json()
    assert (shown["desired"]["source"], shown["desired"]["iccid"]) == ("person", BETA)
    assert [alarm["kind"] for alarm in shown["alarms"]] == ["eid_changed", "active_profile"]
    device = site.client.get(f"{API}/devices/{DEVICE}").get_json()
    listed = site.client.get(f"{API}/devices").get_json()["devices"][0]
    assert device["alarms"] == listed["alarms"] == shown["alarms"]
    page = site.client.get(f"{API}/alarms", query_string={"device": DEVICE}).get_json()
    assert sorted(page["alarms"], key=lambda alarm: alarm["id"]) == shown["alarms"]
    assert site.client.put(f"{SIM}/desired", json={}).get_json()["alarms"] == []
    assert site.client.get(f"{API}/alarms").get_json()["alarms"] == []
    over = site.client.get(f"{API}/alarms", query_string={"state": "over", "limit": 1}).get_json()
    assert over["alarms"][0]["over_at"]
    more = site.client.get(f"{API}/alarms", query_string={"state": "all", "cursor": over["next_cursor"]}).get_json()
    assert len(more["alarms"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"iccid": "8988211000000000099"}, 404, "unknown_profile"),
        ({"fallback_iccid": GAMMA}, 422, "bad_request"),
        ({"iccid": "12"}, 422, "bad_request"),
        ({"eid": "12"}, 422, "bad_request"),
        ({"eid": EID + "\n"}, 422, "bad_request"),
        ({"profile": BETA}, 422, "bad_request"),
    ],
)
def test_what_cannot_be_desired_is_refused(site: Site, body: Any, status: int, reason: str) -> None:
    report(site, profile(ALPHA), profile(BETA), profile(GAMMA, "test"))
    response = site.client.put(f"{SIM}/desired", json=body)
    assert (response.status_code, response.get_json()["reason"]) == (status, reason)


def test_the_fallback_attribute_of_the_active_profile_is_no_way_back(site: Site) -> None:
    report(site, profile(ALPHA, fallback=True), profile(BETA))
    assert refusal(site.client.post(COMMANDS, json=SWITCH)) == (409, "no_fallback")


def test_a_switch_whose_end_is_unknown_is_cleared_up_before_the_next(site: Site) -> None:
    report(site, *THREE)
    first = site.client.post(COMMANDS, json=SWITCH).get_json()
    site.happen(first["id"], Event.SENT, Event.LAPSE)
    response = site.client.post(COMMANDS, json=SWITCH)
    assert refusal(response) == (409, "device_busy")
    assert response.get_json()["forcible"]
    assert "audit" in response.get_json()["detail"]
    second = site.client.post(COMMANDS, json=SWITCH | FORCE).get_json()
    assert second["state"] == "QUEUED"
    busy = site.client.post(COMMANDS, json=SWITCH | FORCE)
    assert refusal(busy) == (409, "device_busy")
    assert "forcible" not in busy.get_json()
    alarms = site.client.get(SIM).get_json()["alarms"]
    assert [(alarm["kind"], alarm["subject"]) for alarm in alarms] == [("journal_open", first["id"])]


# --- the SIM's own word --------------------------------------------------------------------------------------------------


def test_the_sims_own_word_stands_beside_the_modems(site: Site) -> None:
    report(site, *THREE)
    key = derive_device_key(site.config.master_secret, DEVICE, 1)
    site.measure("sim/switch", SwitchWord.sealed(key, 6, GAMMA).value(), t_us=site.now_us() - 3600_000_000)
    queued = site.client.post(COMMANDS, json=SWITCH).get_json()
    assert site.client.get(f"{COMMANDS}/{queued['id']}").get_json()["sim_word"] is None, "that was before this switch"
    site.measure("sim/switch", SwitchWord.sealed(key, 7, BETA).value())
    site.measure("sim/switch", {"n": 8, "iccid": GAMMA, "mac": "00" * 16})
    site.measure("sim/switch", "no word")
    word = site.client.get(f"{COMMANDS}/{queued['id']}").get_json()["sim_word"]
    assert (word["iccid"], word["n"], word["verified"]) == (BETA, 7, True), "one that is not verified does not hide one that is"
    site.measure("sim/switch", {"n": 9, "iccid": GAMMA, "mac": "00" * 16})
    told = site.client.get(SIM).get_json()["sim_word"]
    assert (told["iccid"], told["n"], told["verified"]) == (GAMMA, 9, False)


def test_each_switch_has_the_word_of_its_own_time(site: Site) -> None:
    report(site, *THREE)
    key = derive_device_key(site.config.master_secret, DEVICE, 1)
    ids = []
    for n, iccid in enumerate((BETA, GAMMA), 1):
        queued = site.client.post(COMMANDS, json={"kind": "switch", "iccid": iccid}).get_json()
        site.measure("sim/switch", SwitchWord.sealed(key, n, iccid).value())
        site.happen(queued["id"], Event.SENT, Event.ROLLED_BACK)
        ids.append(queued["id"])
    words = [site.client.get(f"{COMMANDS}/{command}").get_json()["sim_word"]["iccid"] for command in ids]
    assert words == [BETA, GAMMA]


# --- the audit trail -----------------------------------------------------------------------------------------------------


def test_the_trail_is_listed_and_verified(site: Site) -> None:
    report(site, *THREE)
    queued = site.client.post(COMMANDS, json=SWITCH).get_json()
    site.client.post(f"{COMMANDS}/{queued['id']}/cancel")
    site.client.patch(f"{API}/devices/{DEVICE}", json={"status": "revoked"})
    entries = site.client.get(f"{API}/audit", query_string={"device": DEVICE}).get_json()["entries"]
    assert [entry["kind"] for entry in entries] == [
        "device.status", "command.cancel_requested", "command.accepted", "desired.changed", "device.enrolled",
    ]  # fmt: skip
    assert entries[2]["subject"] == queued["id"]
    assert entries[2]["detail"]["target_iccid"] == BETA
    page = site.client.get(f"{API}/audit", query_string={"kind": "device.status", "limit": 1}).get_json()
    assert (page["entries"], page["next_cursor"]) == (entries[:1], None)
    assert site.client.get(f"{API}/audit", query_string={"to": entries[-1]["t_us"]}).get_json()["entries"] == []
    verdict = site.client.get(f"{API}/audit/verify").get_json()
    assert (verdict["ok"], verdict["count"], verdict["broken"]) == (True, 5, None)
    assert verdict["head"] == {"seq": 5, "hash": entries[0]["hash"]}


def test_one_verification_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first is under way."""
    told: list[Any] = []
    verify = site.store.verify_audit

    def meanwhile(*given: Any) -> Any:
        told.extend((site.client.get(f"{API}/audit/verify"), site.client.post(f"{API}/audit/verify", json=HEAD)))
        return verify(*given)

    monkeypatch.setattr(site.store, "verify_audit", meanwhile)
    assert site.client.get(f"{API}/audit/verify").get_json()["ok"] is True
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in told] == [(429, "5")] * 2
    monkeypatch.undo()
    assert site.client.get(f"{API}/audit/verify").status_code == 200


def test_the_platforms_own_alarms_are_asked_for_apart(site: Site) -> None:
    report(site, profile(ALPHA))
    report(site, profile(BETA), active=BETA)
    with site.store.deciding() as connection:
        raise_alarm(connection, Head(7, "00" * 32), site.now_us())
    (alarm,) = site.client.get(f"{API}/alarms", query_string={"scope": "platform"}).get_json()["alarms"]
    assert (alarm["device"], alarm["kind"]) == ("", "audit_trail")
    assert len(site.client.get(f"{API}/alarms").get_json()["alarms"]) == 4
    both = site.client.get(f"{API}/alarms", query_string={"scope": "platform", "device": DEVICE})
    assert both.status_code == 422


def test_what_the_driver_says_stays_here(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError('relation "alarms" of user simway does not exist')

    monkeypatch.setattr(site.store, "alarms", refuse)
    response = site.client.get(f"{API}/alarms")
    assert (response.status_code, response.get_json()["detail"]) == (500, FAILED)


def test_who_noted_a_head_needs_to_trust_nobody(site: Site) -> None:
    noted = site.client.get(f"{API}/audit/verify").get_json()["head"]
    assert site.client.post(f"{API}/audit/verify", json=noted).get_json()["ok"] is True
    verdict = site.client.post(f"{API}/audit/verify", json=noted | {"hash": "00" * 32}).get_json()
    assert (verdict["ok"], verdict["broken"]["seq"], verdict["broken"]["problem"]) == (False, 1, "anchor")
    for wrong in ({"seq": -1, "hash": "00" * 32}, {"seq": 1, "hash": "00"}, {"seq": 1}):
        assert site.client.post(f"{API}/audit/verify", json=wrong).status_code == 422


def test_a_signature_can_be_checked_with_the_public_key_alone(site: Site) -> None:
    from simway_flask_app.web.app import services_of

    Anchors(site.store, services_of(site.app).signer, Noted(EMPTY), now_us=site.now_us).anchor()
    verdict = site.client.get(f"{API}/audit/verify").get_json()
    signed = verdict["signed"]
    assert is_signed(verdict["public_key"], Head(signed["seq"], signed["hash"]), signed["signature"])
    assert not is_signed(verdict["public_key"], Head(signed["seq"] + 1, signed["hash"]), signed["signature"])


def test_the_trail_takes_the_token_like_everything_else(site: Site) -> None:
    for path in ("/alarms", "/audit", "/audit/verify", f"/devices/{DEVICE}/sim"):
        assert site.stranger.get(API + path).status_code == 401
