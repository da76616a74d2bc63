"""``simway-modem`` as a process, against the real server endpoint on a real socket."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from simway_backbone import sqlite
from simway_modem_client.cli import _parser, run_cli
from simway_modem_client.entries import make_entry
from simway_modem_client.home import RunLock
from simway_modem_client.outbox import Outbox
from simway_protocol.commands import Body, BodyType, Kind
from simway_protocol.sim.es10c import EnableProfile, ProfileId
from simway_testing.udp_service import UdpServer, now_us
from simway_testing.waiting import wait_for

DEADLINE_S = 60


def run(environment: dict[str, str], *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simway_modem_client", *arguments]
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=100, check=False)


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simway_modem_client", "run", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    _, said = process.communicate(timeout=40)
    return process.returncode, said


def shown(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    return run_cli(list(arguments), environment, out), out.getvalue()


# --- the whole way -------------------------------------------------------------------------------------------------------


def test_lines_are_sent_and_it_ends_when_they_are_acknowledged(server: UdpServer, environment: dict[str, str]) -> None:
    lines = "".join(json.dumps({"sensor_id": "n", "timestamp": 1_790_000_000 + i, "value": i}) + "\n" for i in range(2_000))
    done = run(environment, "run", "--source", "stdin", text=lines + "bad\n")
    assert done.returncode == 3, done.stderr
    assert "2001" in done.stderr
    assert sorted(reading.value for reading in server.readings.values()) == list(range(2_000))
    code, said = shown(environment, "status")
    assert code == 3
    assert "not running" in said
    assert "0 readings wait (0% full), 2,000 acknowledged" in said


def test_a_csv_file_is_imported(server: UdpServer, environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("ts,a,b\n" + "".join(f"{1_790_000_000 + i},{i},{-i}\n" for i in range(100)))
    done = run(environment, "run", "--csv", str(file))
    assert done.returncode == 0, done.stderr
    assert "100 lines, 200 readings entered, 0 lines skipped" in done.stderr
    assert len(server.readings) == 200


def test_host_readings_a_switch_and_status(server: UdpServer, environment: dict[str, str]) -> None:
    process = start(environment, "--interval", "100ms")
    try:
        wait_for(lambda: len(server.readings) > 20, DEADLINE_S, "readings of this host")
        code, said = wait_for(lambda: (s := shown(environment, "status"))[0] == 0 and "EID" in s[1] and s, DEADLINE_S, "status")
        assert f"attached to 127.0.0.1:{server.port}" in said
        assert server.attached[0].iccid in said
        code, text = shown(environment, "sim", "profiles", "--json")
        assert code == 0
        target = next(profile["iccid"] for profile in json.loads(text) if profile["state"] == "disabled")
        body = Body(
            BodyType.COMMAND, "truck-7", b"\x01" * 16, 1, 1, now_us() + 60_000_000, Kind.SWITCH, target,
            (EnableProfile(ProfileId.of(target)).encode(),),
        )  # fmt: skip
        server.submit(body)
        wait_for(lambda: [event for event in server.progress if event.event == "closed"], DEADLINE_S, "the switch is closed")
        assert server.attached[-1].iccid == target
        wait_for(lambda: "switch 0101" in shown(environment, "status")[1], DEADLINE_S, "the last command in status")
        status = json.loads(shown(environment, "status", "--json")[1])
        assert status["last_command"]["closed"] == "closed"
        wait_for(
            lambda: json.loads(shown(environment, "status", "--json")[1])["sim"]["active_iccid"] == target,
            DEADLINE_S,
            "the new ICCID",
        )
        second = run(environment, "run")
        assert second.returncode == 2
        assert "runs on" in second.stderr
        fed = run(environment, "run", "--source", "stdin", text='{"sensor_id": "fed", "value": 1}\n')
        assert fed.returncode == 0, fed.stderr
        assert "it will send" in fed.stderr
        wait_for(
            lambda: any(reading.sensor == "fed" for reading in server.readings.values()),
            DEADLINE_S,
            "what another process put in",
        )
    finally:
        code, said = stop(process)
    assert code == 0, said


def test_a_killed_process_goes_on_where_it_was(server: UdpServer, environment: dict[str, str]) -> None:
    for _ in range(3):
        count = len(server.readings)
        process = start(environment, "--interval", "10ms")
        wait_for(lambda count=count: len(server.readings) > count + 50, DEADLINE_S, "readings")
        stop(process, signal.SIGKILL)
    modem_dir = Path(environment["MODEM_DIR"])
    with Outbox(modem_dir / "outbox.db") as outbox:
        for first, last, outcome in outbox.acknowledged():
            assert outcome == "logged"
            assert all((outbox.epoch, seq) in server.readings for seq in range(first, last + 1))
    assert [session.boot_counter for session in server.attached] == [1, 2, 3]


def test_an_outbox_is_drained_at_five_thousand_a_second_and_more(server: UdpServer, environment: dict[str, str]) -> None:
    modem_dir = Path(environment["MODEM_DIR"])
    modem_dir.mkdir()
    count = 20_000
    with Outbox(modem_dir / "outbox.db") as outbox:
        outbox.put([make_entry("temperature", i / 10, "Cel", t_us=1_790_000_000_000_000 + i) for i in range(count)])
        assert outbox.flush()
    done = run(environment, "run", "--source", "stdin", text="")
    assert done.returncode == 0, done.stderr
    assert len(server.readings) == count


# --- help and errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (["--help"], ["examples:", "--csv log.csv", "simway-modem status", '{"sensor_id": "door", "value": true}']),
        (["run", "--help"], ["--time-column", "[DEVICE_ID]", "exit status:", "strptime"]),
        (["sim", "--help"], ["profiles", "info"]),
        (["status", "--help"], ["--json", "[MODEM_DIR]"]),
    ],
)
def test_help_teaches(arguments: list[str], taught: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(arguments, {})
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert [words for words in taught if words not in said] == []


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (["run"], {"DEVICE_ID": "no/slash"}, "DEVICE_ID"),
        (["run"], {"SOURCE": "tape"}, "SOURCE='tape' is none of csv, host, stdin"),
        (["run"], {"SERVER_PORT": "70000"}, "SERVER_PORT"),
        (["run", "--source", "csv"], {}, "simway-modem run --csv FILE"),
        (["run", "--csv", "x", "--time-zone", "Mars/North"], {}, "--time-zone"),
        (["run", "--csv", "x", "--delimiter", "ab"], {}, "--delimiter"),
        (["run", "--csv", "x", "--delimiter", "\\t\\t"], {}, "--delimiter"),
        (["run", "--csv", "x", "--delimiter", '"'], {}, "--delimiter"),
        (["run", "--csv", "x", "--delimiter", "\n"], {}, "--delimiter"),
        (["run"], {"MODEM_DIR": "/proc/nowhere"}, "MODEM_DIR"),
        (["personalise", "--key-file", "/nowhere/device.key"], {}, "DEVICE_KEY_FILE"),
        (["sim", "info", "--card", "punch"], {}, "there is no card driver 'punch' (CARD); installed: "),
    ],
)
def test_errors_name_the_setting_and_the_remedy(environment, capsys, arguments, changes, words) -> None:
    assert run_cli(arguments, environment | changes) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key-file", "/nowhere/device.key"], "DEVICE_KEY_FILE"),
        (["--key-provider", "file", "--key-file", "/nowhere/device.key"], "DEVICE_KEY_FILE"),
        (["--card", "punch"], "there is no card driver 'punch'"),
    ],
)
def test_what_cannot_start_says_so_and_ends(environment: dict[str, str], arguments, words) -> None:
    done = run(environment, "run", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_file_ends_at_once_whatever_waits(environment: dict[str, str]) -> None:
    done = run(environment | {"SERVER_PORT": "9"}, "run", "--csv", "/nowhere/log.csv")
    assert done.returncode == 1
    assert "/nowhere/log.csv" in done.stderr


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("example.org", "example.org", None), ("example.org:7001", "example.org", "7001"), ("[::1]:7001", "::1", "7001"),
        ("::1", "::1", None), ("[::1]", "::1", None), ("192.0.2.1:6001", "192.0.2.1", "6001"),
    ],
)  # fmt: skip
def test_the_server_as_one_option(given: str, host: str, port: str | None) -> None:
    options = _parser().parse_args(["run", "--server", given])
    assert (options.SERVER_HOST, getattr(options, "SERVER_PORT", None)) == (host, port)


def test_a_taken_metrics_port_is_named(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(environment | {"MODEM_METRICS_PORT": str(port)}, "run")
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "MODEM_METRICS_PORT" in done.stderr


def test_status_before_the_first_run(environment: dict[str, str]) -> None:
    code, said = shown(environment, "status")
    assert code == 3
    assert "not running: simway-modem run" in said
    assert not Path(environment["MODEM_DIR"]).exists(), "looking makes nothing"


def other_schema(path: Path) -> None:
    connection = sqlite.connect(path)
    connection.execute("CREATE TABLE later(t)")
    connection.pragma("user_version", 99)
    connection.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def with_a_damaged_page(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put([make_entry("n", number) for number in range(500)])
        assert outbox.flush()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


@pytest.mark.parametrize("spoil", [other_schema, no_database, with_a_damaged_page])
@pytest.mark.parametrize("name", ["outbox.db", "journal.db"])
def test_status_names_the_file_that_it_cannot_read(environment: dict[str, str], capsys, name: str, spoil) -> None:
    folder = Path(environment["MODEM_DIR"])
    folder.mkdir()
    spoil(folder / name)
    code, said = shown(environment, "status")
    error = capsys.readouterr().err
    assert (code, said) == (1, "")
    assert error.startswith(f"error: simway-modem: {folder / name} ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("spoil", [other_schema, no_database, with_a_damaged_page])
def test_what_cannot_be_fed_into_the_outbox_of_another_process_is_said(environment, capsys, tmp_path: Path, spoil) -> None:
    folder = Path(environment["MODEM_DIR"])
    folder.mkdir()
    spoil(folder / "outbox.db")
    (tmp_path / "log.csv").write_text("time,n\n1700000000,1\n")
    holder = RunLock(folder)
    assert holder.take()
    try:
        assert shown(environment, "run", "--csv", str(tmp_path / "log.csv"))[0] == 1
    finally:
        holder.release()
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(folder / "outbox.db") in errors[0]
    assert sorted(path.name for path in folder.glob("outbox.db*") if "broken" in path.name) == []


def test_a_sim_without_any_server(environment: dict[str, str]) -> None:
    code, said = shown(environment, "sim", "info")
    assert code == 0
    assert "Simway applet, still without a key" in said
    assert shown(environment, "personalise") == (
        0, f"the SIM now holds the key of {environment['DEVICE_KEY_FILE']}, version 1\n",
    )  # fmt: skip
    assert shown(environment, "personalise")[0] == 1
    assert "Simway applet with a key, version 1" in shown(environment, "sim", "info")[1]
    said = shown(environment, "sim", "profiles")[1]
    assert said.count("operational") == 3
    assert said.count(" enabled ") == 1
