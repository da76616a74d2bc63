"""What the sub-commands show of recorded answers, for people and for programs."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from simway_cli.commands.asking import short_number
from simway_cli.errors import Exit


def test_devices_as_a_table(cli: Any) -> None:
    done = cli("devices", "--utc")
    assert done.status == 0
    assert done.lines[0].split() == ["device", "name", "status", "carrier", "link", "last", "reading", "alarms"]
    assert done.lines[1].startswith("demo    Demo device  active  Alpine Connect  up    ")
    assert done.err == ""


def test_a_device_with_its_sim(cli: Any) -> None:
    done = cli("devices", "show", "demo", "--utc")
    assert "created       2026-11-22 09:00:44" in done.lines
    assert "carrier       Alpine Connect (8999903205476624919), by inventory" in done.lines
    assert "*  8999903205476624919  Alpine Connect        Alpine M2M          operational  -" in done.lines


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["devices", "show", "demo"], "device"),
        (["sim", "demo"], "sim"),
        (["health"], "health"),
        (["audit", "verify"], "verify"),
        (["loss", "demo"], "loss"),
    ],
)
def test_json_is_the_apis_answer(cli: Any, recorded: Any, argv: list[str], name: str) -> None:
    done = cli(*argv, "--json")
    assert (done.status, done.json) == (0, recorded[name])
    assert cli("--json", *argv).json == recorded[name], "flags stand before or after"


def test_readings_oldest_first(cli: Any, api: Any) -> None:
    done = cli("readings", "demo", "--sensor", "cpu", "--last", "1h", "--limit", "3", "--utc")
    assert done.lines[0].split() == ["time", "(UTC)", "sensor", "value", "unit"]
    times = [line[:26] for line in done.lines[1:]]
    assert times == sorted(times)
    assert len(times) == 3
    assert "The newest 3" in done.err
    query = api.asked("GET", "devices/demo/readings")[0].query
    assert (query["sensor"], query["order"], query["limit"]) == (["cpu"], ["desc"], ["4"])
    assert int(query["from"][0]) > 0


def test_the_newest_of_each_sensor(cli: Any) -> None:
    done = cli("readings", "demo", "--latest")
    values = {line.split()[0]: line.split()[1] for line in done.lines[1:]}
    assert values["signal/rat"] == "LTE"
    assert values["signal/registered"] == "true"
    assert len(cli("readings", "demo", "--latest", "--sensor", "cpu").lines) == 2


def test_times_are_of_this_machine_or_utc(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "created       2026-11-22 18:00:44" in cli("devices", "show", "demo").lines
        assert "created       2026-11-22 09:00:44" in cli("devices", "show", "demo", "--utc").lines
    finally:
        monkeypatch.undo()
        time.tzset()


def windows(**more: Any) -> dict[str, Any]:
    points = [
        {"t": 1_795_338_000_000_000 + i * 60_000_000, "avg": 20.0 + i, "min": 19, "max": None if i == 1 else 22} for i in range(3)
    ]
    series = [{"sensor": "cpu", "unit": "%", "points": points}, {"sensor": "name", "unit": None, "points": []}]
    return {
        "device": "demo",
        "window_us": 60_000_000,
        "tier": "minute",
        "raw_from_us": None,
        "known_from_us": None,
        "series": series,
        **more,
    }


def test_windows_as_a_table(cli: Any, api: Any) -> None:
    api.on("GET", "devices/demo/readings", windows())
    done = cli("readings", "demo", "--window", "1m", "--last", "1h", "--agg", "avg, min,max", "--fill", "null", "--utc")
    assert done.lines == [
        "from (UTC)           sensor  avg  min  max  unit",
        "2026-11-22 09:00:00  cpu      20   19   22  %",
        "2026-11-22 09:01:00  cpu      21   19    -  %",
        "2026-11-22 09:02:00  cpu      22   19   22  %",
    ]
    assert "Windows of 1 min, from minute data." in done.err
    query = api.requests[-1].query
    assert (query["window"], query["agg"], query["fill"]) == (["1m"], ["avg,min,max"], ["null"])


def test_what_retention_took_of_windows_is_said(cli: Any, api: Any) -> None:
    asked = ("readings", "demo", "--window", "1m", "--last", "1h", "--utc")
    api.on("GET", "devices/demo/readings", windows())
    assert "known from" not in cli(*asked).err
    taken_us = 1_795_338_000_000_000
    api.on("GET", "devices/demo/readings", windows(known_from_us=taken_us, raw_from_us=taken_us))
    assert "Windows of this width are known from 2026-11-22 09:00:00 on" in cli(*asked).err
    assert "Windows of this width are known from 2026-11-22 09:00:00 on" in cli(*asked, "--plot", COLUMNS="80").err
    gone = windows(known_from_us=taken_us, series=[])
    api.on("GET", "devices/demo/readings", gone)
    done = cli(*asked, "--plot", COLUMNS="80")
    assert done.status == 1
    assert "Windows of this width are known from 2026-11-22 09:00:00 on" in done.err
    api.on("GET", "devices/demo/readings", windows(raw_from_us=taken_us))
    assert "Percentiles are known from 2026-11-22 09:00:00 on" in cli(*asked).err


def test_points_thin_the_windows_of_a_plot(cli: Any, api: Any) -> None:
    api.on("GET", "devices/demo/readings", windows())
    assert cli("readings", "demo", "--window", "1m", "--plot", "--points", "40", COLUMNS="80").status == 0
    assert api.requests[-1].query["points"] == ["40"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--points", "40"], "--points"),
        (["--latest", "--last", "1h"], "--latest"),
        (["--latest", "--from", "2026-01-31"], "--latest"),
    ],
)
def test_a_flag_that_would_mean_nothing_is_refused(cli: Any, flags: list[str], said: str) -> None:
    done = cli("readings", "demo", *flags)
    assert done.status == 2
    assert said in done.err


def test_a_plot_has_a_frame_a_sensor(cli: Any, api: Any, recorded: Any) -> None:
    api.on("GET", "devices/demo/readings", windows())
    done = cli(
        "readings", "demo", "--window", "1m", "--plot", "--from", "2026-11-22T09:00Z", "--to", "2026-11-22T09:10Z", COLUMNS="80"
    )
    assert done.status == 0
    assert "demo cpu (%): avg drawn through, min +, max x" in done.lines[0]
    assert max(map(len, done.lines)) <= 80
    assert "Not plotted: name" in done.err
    chart = windows(window_us=None, series=[{"sensor": "cpu", "unit": "%", "points": [{"t": 1_795_338_000_000_000, "value": 1}]}])
    api.on("GET", "devices/demo/readings", chart)
    assert cli("readings", "demo", "--plot", COLUMNS="60").status == 0
    assert api.requests[-1].query["points"] == ["120"]
    api.on("GET", "devices/demo/readings", windows(series=[]))
    done = cli("readings", "demo", "--plot")
    assert (done.status, "No readings." in done.err) == (Exit.NOT_SO, True)


@pytest.mark.parametrize(
    ("points", "only_texts"),
    [([{"t": 0, "avg": None, "count": 3}], True), ([{"t": 0, "avg": 2.0, "count": 3}], False), ([], False)],
)
def test_text_has_no_plot(cli: Any, api: Any, points: list[Any], only_texts: bool) -> None:
    said = "There are only text and objects. Leave --plot away"
    chart = windows(window_us=None, series=[{"sensor": "name", "unit": None, "points": [{"t": 0, "value": "on"}]}])
    api.on("GET", "devices/demo/readings", chart)
    done = cli("readings", "demo", "--plot")
    assert (done.status, said in done.err) == (Exit.NOT_SO, True)
    empty = windows(series=[{"sensor": "name", "unit": None, "points": [{"t": 0, "p50": None}]}])
    api.on("GET", "devices/demo/readings", empty, windows(series=[{"sensor": "name", "unit": None, "points": points}]))
    done = cli("readings", "demo", "--plot", "--window", "1m", "--agg", "p50")
    assert (done.status, said in done.err) == (Exit.NOT_SO, only_texts)
    assert api.requests[-1].query["agg"] == ["avg,count"]


def test_the_sim_and_what_it_says(cli: Any, api: Any, recorded: Any) -> None:
    done = cli("sim", "demo")
    assert "SIM's word   change 1 enabled 8999903205476624919, proved" in done.lines
    api.on("PUT", "devices/demo/sim/desired", recorded["sim"])
    assert cli("sim", "demo", "--accept", "--iccid", "8999903205476624919").status == 0
    assert api.requests[-1].json == {"iccid": "8999903205476624919"}
    assert cli("sim", "demo", "--iccid", "8999903205476624919").status == Exit.USAGE


def test_alarms(cli: Any, api: Any) -> None:
    assert cli("alarms").lines == ["No alarms that are open."]
    alarm = {
        "id": 1, "device": "", "kind": "audit_broken", "subject": "", "severity": "critical", "text": "entry 7 was changed",
        "raised_us": 1_795_338_000_000_000, "over_us": None, "raised_at": "", "over_at": None,
    }  # fmt: skip
    api.on("GET", "alarms", {"alarms": [alarm], "next_cursor": None})
    done = cli("alarms", "--platform", "--state", "all", "--utc")
    assert done.lines[1].split() == [
        "2026-11-22",
        "09:00:00",
        "-",
        "critical",
        "platform",
        "audit_broken",
        "entry",
        "7",
        "was",
        "changed",
    ]
    assert api.requests[-1].query == {"scope": ["platform"], "state": ["all"], "limit": ["101"]}


def test_the_trail_and_its_verdict(cli: Any, api: Any, recorded: Any) -> None:
    assert cli("audit", "list").lines[1].split()[3] == "desired.changed"
    done = cli("audit", "verify")
    assert "trail       whole" in done.lines
    head = recorded["verify"]["head"]
    broken = recorded["verify"] | {"ok": False, "broken": {"seq": 3, "problem": "changed", "detail": "its hash does not fit"}}
    api.on("POST", "audit/verify", broken)
    done = cli("audit", "verify", "--head", f"{head['seq']}:{head['hash']}")
    assert (done.status, "broken at entry 3: its hash does not fit" in done.out) == (Exit.NOT_SO, True)
    assert api.requests[-1].json == head
    assert cli("audit", "verify", "--head", "7:abc").status == Exit.USAGE
    assert cli("audit").status == Exit.USAGE


def test_a_new_devices_key_is_printed_or_kept(cli: Any, api: Any, recorded: Any, tmp_path: Path) -> None:
    api.on("POST", "devices", recorded["created"], status=201)
    done = cli("devices", "create", "truck-7", "--name", "Truck 7")
    assert recorded["created"]["key"]["hex"] in done.out
    assert "shown this once" in done.err
    assert api.requests[-1].json == {"id": "truck-7", "name": "Truck 7"}

    file = tmp_path / "truck-7.key"
    done = cli("devices", "create", "truck-7", "--key-file", str(file), "--json")
    assert file.read_text().strip() == recorded["created"]["key"]["hex"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert recorded["created"]["key"]["hex"] not in done.out

    count = len(api.requests)
    assert cli("devices", "create", "truck-7", "--key-file", str(file)).status == Exit.USAGE
    assert len(api.requests) == count, "no key is made that could not be kept"


def test_no_key_file_is_left_where_no_device_was_made(cli: Any, api: Any, recorded: Any, tmp_path: Path) -> None:
    api.on("POST", "devices", recorded["exists"], status=409)
    done = cli("devices", "create", "truck-7", "--key-file", str(tmp_path / "k"))
    assert (done.status, "registered already" in done.err) == (Exit.REFUSED, True)
    assert not (tmp_path / "k").exists()


def test_revoke_and_restore(cli: Any, api: Any, recorded: Any) -> None:
    api.on("PATCH", "devices/truck-7", recorded["revoked"])
    assert cli("devices", "revoke", "truck-7").lines == ["device  truck-7", "status  revoked"]
    assert api.requests[-1].json == {"status": "revoked"}
    cli("devices", "restore", "truck-7")
    assert api.requests[-1].json == {"status": "active"}


def test_colours_on_a_terminal_alone(cli: Any) -> None:
    assert "\x1b[" in cli("devices", tty=True, COLUMNS="80").out
    assert "\x1b[" not in cli("devices", tty=True, NO_COLOR="1").out
    assert "\x1b[" not in cli("devices", tty=True, TERM="dumb").out
    assert "\x1b[" not in cli("devices").out
    assert "\x1b[" in cli("devices", "--color", "always").out
    assert "\x1b[" not in cli("devices", "--color", "never", tty=True).out


def test_a_narrow_terminal_is_kept_to(cli: Any) -> None:
    for argv in (
        ["devices"],
        ["sim", "demo"],
        ["audit", "list"],
        ["readings", "demo"],
        ["command", "demo", "show"],
        ["loss", "demo"],
    ):
        assert max(map(len, cli(*argv, COLUMNS="60").lines)) <= 60, argv


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99.888888889, "99.8889"),
        (61038145536.25, "61038145536"),
        (0.000123456789, "0.000123457"),
        (20.0, "20"),
        (0.0, "0"),
        (7, "7"),
        (1e-9, "1e-09"),
        (-1234.5, "-1234.5"),
        (None, "-"),
        ("text", "text"),
        (True, "true"),
    ],
)
def test_numbers_of_windows_are_short(value: Any, text: str) -> None:
    assert short_number(value) == text
