"""Windows, charts, exports and imports over the REST API, on a real store."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simway_flask_app.store import scan
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.web import export_formats, limits
from simway_protocol.readings import Reading
from simway_testing.web_site import API, DEVICE, T_US, VALUES, Site, every_kind, problem

READINGS, EXPORT, IMPORT = (f"{API}/devices/{DEVICE}/{what}" for what in ("readings", "export", "import"))


# --- windows and charts ------------------------------------------------------------------------------------------------


def test_windows_of_a_range(site: Site) -> None:
    site.measure("t", *(float(n) for n in range(20)), unit="Cel", t_us=T_US)
    query = {"window": "5s", "agg": "avg,min,max,p50,count", "from": T_US + 5_000_000, "to": T_US + 15_000_000}
    body = site.client.get(READINGS, query_string=query).get_json()
    assert (body["device"], body["window_us"], body["tier"], body["raw_from_us"]) == (DEVICE, 5_000_000, "raw", None)
    assert (body["from"], body["from_us"], body["to_us"]) == ("2026-01-01T00:00:05.000000Z", T_US + 5_000_000, T_US + 15_000_000)
    assert body["series"] == [
        {
            "sensor": "t",
            "unit": "Cel",
            "points": [
                {"t": T_US + 5_000_000, "avg": 7.0, "min": 5.0, "max": 9.0, "p50": 7.0, "count": 5},
                {"t": T_US + 10_000_000, "avg": 12.0, "min": 10.0, "max": 14.0, "p50": 12.0, "count": 5},
            ],
        }
    ]
    filled = site.client.get(
        READINGS, query_string={"window": "1s", "fill": "null", "from": T_US - 1_000_000, "to": T_US + 1}
    ).get_json()
    assert [point["avg"] for point in filled["series"][0]["points"]] == [None, 0.0]
    few = site.client.get(READINGS, query_string={"window": "1s", "points": 6}).get_json()
    assert [len(few["series"][0]["points"]), few["series"][0]["points"][-1]["avg"]] == [6, 19.0]


def test_a_chart_of_raw_readings(site: Site) -> None:
    site.measure("t", *(float(n % 10) for n in range(100)), t_us=T_US)
    body = site.client.get(READINGS, query_string={"points": 20, "reduce": "minmax"}).get_json()
    points = body["series"][0]["points"]
    assert (body["window_us"], body["tier"]) == (None, "raw")
    assert 4 <= len(points) <= 20
    assert {0.0, 9.0} <= {point["value"] for point in points}
    assert len(site.client.get(READINGS, query_string={"points": 20}).get_json()["series"][0]["points"]) == 20


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("window=5", "bad_request"), ("window=0s", "bad_request"), ("window=5s&agg=median", "bad_request"),
        ("window=5s&agg=p101", "bad_window"), ("window=99999999d", "bad_window"), ("window=1s&limit=5", "bad_request"),
        ("points=9&cursor=AAAA", "bad_request"), ("agg=avg", "bad_request"), ("fill=null", "bad_request"),
        ("reduce=lttb", "bad_request"), ("points=3", "bad_request"), ("window=1s&order=desc", "bad_request"),
        ("window=1ms&from=0&to=1767225600000000", "too_many_windows"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(site: Site, query: str, reason: str) -> None:
    site.measure("t", 1.0, t_us=T_US)
    problem(site.client.get(f"{READINGS}?{query}"), 422, reason)


def test_a_thinned_answer_keeps_its_gaps(site: Site) -> None:
    site.measure("t", *(float(n) for n in range(20)), t_us=T_US)
    site.measure("t", *(float(n) for n in range(20)), t_us=T_US + 60_000_000)
    query = {"window": "1s", "fill": "null", "points": 12, "reduce": "minmax"}
    points = site.client.get(READINGS, query_string=query).get_json()["series"][0]["points"]
    assert len(points) == 12
    assert [point["t"] - T_US for point in points if point["avg"] is None] == [20_000_000]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"{READINGS}?window=5s&agg=avg,min,avg", "'avg'"), (f"{EXPORT}?columns=time,value,time", "'time'"),
        (f"{EXPORT}?columns=", "columns"), (f"{API}/export?columns=unit,unit", "'unit'"), (f"{API}/export?columns=", "columns"),
        (f"{READINGS}?window=5s&agg=", "agg"),
    ],
)  # fmt: skip
def test_what_is_asked_twice_or_not_at_all_is_named(site: Site, url: str, named: str) -> None:
    response = site.client.get(url)
    assert response.status_code == 422
    assert named in str(response.get_json()["errors"])


# --- exports -----------------------------------------------------------------------------------------------------------


def test_csv_and_ndjson_keep_every_kind_of_value(site: Site) -> None:
    every_kind(site)
    response = site.client.get(EXPORT, query_string={"format": "csv"})
    assert (response.mimetype, response.headers["Content-Disposition"]) == (
        "text/csv",
        'attachment; filename="readings-demo.csv"',
    )
    rows = list(csv.DictReader(io.StringIO(response.get_data(as_text=True), newline="")))
    assert list(rows[0]) == list(export_formats.CSV_COLUMNS)
    assert [row["value"] for row in rows][:7] == [
        "21.5",
        "0.0",
        "5e-324",
        "0",
        "9007199254740993",
        "-9223372036854775808",
        "true",
    ]
    assert rows[9]["value"] == VALUES[9]
    assert rows[0] == {
        "device": DEVICE, "sensor": "s00", "time": "2026-01-01T00:00:00.000000Z", "t_us": str(T_US), "value": "21.5",
        "kind": "float", "unit": "",
    }  # fmt: skip
    lines = site.client.get(EXPORT, query_string={"format": "ndjson"}).get_data().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(type(row["value"]), row["value"]) for row in found] == [(type(value), value) for value in VALUES]
    assert list(found[1]) == list(export_formats.NDJSON_COLUMNS)


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_tables_keep_every_kind_of_value(site: Site, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats, "GROUP_ROWS", 4)
    monkeypatch.setattr(scan, "PAGE_ROWS", 3)
    every_kind(site)
    data = site.client.get(EXPORT, query_string={"format": format_}).get_data()
    table = pq.read_table(pa.BufferReader(data)) if format_ == "parquet" else pa.ipc.open_file(data).read_all()
    assert table.schema.field("time").type == pa.timestamp("us", "UTC")
    back = []
    for row in table.to_pylist():
        kind = row["kind"]
        back.append({"float": row["value"], "boolean": row["value"] == 1, "integer": row["integer"]}.get(kind, row["text"]))
        back[-1] = json.loads(back[-1]) if kind == "object" else back[-1]
    assert [(type(value), value) for value in back] == [(type(value), value) for value in VALUES]
    assert table.column("time").cast(pa.int64()).to_pylist() == [T_US + n for n in range(len(VALUES))]
    assert table.column("unit").to_pylist() == [None, "V"] * 5 + [None]


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet", "arrow"])
def test_an_export_without_readings_is_a_file_too(site: Site, format_: str) -> None:
    response = site.client.get(EXPORT, query_string={"format": format_, "sensor": "none"})
    assert response.status_code == 200
    data = response.get_data()
    if format_ == "parquet":
        assert pq.read_table(pa.BufferReader(data)).num_rows == 0
    elif format_ == "arrow":
        assert pa.ipc.open_file(data).read_all().num_rows == 0
    else:
        assert data.count(b"\n") == (format_ == "csv")


def test_columns_ranges_sensors_and_devices_are_chosen(site: Site) -> None:
    site.enrol("other")
    site.measure("a", 1.0, 2.0, 3.0, t_us=T_US)
    site.measure("b", 4.0, t_us=T_US)
    site.store_readings([Reading("a", T_US, 5.0, None)], device="other")

    def rows(path: str, **query: Any) -> list[str]:
        return site.client.get(path, query_string={"columns": "sensor,value"} | query).get_data(as_text=True).split("\r\n")[1:-1]

    assert rows(EXPORT) == ["a,1.0", "a,2.0", "a,3.0", "b,4.0"]
    assert rows(EXPORT, sensor="a", **{"from": T_US + 1, "to": T_US + 2_000_000}) == ["a,2.0"]
    assert rows(f"{API}/export", columns="device,value", sensor="a") == ["demo,1.0", "demo,2.0", "demo,3.0", "other,5.0"]
    assert rows(f"{API}/export", columns="device,value", device=["other"]) == ["other,5.0"]
    problem(site.client.get(f"{API}/export", query_string={"device": ["other", "nobody"]}), 404, "unknown_device")
    problem(site.client.get(EXPORT, query_string={"columns": "colour"}), 422, "bad_request")
    problem(site.client.get(EXPORT, query_string={"format": "parquet", "compress": "gzip"}), 422, "bad_request")


def test_gzip_where_it_is_asked_for(site: Site) -> None:
    site.measure("a", 1.0, t_us=T_US)
    plain = site.client.get(EXPORT).get_data()
    response = site.client.get(EXPORT, headers={"Accept-Encoding": "gzip"})
    assert (response.headers["Content-Encoding"], gzip.decompress(response.get_data())) == ("gzip", plain)
    assert "Accept-Encoding" in response.headers["Vary"]
    response = site.client.get(EXPORT, query_string={"compress": "gzip"}, headers={"Accept-Encoding": "gzip"})
    assert (response.mimetype, response.headers.get("Content-Encoding")) == ("application/gzip", None)
    assert gzip.decompress(response.get_data()) == plain
    assert 'readings-demo.csv.gz"' in response.headers["Content-Disposition"]


def test_head_tells_of_the_file_without_making_it(site: Site) -> None:
    site.measure("a", 1.0, t_us=T_US)
    response = site.client.head(EXPORT, query_string={"format": "parquet"})
    assert (response.status_code, response.mimetype, response.get_data()) == (200, "application/vnd.apache.parquet", b"")
    assert site.client.head(f"{API}/devices/nobody/export").status_code == 404
    for path in (EXPORT, f"{API}/export", IMPORT):
        assert site.client.options(path).status_code == 405


def test_http_1_0_is_refused_since_its_transfers_break_off_in_silence(site: Site) -> None:
    answer = site.client.get(EXPORT, environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"})
    problem(answer, 505, "http_version")


def test_memory_does_not_grow_with_the_range(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not read yet is not asked of the database."""
    monkeypatch.setattr(scan, "PAGE_ROWS", 10)
    site.measure("a", *(float(n) for n in range(100)), t_us=T_US)
    pages = []
    asked = scan._sqlite_step

    def counted(*arguments: Any) -> Any:
        pages.append(1)
        return asked(*arguments)

    monkeypatch.setattr(scan, "_sqlite_step", counted)
    response = site.client.get(EXPORT, buffered=False)
    parts = response.iter_encoded()
    assert next(parts).startswith(b"device,")
    next(parts)
    assert len(pages) <= 2
    assert sum(part.count(b"\n") for part in parts) == 90
    assert len(pages) >= 10


def test_a_database_that_goes_away_midway_is_no_short_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PAGE_ROWS", 10)
    site.measure("a", *(float(n) for n in range(100)), t_us=T_US)
    asked, calls = scan._sqlite_step, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise StoreUnavailable("away")
        return asked(*arguments)

    monkeypatch.setattr(scan, "_sqlite_step", broken)
    with pytest.raises(StoreUnavailable):
        site.client.get(EXPORT).get_data()
    problem(site.client.get(EXPORT), 503, "store_unavailable")
    calls.clear()
    monkeypatch.setattr(scan, "_sqlite_step", asked)
    assert site.client.get(EXPORT).get_data().count(b"\n") == 101


def test_places_for_transfers_are_few_and_come_back(site: Site) -> None:
    site.measure("a", 1.0, t_us=T_US)
    open_ones = [site.client.get(EXPORT, buffered=False) for _ in range(limits.TRANSFERS_MAX)]
    answer = site.client.get(EXPORT)
    problem(answer, 429, "too_many_transfers")
    assert answer.headers["Retry-After"]
    problem(site.client.post(IMPORT, data=b"time,a\n", content_type="text/csv"), 429, "too_many_transfers")
    for response in open_ones:
        response.close()
    assert site.client.get(EXPORT).status_code == 200
