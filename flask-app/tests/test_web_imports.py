"""Imports of CSV history over the REST API, on a real store, and exports that come back by them."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simway_flask_app.web import limits
from simway_protocol.readings import Reading
from simway_testing.web_site import API, DEVICE, T_US, VALUES, Site, every_kind, problem

READINGS, EXPORT, IMPORT = (f"{API}/devices/{DEVICE}/{what}" for what in ("readings", "export", "import"))


def send(site: Site, data: bytes, **query: Any) -> Any:
    return site.client.post(IMPORT, data=data, content_type="text/csv", query_string=query)


def test_a_file_is_stored_once_however_often_it_is_sent(site: Site) -> None:
    data = b"time,a,b\n" + b"".join(b"%d,%d,%d.5\n" % (T_US + n, n, n) for n in range(3000))
    first, again = send(site, data).get_json(), send(site, data).get_json()
    assert (first["lines"], first["readings"], first["stored"], first["duplicate"]) == (3001, 6000, 6000, 0)
    assert (again["readings"], again["stored"], again["duplicate"]) == (6000, 0, 6000)
    assert site.client.get(READINGS, query_string={"sensor": "b", "limit": 2}).get_json()["readings"][1]["value"] == 1.5
    ledger = site.client.get(f"{API}/devices/{DEVICE}/loss").get_json()
    assert (ledger["sent"], ledger["stored"], ledger["duplicate"], ledger["missing"]) == (12000, 6000, 6000, 0)
    changed = send(site, b"time,a\n%d,77\n" % T_US).get_json()
    assert (changed["stored"], changed["conflict"]) == (0, 1)
    assert [(row["line"], row["reason"], row["column"]) for row in changed["bad_lines"]] == [(2, "conflict", "a")]


def test_conflicts_and_bad_lines_are_listed_in_the_order_of_lines(site: Site) -> None:
    send(site, b"time,a\n%d,1\n%d,2\n" % (T_US, T_US + 1))
    body = send(site, b"time,a\n%d,7\nnever,1\n%d,8\nnever,2\n%d,3\n" % (T_US, T_US + 1, T_US + 2)).get_json()
    assert (body["stored"], body["conflict"], body["rejected"]) == (1, 2, {"bad_time": 2})
    assert [(row["line"], row["reason"]) for row in body["bad_lines"]] == [
        (2, "conflict"), (3, "bad_time"), (4, "conflict"), (5, "bad_time"),
    ]  # fmt: skip


def test_imports_meet_live_readings_and_rollups(site: Site) -> None:
    """An import beside what devices sent: one count each, in windows as in the ledger."""
    site.store_readings([Reading("a", T_US + n * 1_000_000, n, None) for n in range(0, 120, 2)])
    data = b"time,a\n" + b"".join(b"%d,%d\n" % (T_US + n * 1_000_000, n) for n in range(120))
    body = send(site, data).get_json()
    assert (body["stored"], body["duplicate"]) == (60, 60)
    answer = site.client.get(READINGS, query_string={"window": "1d", "agg": "count,sum,first,last"}).get_json()
    assert answer["series"][0]["points"] == [{"t": T_US, "count": 120, "sum": 7140.0, "first": 0.0, "last": 119.0}]
    site.store_readings([Reading("a", T_US + 500_000, 1, None)])
    ledger = site.client.get(f"{API}/devices/{DEVICE}/loss").get_json()
    assert (ledger["sent"], ledger["stored"], ledger["duplicate"]) == (181, 121, 60)


def test_an_export_comes_back_by_import_as_it_was(site: Site) -> None:
    readings = every_kind(site)
    data = site.client.get(EXPORT).get_data()
    assert send(site, data).get_json()["duplicate"] == len(readings)
    site.enrol("copy")
    data = site.client.get(EXPORT, query_string={"columns": "sensor,time,value,kind,unit"}).get_data()
    body = site.client.post(f"{API}/devices/copy/import", data=data, content_type="text/csv").get_json()
    assert (body["stored"], body["rejected"]) == (len(readings), {})
    latest = site.client.get(f"{API}/devices/copy/readings/latest").get_json()["readings"]
    assert [(row["sensor"], row["t_us"], row["value"], row["unit"]) for row in latest] == readings
    assert [type(row["value"]) for row in latest] == [type(value) for value in VALUES]


def test_bad_lines_are_named_up_to_a_hundred_and_all_counted(site: Site) -> None:
    bad = b"".join(b"%d,x\n" % (T_US + n) for n in range(150))
    body = send(site, b"time,a\n" + bad + b"%d,1\nnever,1\n%d,1" % (T_US, T_US + 1)).get_json()
    assert (body["lines"], body["stored"], body["rejected"]) == (154, 1, {"bad_value": 150, "bad_time": 1, "half_line": 1})
    assert [row["line"] for row in body["bad_lines"]] == list(range(2, 102))
    assert set(body["bad_lines"][0]) == {"line", "reason", "column", "detail"}


def test_what_cannot_be_read_is_refused_and_stores_nothing(site: Site) -> None:
    assert "save it as UTF-8" in problem(send(site, "time,a\n1,1\n".encode("utf-16")), 422, "bad_encoding")["detail"]
    assert "unpack it first" in problem(send(site, gzip.compress(b"time,a\n1,1\n")), 422, "bad_encoding")["detail"]
    assert "time_column" in problem(send(site, b"when,a\n1,1\n"), 422, "bad_header")["detail"]
    problem(site.client.post(IMPORT, data=b"{}", content_type="application/json"), 415, "unsupported_media_type")
    problem(site.client.post(IMPORT, data=b"", content_type="text/csv; charset=latin-1"), 415, "bad_encoding")
    answer = site.client.post(IMPORT, data=b"", content_type="text/csv", headers={"Content-Encoding": "gzip"})
    problem(answer, 415, "unsupported_media_type")
    problem(site.client.post(f"{API}/devices/nobody/import", data=b"", content_type="text/csv"), 404, "unknown_device")
    problem(send(site, b"time,a\n", delimiter="x"), 422, "bad_request")
    assert site.client.get(READINGS).get_json()["readings"] == []


def test_a_file_that_is_too_large_is_told_how_to_come_in_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_MAX_BYTES", 100)
    body = problem(send(site, b"time,a\n" + b"1,1\n" * 50), 413, "too_large")
    assert "at most 100 bytes" in body["detail"]
    assert "first_line" in body["detail"]
    done = send(site, b"%d,1\n" % T_US, header="time,a", first_line=1000).get_json()
    assert (done["stored"], done["lines"]) == (1, 1)


FIELDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
    st.dictionaries(st.sampled_from("ab"), st.integers(-5, 5) | st.none() | st.text("xy", max_size=3), max_size=2),
)  # fmt: skip
_names = iter(range(10**6))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(FIELDS, min_size=1, max_size=8))
def test_any_value_survives_export_and_import(site: Site, values: list[Any]) -> None:
    one, two = site.enrol(f"one-{next(_names)}"), site.enrol(f"two-{next(_names)}")
    site.store_readings([Reading("s", T_US + n, value, None) for n, value in enumerate(values)], device=one)
    data = site.client.get(f"{API}/devices/{one}/export", query_string={"columns": "time,sensor,value,kind"}).get_data()
    body = site.client.post(f"{API}/devices/{two}/import", data=data, content_type="text/csv").get_json()
    assert body.get("stored") == len(values), (body, data)
    back = [row["value"] for row in site.client.get(f"{API}/devices/{two}/readings").get_json()["readings"]]
    assert [(type(value), value) for value in back] == [(type(value), value) for value in values]
