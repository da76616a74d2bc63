"""Readings up: from a source of the modem client to the REST API."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

from simway_testing.api import Api
from simway_testing.platform import DEMO_DEVICE, MODEM, Front
from simway_testing.waiting import wait_for

QUERYABLE_WITHIN_S = 60.0
MINUTE_US = 60_000_000
HOST = frozenset({"cpu", "memory"})
"""What its sensors' names begin with, among others."""


def test_measurements_of_this_host_are_queryable_within_ten_seconds(front: Front, api: Api) -> None:
    asked_us = time.time_ns() // 1000

    def measured() -> dict[str, dict[str, Any]]:
        """What is new of this host: readings of the radio may come before it."""
        latest = api.latest(DEMO_DEVICE).items()
        return {name: found for name, found in latest if name.split("/")[0] in HOST and found["t_us"] > asked_us}

    latest = wait_for(
        measured, QUERYABLE_WITHIN_S, lambda: f"new measurements of {DEMO_DEVICE}; the newest: {api.latest(DEMO_DEVICE)}"
    )  # fmt: skip
    for reading in latest.values():
        assert abs(reading["t_us"] - asked_us) < MINUTE_US
        assert reading["time"].endswith("Z")


def test_history_by_sensor_range_order_and_page(front: Front, api: Api) -> None:
    sensor = next(iter(wait_for(lambda: api.latest(DEMO_DEVICE), QUERYABLE_WITHIN_S, "a first reading")))

    def several() -> list[dict[str, object]]:
        found = api.readings(DEMO_DEVICE, sensor=sensor)
        return found if len(found) >= 4 else []

    history = wait_for(several, QUERYABLE_WITHIN_S + 10, f"four readings of {sensor}")
    times = [reading["t_us"] for reading in history]
    assert times == sorted(set(times))
    inner = {"from": str(times[1]), "to": str(times[3])}
    assert [reading["t_us"] for reading in api.readings(DEMO_DEVICE, sensor=sensor, **inner)] == times[1:3]
    assert [reading["t_us"] for reading in api.readings(DEMO_DEVICE, sensor=sensor, order="desc", **inner)] == times[2:0:-1]
    assert api.readings(DEMO_DEVICE, sensor=sensor, limit=1, **inner) == api.readings(DEMO_DEVICE, sensor=sensor, **inner)


def test_the_loss_ledger_balances(front: Front, api: Api) -> None:
    wait_for(lambda: api.latest(DEMO_DEVICE), QUERYABLE_WITHIN_S, "a first reading")
    loss = api.loss(DEMO_DEVICE)
    accounted = sum(loss[name] for name in ("stored", "duplicate", "conflict", "dropped", "missing")) + sum(
        loss["rejected"].values()
    )
    assert loss["sent"] == accounted > 0
    assert loss["missing"] == 0


def test_json_lines_from_standard_input(front: Front, api: Api) -> None:
    device = f"lines-{uuid.uuid4().hex[:8]}"
    modem = front.modem(device, api.enrol(device), SOURCE="stdin")
    now_us = time.time_ns() // 1000
    values = {"count": 0, "open": False, "temperature": 21.5, "label": "grün", "position": {"lat": 52.5, "lon": 13.4}}
    lines = [{"sensor_id": name, "timestamp": now_us + i, "value": value} for i, (name, value) in enumerate(values.items())]
    text = "\n".join(json.dumps(line) for line in lines[:2]) + "\nthis is no JSON\n"
    text += "\n".join(json.dumps(line) for line in lines[2:]) + "\n"
    feed_read, feed_write = os.pipe()
    modem.start(stdin=feed_read)
    with open(feed_write, "w") as feed:
        feed.write(text)
        feed.flush()
        wait_for(lambda: len(api.latest(device)) == len(values), 60, lambda: f"{api.latest(device)}\n{modem.tail()}")
    latest = api.latest(device)
    assert {name: reading["value"] for name, reading in latest.items()} == values
    assert [latest[line["sensor_id"]]["t_us"] for line in lines] == [line["timestamp"] for line in lines]
    assert "3" in modem.tail(), "the bad line is named by its number"


def test_a_csv_file_with_a_bad_line(front: Front, api: Api) -> None:
    device = f"csv-{uuid.uuid4().hex[:8]}"
    start_s = int(time.time()) - 3600
    rows = [f"{start_s + i},{20 + i / 10},{40 + i}" for i in range(30)]
    rows[11] = f"{start_s + 11},warm,40"
    file = front.directory / f"{device}.csv"
    file.write_text("when,temperature,humidity\n" + "\n".join(rows) + "\n")
    modem = front.modem(device, api.enrol(device), command=f"{MODEM} --csv {file} --time-column when")

    code = modem.start().wait(30)

    assert code == 3, f"it says that lines were skipped\n{modem.tail()}"
    assert "13" in modem.tail(), "the bad line is named by its number in the file"
    expected = [(start_s + i) * 1_000_000 for i in range(30) if i != 11]

    def whole() -> bool:
        return all(len(api.readings(device, sensor=sensor)) == 29 for sensor in ("humidity", "temperature"))

    wait_for(whole, 60, lambda: f"{len(api.readings(device))} readings\n{modem.tail()}")
    assert [reading["t_us"] for reading in api.readings(device, sensor="humidity")] == expected
    assert [reading["value"] for reading in api.readings(device, sensor="temperature", limit=3)][:3] == [20.0, 20.1, 20.2]


def test_a_new_device_by_rest_and_its_first_reading(front: Front, api: Api) -> None:
    device = f"second-{uuid.uuid4().hex[:8]}"
    modem = front.modem(device, api.enrol(device), SOURCE="host")
    modem.start()
    modem.wait_ready()
    latest = wait_for(lambda: api.latest(device), QUERYABLE_WITHIN_S, lambda: f"a reading of {device}\n{modem.tail()}")
    assert latest
    session = wait_for(lambda: api.device(device)["session"], QUERYABLE_WITHIN_S, "its session is shown")
    assert session["attached"] is True
    assert api.call("POST", "devices", {"id": device}).status == 409


def test_a_wrong_key_is_let_in_nowhere(front: Front, api: Api) -> None:
    device = f"forged-{uuid.uuid4().hex[:8]}"
    api.enrol(device)
    forged = front.modem(device, "00" * 32, SOURCE="host")
    forged.start()
    honest = front.modem(f"{device}-honest", api.enrol(f"{device}-honest"), SOURCE="host")
    honest.start()
    wait_for(lambda: api.latest(f"{device}-honest"), 60, lambda: f"the honest one's reading\n{honest.tail()}")
    assert api.latest(device) == {}
    assert api.device(device)["session"] is None
