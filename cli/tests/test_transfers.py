"""Exports that are whole or not there, imports that say what became of every line."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from simway_cli.errors import Exit

PIECES = [b"device,sensor,time,value\n", b"demo,cpu,2026-11-22T09:00:00Z,1.5\n" * 1000, b"demo,cpu,2026-11-22T09:00:01Z,2\n"]
WHOLE = b"".join(PIECES)


@pytest.mark.parametrize(
    ("name", "argv", "format_", "compress"),
    [
        ("day.csv", [], "csv", None),
        ("day.ndjson", [], "ndjson", None),
        ("day.parquet", [], "parquet", None),
        ("day.arrow", [], "arrow", None),
        ("day.csv.gz", [], "csv", ["gzip"]),
        ("day", [], "csv", None),
        ("day.txt", ["--format", "ndjson", "--gzip"], "ndjson", ["gzip"]),
    ],
)
def test_the_name_tells_the_format(
    cli: Any, api: Any, reply: Any, tmp_path: Path, name: str, argv: list[str], format_: str, compress: list[str] | None
) -> None:
    api.on("GET", "devices/demo/export", reply(pieces=PIECES))
    done = cli("export", "demo", "-o", str(tmp_path / name), *argv)
    assert done.status == 0
    assert (tmp_path / name).read_bytes() == WHOLE
    query = api.requests[-1].query
    assert (query["format"], query.get("compress")) == ([format_], compress)
    assert "whole" in done.err


def test_what_is_asked_for(cli: Any, api: Any, reply: Any, tmp_path: Path) -> None:
    api.on("GET", "export", lambda _: reply(pieces=PIECES))
    cli("export", "demo", "truck-7", "--sensor", "cpu", "--from", "2026-11-22T09:00Z", "--columns", "time,value")
    query = api.requests[-1].query
    assert query == {
        "device": ["demo", "truck-7"],
        "sensor": ["cpu"],
        "from": ["1795338000000000"],
        "columns": ["time,value"],
        "format": ["csv"],
    }
    cli("export", "--all")
    assert "device" not in api.requests[-1].query
    count = len(api.requests)
    assert cli("export").status == cli("export", "demo", "--all").status == Exit.USAGE
    assert cli("export", "demo", "-o", str(tmp_path / "x.parquet.gz")).status == Exit.USAGE
    assert len(api.requests) == count


def test_to_standard_output_byte_by_byte(cli: Any, api: Any, reply: Any) -> None:
    api.on("GET", "devices/demo/export", reply(pieces=[b"PAR1\xff\x00", b"\r\n"]))
    done = cli("export", "demo", "--format", "parquet")
    assert (done.status, done.raw) == (0, b"PAR1\xff\x00\r\n")
    assert cli("export", "demo", "--format", "arrow", tty=True).status == Exit.USAGE


def test_an_export_that_breaks_off_leaves_nothing(cli: Any, api: Any, reply: Any, tmp_path: Path) -> None:
    api.on(
        "GET",
        "devices/demo/export",
        reply(pieces=PIECES, cut=True),
        reply(pieces=PIECES, cut=True),
        {"status": 404, "reason": "x"},
    )
    done = cli("export", "demo", "-o", str(tmp_path / "day.csv"))
    assert done.status == Exit.AWAY
    assert "broke off" in done.err
    assert list(tmp_path.iterdir()) == [tmp_path / "admin.token"]
    assert cli("export", "demo").status == Exit.AWAY, "on standard output the exit status says it"


def test_a_refused_export_leaves_nothing_and_spares_what_is_there(cli: Any, api: Any, tmp_path: Path) -> None:
    api.on("GET", "devices/demo/export", {"status": 404, "reason": "unknown_device", "detail": "no device"}, status=404)
    target = tmp_path / "day.csv"
    assert cli("export", "demo", "-o", str(target)).status == Exit.NOT_FOUND
    assert not target.exists()
    target.write_text("old")
    assert cli("export", "demo", "-o", str(target)).status == Exit.USAGE
    assert cli("export", "demo", "-o", str(target), "--overwrite").status == Exit.NOT_FOUND
    assert target.read_text() == "old"


def test_progress_on_a_terminal_alone(cli: Any, api: Any, reply: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_cli.output.PROGRESS_EVERY_S", 0)
    api.on("GET", "devices/demo/export", lambda _: reply(pieces=PIECES))
    assert "\rday.csv: " in cli("export", "demo", "-o", str(tmp_path / "day.csv"), tty=True).err
    assert "\r" not in cli("export", "demo", "-o", str(tmp_path / "day.csv"), "--overwrite").err


# --- import ------------------------------------------------------------------------------------------------------------

NONE = dict.fromkeys(("duplicate", "conflict", "refused", "empty"), 0)
GOOD = {"device": "demo", "lines": 3, "readings": 2, "stored": 2, **NONE, "rejected": {}, "bad_lines": []}


def test_an_import_that_is_taken(cli: Any, api: Any, tmp_path: Path) -> None:
    api.on("POST", "devices/demo/import", GOOD)
    file = tmp_path / "history.csv"
    file.write_bytes(b"time,sensor,value\n1795338000,a,1\n1795338001,a,2\n")
    done = cli("import", "demo", str(file), "--unit", "Cel", "--delimiter", "tab", "--utc-times")
    assert (done.status, "stored     2" in done.lines) == (0, True)
    request = api.requests[-1]
    assert request.body == file.read_bytes()
    assert request.query == {"unit": ["Cel"], "delimiter": ["\t"], "utc": ["true"]}
    assert cli("import", "demo", str(file), "--json").json == GOOD


def test_a_packed_file_is_unpacked(cli: Any, api: Any, tmp_path: Path) -> None:
    api.on("POST", "devices/demo/import", GOOD)
    text = b"time,sensor,value\n1795338000,a,1\n1795338001,a,2\n"
    file = tmp_path / "history.csv.gz"
    file.write_bytes(gzip.compress(text))
    assert cli("import", "demo", str(file), tty=True).status == 0
    assert api.requests[-1].body == text
    count = len(api.requests)
    for cut in (gzip.compress(text)[:-9], gzip.compress(text)[:-1] + b"\xff", b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20):
        file.write_bytes(cut)
        done = cli("import", "demo", str(file))
        assert (done.status, str(file) in done.err) == (Exit.USAGE, True)
    assert len(api.requests) == count


def test_bad_lines_are_named_and_the_exit_status_says_it(cli: Any, api: Any, tmp_path: Path) -> None:
    bad = [{"line": 3, "reason": "bad_value", "column": "value", "detail": "'warm' is no number"}]
    api.on("POST", "devices/demo/import", GOOD | {"rejected": {"bad_value": 1}, "bad_lines": bad, "conflict": 1, "readings": 3})
    (tmp_path / "x.csv").write_text("time,sensor,value\n")
    done = cli("import", "demo", str(tmp_path / "x.csv"))
    assert done.status == Exit.NOT_SO
    assert "bad        1 (bad_value 1)" in done.lines
    assert done.lines[-1].split() == ["3", "bad_value", "value", "'warm'", "is", "no", "number"]
    assert "simway dead-letters --device demo" in done.err


@pytest.mark.parametrize("counts", [{"conflict": 1, "stored": 1}, {"refused": 1, "stored": 1}, {"rejected": {"bad_time": 1}}])
def test_what_was_not_taken_is_no_success(cli: Any, api: Any, tmp_path: Path, counts: dict[str, Any]) -> None:
    api.on("POST", "devices/demo/import", GOOD | counts)
    (tmp_path / "x.csv").write_text("time,sensor,value\n")
    assert cli("import", "demo", str(tmp_path / "x.csv")).status == Exit.NOT_SO


def test_a_long_file_goes_in_parts(cli: Any, api: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_cli.csv_parts.parts.__defaults__", (40,))
    lines = [b"time,sensor,value\n", *(b"%d,a,%d\n" % (1_795_338_000 + n, n) for n in range(20))]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines))))

    def take(request: Any) -> Any:
        count = request.body.count(b"\n")
        bad = [{"line": int(request.query.get("first_line", ["1"])[0]), "reason": "bad_time", "column": "", "detail": ""}]
        return reply(GOOD | {"lines": count, "readings": count, "stored": count, "rejected": {"bad_time": 1}, "bad_lines": bad})

    api.on("POST", "devices/demo/import", take)
    total = cli("import", "demo", "-", "--open-end", "--json").json
    assert b"".join(request.body for request in api.requests) == b"".join(lines)
    first, second, *_, last = api.requests
    assert "header" not in first.query
    assert second.query["header"] == ["time,sensor,value"]
    assert int(second.query["first_line"][0]) == first.body.count(b"\n") + 1
    assert ("open_end" in second.query, "open_end" in last.query) == (False, True)
    assert total["stored"] == total["lines"] == 21
    assert total["rejected"] == {"bad_time": len(api.requests)}
    assert len(total["bad_lines"]) == len(api.requests)


def test_an_import_that_fails_in_the_middle_says_what_is_in(
    cli: Any, api: Any, reply: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simway_cli.csv_parts.parts.__defaults__", (40,))
    (tmp_path / "x.csv").write_bytes(b"time,sensor,value\n" + b"1795338000,a,1\n" * 20)
    api.on(
        "POST", "devices/demo/import", GOOD, reply({"status": 503, "reason": "store_unavailable", "detail": "No database."}, 503)
    )
    done = cli("import", "demo", str(tmp_path / "x.csv"))
    assert done.status == Exit.AWAY
    assert "lines 1 to 3 are in (2 readings stored)" in done.err
    assert "Give the same file again" in done.err


def test_a_file_that_is_none(cli: Any, api: Any, tmp_path: Path) -> None:
    done = cli("import", "demo", str(tmp_path / "none.csv"))
    assert (done.status, "No such file" in done.err) == (Exit.USAGE, True)
    (tmp_path / "zeros").write_bytes(bytes(2**20 + 10))
    done = cli("import", "demo", str(tmp_path / "zeros"))
    assert (done.status, "line 1 is longer" in done.err) == (Exit.USAGE, True)
    assert api.requests == []
