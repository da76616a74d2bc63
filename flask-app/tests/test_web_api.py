"""The REST API on a real store: what it answers, and what it says when it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from simway_flask_app.ledger import Event
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.web import limits
from simway_protocol.identity import derive_device_key
from simway_protocol.readings import Reading
from simway_testing.web_site import API, DEVICE, ICCIDS, Site, problem

# --- devices -----------------------------------------------------------------------------------------------------------


def test_a_new_device_is_shown_its_key_once(site: Site) -> None:
    response = site.client.post(f"{API}/devices", json={"id": "pump:7", "name": "Pump 7"})
    assert response.status_code == 201
    assert response.headers["Location"] == f"{API}/devices/pump:7"
    body = response.get_json()
    assert body["key"] == {"version": 1, "hex": derive_device_key(site.config.master_secret, "pump:7", 1).hex()}
    shown = site.client.get(response.headers["Location"]).get_json()
    assert shown == body["device"]
    assert "key" not in shown
    problem(site.client.post(f"{API}/devices", json={"id": "pump:7"}), 409, "device_exists")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 65, "a\n", 7, None])
def test_what_is_no_device_id_is_refused(site: Site, name: Any) -> None:
    problem(site.client.post(f"{API}/devices", json={"id": name}), 422, "bad_request")


def test_devices_come_page_by_page(site: Site) -> None:
    for number in range(5):
        site.enrol(f"d{number}")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = site.client.get(f"{API}/devices", query_string={"limit": 2} | ({"cursor": cursor} if cursor else {})).get_json()
        assert len(page["devices"]) <= 2
        seen += [device["id"] for device in page["devices"]]
        cursor = page["next_cursor"]
    assert seen == ["d0", "d1", "d2", "d3", "d4", "demo"]


def test_a_device_shows_its_session_inventory_and_the_newer_word_on_its_carrier(site: Site) -> None:
    device = f"{API}/devices/{DEVICE}"
    assert site.client.get(device).get_json()["active_carrier"] is None
    site.hold(ICCIDS[0])
    site.attach(ICCIDS[1])
    body = site.client.get(device).get_json()
    assert body["session"]["attached"] is True
    assert body["active_carrier"]["iccid"] == ICCIDS[1]
    assert body["active_carrier"]["provider"] == "Azul Telecom"
    assert body["active_carrier"]["source"] == "attach"
    assert [profile["active"] for profile in body["inventory"]["profiles"]] == [False, True, False]
    site.hold(ICCIDS[2])
    body = site.client.get(device).get_json()
    assert (body["active_carrier"]["iccid"], body["active_carrier"]["source"]) == (ICCIDS[2], "inventory")


def test_a_device_can_be_revoked_and_let_in_again(site: Site) -> None:
    for status in ("revoked", "active"):
        response = site.client.patch(f"{API}/devices/{DEVICE}", json={"status": status})
        assert response.get_json()["status"] == status
    problem(site.client.patch(f"{API}/devices/{DEVICE}", json={"status": "asleep"}), 422, "bad_request")


@pytest.mark.parametrize("path", ["", "/readings", "/readings/latest", "/commands", "/loss", "/commands/" + "0" * 32])
@pytest.mark.parametrize("device", ["nobody", "no such id", "%00"])
def test_an_unknown_device_is_404_everywhere(site: Site, device: str, path: str) -> None:
    response = site.client.get(f"{API}/devices/{device}{path}")
    assert response.get_json()["reason"] in {"unknown_device", "unknown_command"}
    assert response.status_code == 404


# --- readings ----------------------------------------------------------------------------------------------------------


def test_readings_by_sensor_range_order_and_page(site: Site) -> None:
    first_us = site.measure("cpu", *[float(number) for number in range(10)], unit="%")
    site.measure("mem", 1.0, t_us=first_us)
    url = f"{API}/devices/{DEVICE}/readings"

    def values(**query: Any) -> list[Any]:
        return [reading["value"] for reading in site.client.get(url, query_string=query).get_json()["readings"]]

    second = 1_000_000
    assert values(sensor="cpu") == list(range(10))
    assert values(sensor=["cpu", "mem"], limit=3) == [0, 1, 1]
    assert values(sensor="cpu", order="desc", limit=2) == [9, 8]
    assert values(**{"sensor": "cpu", "from": first_us + 3 * second, "to": first_us + 5 * second}) == [3, 4]
    assert values(sensor="other") == []
    page = site.client.get(url, query_string={"sensor": "cpu", "limit": 7}).get_json()
    rest = site.client.get(url, query_string={"sensor": "cpu", "limit": 7, "cursor": page["next_cursor"]}).get_json()
    assert [reading["value"] for reading in page["readings"] + rest["readings"]] == list(range(10))
    assert rest["next_cursor"] is None


def test_times_are_taken_as_text_or_number_and_given_as_both(site: Site) -> None:
    t_us = 1_767_225_600_123_456
    site.measure("cpu", 5.5, t_us=t_us, unit="%")
    url = f"{API}/devices/{DEVICE}/readings"
    for start in ("2026-01-01T00:00:00Z", "2026-01-01T02:00:00.123456+02:00", str(t_us), "2025-12-31T23:59:60Z"):
        found = site.client.get(url, query_string={"from": start}).get_json()["readings"]
        assert found == [{"sensor": "cpu", "time": "2026-01-01T00:00:00.123456Z", "t_us": t_us, "value": 5.5, "unit": "%"}]
    # an unescaped plus sign arrives as a blank
    assert len(site.client.get(f"{url}?from=2026-01-01T02:00:00+02:00").get_json()["readings"]) == 1
    for bad in ("yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1e9", "9" * 19, ""):
        problem(site.client.get(url, query_string={"from": bad}), 422, "bad_time")


def test_a_range_that_ends_before_it_begins_is_refused(site: Site) -> None:
    t_us = site.measure("cpu", 1.0)
    url = f"{API}/devices/{DEVICE}/readings"
    answer = site.client.get(url, query_string={"from": t_us + 1, "to": t_us})
    problem(answer, 422, "bad_range")
    assert answer.get_json()["detail"] == "from is later than to: there is no such time."
    assert site.client.get(url, query_string={"from": t_us, "to": t_us}).get_json()["readings"] == []


def test_every_kind_of_value_survives(site: Site) -> None:
    values = [0, 0.0, False, True, -1.5, 2**63 - 1, "", "text é\u2028", {"a": {"b": [1, None]}}]
    for index, value in enumerate(values):
        site.measure(f"s{index}", value)
    latest = site.client.get(f"{API}/devices/{DEVICE}/readings/latest").get_json()["readings"]
    for reading, value in zip(latest, values, strict=True):
        assert reading["value"] == value
        assert isinstance(reading["value"], bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    "query",
    [
        "sensor=%00", "sensor=a&sensor=b%00c",
        "limit=0", f"limit={limits.READINGS_LIMIT_MAX + 1}", "limit=ten", "limit=1&limit=2", "order=up", "sensors=cpu", "sensor=",
        "&".join(["sensor=x"] * (limits.SENSORS_MAX + 1)),
    ],
)  # fmt: skip
def test_a_bad_query_names_the_parameter(site: Site, query: str) -> None:
    body = problem(site.client.get(f"{API}/devices/{DEVICE}/readings?{query}"), 422, "bad_request")
    assert body["errors"][0]["where"].startswith("query")


@pytest.mark.parametrize("path", ["/devices", f"/devices/{DEVICE}/readings", f"/devices/{DEVICE}/commands"])
@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "=", "A" * 256, "eyJ0IjoxfQ", "AQA"])
def test_a_cursor_of_somebody_else_is_refused(site: Site, path: str, cursor: str) -> None:
    problem(site.client.get(f"{API}{path}", query_string={"cursor": cursor}), 422, "bad_cursor")


def test_the_loss_ledger_balances(site: Site) -> None:
    site.measure("cpu", 1.0, 2.0, 3.0)
    body = site.client.get(f"{API}/devices/{DEVICE}/loss").get_json()
    assert (body["sent"], body["stored"], body["missing"]) == (3, 3, 0)


# --- commands ----------------------------------------------------------------------------------------------------------


def test_a_switch_is_queued_followed_and_verified(site: Site) -> None:
    site.hold()
    response = site.client.post(f"{API}/devices/{DEVICE}/commands", json={"kind": "switch", "provider": "azul telecom"})
    assert response.status_code == 202
    queued = response.get_json()
    assert (queued["state"], queued["target"]["iccid"]) == ("QUEUED", ICCIDS[1])
    site.happen(queued["id"], Event.SENT, Event.RECEIVED, Event.PROVED)
    site.happen(queued["id"], Event.CLOSED, evidence={"proof": "bearer"})
    shown = site.client.get(response.headers["Location"]).get_json()
    assert shown["state"] == "VERIFIED"
    assert shown["evidence"]["proof"] == "bearer"
    assert [entry["state"] for entry in shown["history"]] == ["QUEUED", "SENT", "RECEIVED", "CONFIRMING", "VERIFIED"]
    assert site.client.get(f"{API}/devices/{DEVICE}/commands").get_json()["commands"][0]["id"] == queued["id"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"kind": "switch", "iccid": ICCIDS[0]}, 409, "already_enabled"),
        ({"kind": "switch", "provider": "Nordlink Mobile"}, 409, "already_enabled"),
        ({"kind": "switch", "provider": "Twin"}, 404, "unknown_profile"),
        ({"kind": "switch", "iccid": "8988211000000000099"}, 404, "unknown_profile"),
        ({"kind": "switch"}, 422, "bad_request"),
        ({"kind": "switch", "iccid": ICCIDS[1], "provider": "Azul Telecom"}, 422, "bad_request"),
        ({"kind": "switch", "iccid": "12"}, 422, "bad_request"),
        ({"kind": "switch", "iccid": ICCIDS[1] + "\n"}, 422, "bad_request"),
        ({"kind": "switch", "iccid": ICCIDS[1], "deadline_s": 29}, 422, "bad_request"),
        ({"kind": "switch", "iccid": ICCIDS[1], "deadline_s": "60"}, 422, "bad_request"),
        ({"kind": "reboot"}, 422, "bad_request"),
        ({"kind": "ping", "iccid": ICCIDS[1]}, 422, "bad_request"),
        ({"kind": "ping", "expires_in_s": 0}, 422, "bad_request"),
        ([], 422, "bad_request"),
    ],
)
def test_a_command_that_cannot_be_is_refused_with_its_reason(site: Site, body: Any, status: int, reason: str) -> None:
    site.hold()
    problem(site.client.post(f"{API}/devices/{DEVICE}/commands", json=body), status, reason)
    assert site.client.get(f"{API}/devices/{DEVICE}/commands").get_json()["commands"] == []


def test_refusals_that_depend_on_the_device(site: Site) -> None:
    commands = f"{API}/devices/{DEVICE}/commands"
    problem(site.client.post(commands, json={"kind": "switch", "provider": "Azul Telecom"}), 409, "no_inventory")
    site.hold(providers=("Nordlink Mobile", "Twin", "Twin"))
    problem(site.client.post(commands, json={"kind": "switch", "provider": "Twin"}), 409, "ambiguous_provider")
    site.client.patch(f"{API}/devices/{DEVICE}", json={"status": "revoked"})
    problem(site.client.post(commands, json={"kind": "ping"}), 409, "device_revoked")


def test_cancelling(site: Site) -> None:
    commands = f"{API}/devices/{DEVICE}/commands"
    ids = [site.client.post(commands, json={"kind": kind}).get_json()["id"] for kind in ("ping", "audit", "ping")]
    response = site.client.post(f"{commands}/{ids[0]}/cancel")
    assert (response.status_code, response.get_json()["state"]) == (200, "CANCELLED")
    site.happen(ids[1], Event.SENT)
    response = site.client.post(f"{commands}/{ids[1]}/cancel")
    assert (response.status_code, response.get_json()["state"]) == (202, "SENT")
    assert response.get_json()["cancel_requested_us"]
    site.happen(ids[2], Event.SENT, Event.EXECUTED)
    problem(site.client.post(f"{commands}/{ids[2]}/cancel"), 409, "not_cancellable")
    problem(site.client.post(f"{commands}/{'f' * 32}/cancel"), 404, "unknown_command")
    problem(site.client.get(f"{commands}/{ids[0].upper()}x"), 404, "unknown_command")


def test_commands_come_newest_first_page_by_page(site: Site) -> None:
    commands = f"{API}/devices/{DEVICE}/commands"
    made = [site.client.post(commands, json={"kind": "ping"}).get_json()["id"] for _ in range(5)]
    first = site.client.get(commands, query_string={"limit": 3}).get_json()
    rest = site.client.get(commands, query_string={"limit": 3, "cursor": first["next_cursor"]}).get_json()
    assert [row["id"] for row in first["commands"] + rest["commands"]] == made[::-1]


# --- errors ------------------------------------------------------------------------------------------------------------


def test_every_error_is_problem_details(site: Site) -> None:
    client = site.client
    for path in ("/nothing", f"{API}/nothing", f"{API}//devices", "/assets/nothing", f"{API}/devices/"):
        problem(client.get(path), 404, "not_found")
    response = client.delete(f"{API}/devices")
    problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]
    problem(client.open(f"{API}/devices", method="OPTIONS"), 405, "method_not_allowed")
    problem(client.post(f"{API}/devices", data="{", content_type="application/json"), 400, "bad_json")
    problem(client.post(f"{API}/devices", data=b"\xff", content_type="application/json"), 400, "bad_json")
    problem(client.post(f"{API}/devices", data="[" * 50_000, content_type="application/json"), 422, "bad_request")
    problem(client.post(f"{API}/devices", data="{}"), 415, "unsupported_media_type")
    problem(
        client.post(f"{API}/devices", data="id=x", content_type="application/x-www-form-urlencoded"),
        415,
        "unsupported_media_type",
    )
    too_large = b'"' + b"x" * limits.BODY_MAX_BYTES + b'"'
    problem(client.post(f"{API}/devices", data=too_large, content_type="application/json"), 413, "too_large")
    problem(client.get(f"{API}/health?x=1"), 422, "bad_request")


def test_a_database_that_is_away_is_503_and_health_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.stranger.get(f"{API}/health").get_json() == {"status": "ok", "checks": {"database": "ok", "schema": "ok"}}

    def away(*_: object, **__: object) -> Any:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(site.store, "ping", away)
    monkeypatch.setattr(site.store, "devices", away)
    for response in (site.stranger.get(f"{API}/health"), site.client.get(f"{API}/devices")):
        problem(response, 503, "store_unavailable")
        assert response.headers["Retry-After"]


def test_what_nobody_foresaw_is_500_without_details(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("secret words")

    monkeypatch.setattr(site.store, "devices", broken)
    body = problem(site.client.get(f"{API}/devices"), 500, "internal_error")
    assert "secret" not in str(body)


def test_text_from_devices_reaches_the_client_unharmed(site: Site) -> None:
    site.store_readings([Reading("<script>alert(1)</script>", 1_767_225_600_000_000, "</script>", None)])
    response = site.client.get(f"{API}/devices/{DEVICE}/readings/latest")
    assert response.mimetype == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.get_json()["readings"][0]["sensor"] == "<script>alert(1)</script>"
