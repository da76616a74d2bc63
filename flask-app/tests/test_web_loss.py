"""The REST API of the loss ledger and the dead letters, on a real store."""

from __future__ import annotations

import base64

import cbor2
import pytest
from simway_flask_app.store import letters
from simway_protocol.messages import DeadLetter
from simway_protocol.readings import Reading
from simway_testing.web_site import API, DEVICE, Site

COUNTS = ("stored", "duplicate", "conflict", "dropped", "missing")


def put_aside(site: Site, *found: DeadLetter) -> list[int]:
    with site.store.transaction() as connection:
        letters.keep(connection, found, site.now_us())
    return [one.letter_id for one in site.store.dead_letters().letters]


def refused(site: Site, sensor: str = "t", reason: str = "too_many") -> DeadLetter:
    return DeadLetter(
        "admit", reason, site.now_us(), DEVICE, "udp", "aa", 7, "more than 500", Reading(sensor, site.now_us(), 1.0)
    )


def test_a_device_has_its_epochs_and_what_the_log_lost_beside_the_balance(site: Site) -> None:
    site.measure("t", 1.0, 2.0)
    body = site.client.get(f"{API}/devices/{DEVICE}/loss").get_json()
    assert body["balanced"]
    assert body["sent"] == sum(body[name] for name in COUNTS) + sum(body["rejected"].values()) == 2
    [epoch] = body["epochs"]
    assert (epoch["epoch"], epoch["sent"], epoch["floor"], epoch["missing_ranges"]) == ("00000000000000aa", 2, 0, [])
    assert body["log_gaps"] == body["missing_ranges"] == []


def test_the_fleet_in_pages(site: Site) -> None:
    for name in ("a", "b", "c"):
        site.enrol(name)
        site.store_readings([Reading("t", site.now_us(), 1.0)], device=name)
    first = site.client.get(f"{API}/loss?limit=2").get_json()
    assert [row["device"] for row in first["devices"]] == ["a", "b"]
    totals = first["totals"]
    assert (totals["stored"], totals["devices"], totals["unbalanced_devices"], totals["balanced"]) == (3, 3, 0, True)
    rest = site.client.get(f"{API}/loss?limit=2&cursor={first['next_cursor']}").get_json()
    assert ([row["device"] for row in rest["devices"]], rest["next_cursor"]) == (["c"], None)
    missing = site.client.get(f"{API}/loss?only=missing").get_json()
    assert [(row["device"], row["missing"]) for row in missing["devices"]] == [("b", 1), ("c", 2)]
    assert totals["missing_devices"] == 2
    assert site.client.get(f"{API}/loss?only=unbalanced").get_json()["devices"] == []
    assert site.client.get(f"{API}/loss?only=lost").status_code == 422
    assert site.client.get(f"{API}/loss?cursor=x").get_json()["reason"] == "bad_cursor"


def test_dead_letters_are_listed_counted_and_shown(site: Site) -> None:
    raw = cbor2.dumps({0: "t", 2: float("nan")})
    put_aside(site, refused(site), DeadLetter("admit", "not_finite", site.now_us(), DEVICE, payload=raw))
    page = site.client.get(f"{API}/dead-letters?device={DEVICE}").get_json()
    newest, oldest = page["dead_letters"]
    assert (oldest["reason"], oldest["seq"], oldest["reading"]["sensor"], oldest["replayed_at"]) == ("too_many", 7, "t", None)
    assert (newest["reading"], newest["payload_bytes"]) == (None, len(raw))
    whole = site.client.get(f"{API}/dead-letters/{newest['id']}").get_json()
    assert (whole["payload_form"], whole["payload"]) == ("cbor", {"n": "t", "v": "nan"})
    assert base64.b64decode(whole["payload_base64"]) == raw
    counts = site.client.get(f"{API}/dead-letters/counts").get_json()
    assert counts == {"total": 2, "by_reason": {"not_finite": 1, "too_many": 1}}
    only = site.client.get(f"{API}/dead-letters?reason=not_finite&source=admit&limit=1").get_json()
    assert [row["id"] for row in only["dead_letters"]] == [newest["id"]]


@pytest.mark.parametrize("letter", ["0", "999", "x", "-1", "9" * 30, "١"])
def test_a_letter_that_is_not_there(site: Site, letter: str) -> None:
    for answer in (site.client.get(f"{API}/dead-letters/{letter}"), site.client.post(f"{API}/dead-letters/{letter}/replay")):
        assert (answer.status_code, answer.get_json()["reason"]) == (404, "unknown_letter")


def test_a_replay_is_queued_once(site: Site) -> None:
    [letter] = put_aside(site, refused(site))
    first, second = (site.client.post(f"{API}/dead-letters/{letter}/replay") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json() == second.get_json()
    assert first.get_json()["replayed_by"] == "api"
    trail = site.client.get(f"{API}/audit?kind=letter.replayed").get_json()["entries"]
    assert [(entry["device"], entry["subject"], entry["detail"]["reason"]) for entry in trail] == [
        (DEVICE, str(letter), "too_many")
    ]


def test_what_cannot_be_replayed_is_answered_with_the_reason(site: Site) -> None:
    [letter] = put_aside(site, refused(site, sensor="no name", reason="bad_sensor"))
    answer = site.client.post(f"{API}/dead-letters/{letter}/replay")
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "bad_sensor")
    assert site.client.get(f"{API}/audit?kind=letter.replayed").get_json()["entries"] == []
    assert site.client.get(f"{API}/dead-letters/{letter}").get_json()["replayed_at"] is None


def test_strangers_see_nothing(site: Site) -> None:
    for path in ("/loss", "/dead-letters", "/dead-letters/counts", "/dead-letters/1"):
        assert site.stranger.get(API + path).status_code == 401
    assert site.stranger.post(f"{API}/dead-letters/1/replay").status_code == 401
