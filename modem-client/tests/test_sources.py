"""Sources: this machine, JSON lines, CSV."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client.entries import ReadingRefused, decode_value
from simway_modem_client.outbox import Outbox
from simway_modem_client.sources import BAD_LINES_NAMED
from simway_modem_client.sources.csv_file import CsvSource
from simway_modem_client.sources.csv_format import BadCell, CsvFormat, parse_time, parse_value, sensor_name
from simway_modem_client.sources.host import HostSource
from simway_modem_client.sources.lines import LINE_MAX_BYTES, LinesSource, parse_line
from simway_protocol.errors import PeerError
from simway_protocol.readings import is_sensor
from structlog.testing import capture_logs

RUN_ON = threading.Event()


@pytest.fixture
def outbox(tmp_path: Path):
    with Outbox(tmp_path / "outbox.db") as outbox:
        yield outbox


def readings_in(outbox: Outbox):
    assert outbox.flush()
    return [stored.reading for stored in outbox.read(1, 100_000)]


# --- host ----------------------------------------------------------------------------------------------------------------


def test_this_machine_is_really_measured() -> None:
    source = HostSource(1)
    source.measure()
    by_sensor = {entry.sensor: entry for entry in source.measure()}
    assert {"cpu", "memory", "memory/used", "load/1min", "uptime", "disk/used", "disk/usage", "network/received"} <= set(
        by_sensor
    )
    assert by_sensor["cpu"].unit == "%"
    assert by_sensor["memory/used"].unit == "B"
    assert decode_value(by_sensor["memory/used"].value) > 1_000_000
    assert "network/received_rate" in by_sensor, "the second round has something to compare with"
    assert by_sensor["network/received_rate"].unit == "B/s"
    assert len({entry.t_us for entry in by_sensor.values()}) == 1
    assert abs(by_sensor["cpu"].t_us / 1e6 - time.time()) < 60


def test_what_a_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments, **_named):
        raise OSError("not here")

    monkeypatch.setattr("psutil.disk_usage", refuse)
    monkeypatch.setattr("psutil.sensors_temperatures", refuse, raising=False)
    sensors = {entry.sensor for entry in HostSource(1).measure()}
    assert "cpu" in sensors
    assert not [sensor for sensor in sensors if sensor.startswith(("disk/used", "temperature"))]


def test_temperatures_get_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sensor:
        def __init__(self, label: str, current: float | None) -> None:
            self.label, self.current = label, current

    found = {
        "coretemp": [Sensor("Package id 0", 41.04), Sensor("", 40.0), Sensor("", None)],
        "nvme": [Sensor("Composite", 33.85)],
    }
    monkeypatch.setattr("psutil.sensors_temperatures", lambda: found, raising=False)
    measured = {entry.sensor: decode_value(entry.value) for entry in HostSource(1).measure() if entry.unit == "Cel"}
    assert measured == {
        "temperature/coretemp/Package_id_0": 41.0, "temperature/coretemp/1": 40.0, "temperature/nvme/Composite": 33.9,
    }  # fmt: skip


def test_the_host_source_runs_until_it_is_stopped(outbox: Outbox) -> None:
    stopping = threading.Event()
    runner = threading.Thread(target=HostSource(0.01).run, args=(outbox, stopping))
    runner.start()
    deadline_s = time.monotonic() + 20
    while outbox.stats().waiting < 30 and time.monotonic() < deadline_s:
        outbox.flush()
    stopping.set()
    runner.join(60)
    assert not runner.is_alive()
    assert outbox.stats().waiting >= 30


# --- JSON lines ----------------------------------------------------------------------------------------------------------


def test_lines_in_both_forms(outbox: Outbox) -> None:
    text = b"""{"sensor_id": "door", "value": false, "timestamp": 1790000000}
[{"sensor_id": "a", "value": 0, "timestamp": 1790000000000}, {"sensor_id": "b", "value": 2, "timestamp": "2026-11-22T02:00:00Z"}]

[{"bn": "boiler/", "bt": 1790000000, "n": "temperature", "u": "Cel", "v": 61.5}, {"n": "pump", "vb": true}]
{"n": "solo", "t": 1790000001.5, "v": 3}
"""
    report = LinesSource(io.BytesIO(text)).run(outbox, RUN_ON)
    assert (report.lines, report.entered, report.skipped, report.exit_code) == (5, 6, 0, 0)
    assert [(r.sensor, r.value, r.unit, r.t_us) for r in readings_in(outbox)] == [
        ("door", False, None, 1_790_000_000_000_000),
        ("a", 0, None, 1_790_000_000_000_000),
        ("b", 2, None, 1_795_312_800_000_000),
        ("boiler/temperature", 61.5, "Cel", 1_790_000_000_000_000),
        ("boiler/pump", True, None, 1_790_000_000_000_000),
        ("solo", 3, None, 1_790_000_001_500_000),
    ]


def test_a_line_without_a_time_is_stamped_on_entry() -> None:
    before_us = time.time_ns() // 1000
    (entry,) = parse_line(b'{"sensor_id": "door", "value": true}')
    assert before_us <= entry.t_us <= time.time_ns() // 1000


def test_bad_lines_are_named_by_number_counted_and_skipped(outbox: Outbox) -> None:
    lines = [
        b'{"sensor_id": "a", "value": 1}',
        b"this is no JSON",
        b'{"sensor_id": "a", "value": NaN}',
        b'{"value": 1}',
        b'{"sensor_id": "a"}',
        b'{"sensor_id": "a", "value": "' + b"x" * 1_000 + b'"}',
        b'{"sensor_id": "a", "value": "' + b"x" * LINE_MAX_BYTES + b'"}',
        b"\xff\xfe",
        b"7",
        b'[{"sensor_id": "a", "value": 1}, {"sensor_id": "a b", "value": 2}]',
        b'{"sensor_id": "a", "value": 2}',
    ]
    with capture_logs() as logs:
        report = LinesSource(io.BytesIO(b"\n".join(lines))).run(outbox, RUN_ON)
    assert [log["line"] for log in logs if log["event"] == "line skipped"] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (report.lines, report.entered, report.skipped, report.exit_code) == (11, 2, 9, 3)
    assert [reading.value for reading in readings_in(outbox)] == [1, 2]


def test_a_flood_of_bad_lines_is_counted_but_not_named_for_ever(outbox: Outbox) -> None:
    with capture_logs() as logs:
        report = LinesSource(io.BytesIO(b"?\n" * 1_000)).run(outbox, RUN_ON)
    assert report.skipped == 1_000
    assert len(logs) == BAD_LINES_NAMED + 1


@given(st.binary(max_size=200))
def test_any_line_is_taken_or_refused_by_name(line: bytes) -> None:
    with contextlib.suppress(PeerError, ReadingRefused):
        parse_line(line)


# --- CSV -----------------------------------------------------------------------------------------------------------------


def import_csv(outbox: Outbox, tmp_path: Path, text: str | bytes, **form):
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    out = io.StringIO()
    with capture_logs() as logs:
        report = CsvSource(path, CsvFormat(**form), out).run(outbox, RUN_ON)
    named = [log["line"] for log in logs if log["event"] == "line skipped"]
    return report, named, out.getvalue()


def test_wide_a_sensor_a_column(outbox: Outbox, tmp_path: Path) -> None:
    text = "when,Room temperature,humidity\n1790000000,21.5,40\n1790000001,,41\n1790000002,22,\n"
    report, named, said = import_csv(outbox, tmp_path, text, prefix="office/", unit="count")
    assert [(r.sensor, r.value, r.t_us, r.unit) for r in readings_in(outbox)] == [
        ("office/Room_temperature", 21.5, 1_790_000_000_000_000, "count"),
        ("office/humidity", 40, 1_790_000_000_000_000, "count"),
        ("office/humidity", 41, 1_790_000_001_000_000, "count"),
        ("office/Room_temperature", 22, 1_790_000_002_000_000, "count"),
    ]
    assert (report.lines, report.skipped, report.exit_code, named) == (3, 0, 0, [])
    assert "3 lines, 4 readings entered, 0 lines skipped" in said


def test_long_a_reading_a_line_with_mapped_columns(outbox: Outbox, tmp_path: Path) -> None:
    text = "v;name;u;ts\n21,5;t;Cel;22.11.2026 03:00\n1;door;;22.11.2026 03:01\n"
    report, _named, _said = import_csv(
        outbox, tmp_path, text, delimiter=";", decimal=",", time_column="ts", sensor_column="name", value_column="v",
        unit_column="u", time_format="%d.%m.%Y %H:%M", time_zone=ZoneInfo("Europe/Berlin"),
    )  # fmt: skip
    assert report.exit_code == 0
    assert [(r.sensor, r.value, r.unit) for r in readings_in(outbox)] == [("t", 21.5, "Cel"), ("door", 1, None)]
    assert readings_in(outbox)[0].t_us == int(datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()) * 1_000_000


def test_a_bad_line_is_named_by_its_number_in_the_file(outbox: Outbox, tmp_path: Path) -> None:
    text = (
        '\ufeffts,name,value\n1790000000,"a",1\nyesterday,a,2\n1790000002,a,warm\n1790000003,,3\n1790000004,a\n'
        '1790000005,"two\nlines",5\n1790000006,a,nan\n1790000007,a,"6"x\n1790000008,a,7\n'
    )
    report, named, said = import_csv(outbox, tmp_path, text)
    assert [(r.sensor, r.value) for r in readings_in(outbox)] == [("a", 1), ("two_lines", 5), ("a", 7)]
    assert named == [3, 4, 5, 6, 9, 10]
    assert (report.lines, report.skipped, report.exit_code) == (9, 6, 3)
    assert "6 lines skipped" in said


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        ("", {}, "the file is empty"),
        ("time\n1\n", {}, "no column holds measurements"),
        ("a,b\n1,2\n", {"time_column": "ts"}, "no column 'ts'; the columns are: a, b"),
        ("ts,name,v\n", {"sensor_column": "name"}, "needs --value-column too"),
    ],
)
def test_wrong_columns_are_said_with_those_there_are(outbox: Outbox, tmp_path: Path, text, form, words) -> None:
    report, _named, said = import_csv(outbox, tmp_path, text, **form)
    assert words in report.error
    assert words in said
    assert report.exit_code == 1


def test_a_missing_file_is_an_error(outbox: Outbox, tmp_path: Path) -> None:
    report = CsvSource(tmp_path / "none.csv", CsvFormat(), io.StringIO()).run(outbox, RUN_ON)
    assert "none.csv" in report.error
    assert report.exit_code == 1


def test_an_import_waits_for_room_and_drops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("ts,n\n" + "".join(f"{1_790_000_000 + i},{i}\n" for i in range(5_000)))
    with Outbox(tmp_path / "outbox.db", max_bytes=40_000) as outbox:
        importer = threading.Thread(target=CsvSource(path, CsvFormat(), io.StringIO()).run, args=(outbox, RUN_ON))
        importer.start()
        deadline_s = time.monotonic() + 60
        seen = 0
        while seen < 5_000 and time.monotonic() < deadline_s:
            outbox.flush()
            for stored in outbox.read(1, 1_000):
                assert stored.reading.value == stored.seq - 1
                seen = stored.seq
            outbox.acknowledge(outbox.epoch, [(1, max(seen, 1))])
        importer.join(60)
        assert outbox.flush()
        assert seen == 5_000
        stats = outbox.stats()
        assert (stats.dropped_total, stats.logged_total) == (0, 5_000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal(outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_modem_client.sources.csv_file.TTY_EVERY_S", 0.0)
    path = tmp_path / "file.csv"
    path.write_text("ts,n\n" + "".join(f"{1_790_000_000 + i},{i}\n" for i in range(100)))
    out = Terminal()
    CsvSource(path, CsvFormat(), out).run(outbox, RUN_ON)
    shown = out.getvalue()
    assert shown.count("\n") == 1, "each progress overwrites the last; the summary ends the line"
    assert "readings/s" in shown
    assert " left" in shown
    assert "100%" in shown


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0", 0), ("-7", -7), ("1.0", 1.0), ("1e3", 1000.0), ("true", True), ("False", False), ("9999999999999999999999", 1e22)],
)
def test_cells_as_values(cell: str, value) -> None:
    parsed = parse_value(cell, "s", CsvFormat())
    assert (parsed, type(parsed)) == (value, type(value))


def test_texts_are_kept_only_on_request() -> None:
    assert parse_value("open", "door", CsvFormat(text=True)) == "open"
    with pytest.raises(BadCell, match="--text"):
        parse_value("open", "door", CsvFormat())


@pytest.mark.parametrize("cell", ["1790000000", "1790000000000", "1790000000000000", "2026-09-21T14:13:20Z", "1790000000.0"])
def test_times_are_detected(cell: str) -> None:
    assert parse_time(cell, CsvFormat()) == 1_790_000_000_000_000


@given(st.text(max_size=60))
def test_any_column_name_becomes_a_sensor_name_or_is_refused(name: str) -> None:
    plain = sensor_name("", name)
    assert plain == "" or is_sensor(plain) or plain[0] in ":./-"
