"""The loss ledger, dead letters and writers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from simway_cli.commands.writers import spans
from simway_cli.errors import Exit


@pytest.fixture(autouse=True)
def books(api: Any, recorded: Any) -> None:
    for path, name in (
        ("loss", "fleet_loss"),
        ("dead-letters", "dead_letters"),
        ("dead-letters/counts", "letter_counts"),
        ("dead-letters/1", "dead_letter"),
        ("writers", "writers"),
    ):
        api.on("GET", path, recorded[name])


def test_the_ledger_of_a_device(cli: Any) -> None:
    done = cli("loss", "demo")
    assert done.status == Exit.OK
    assert {"sent         4", "= stored     2", "+ conflict   1", "+ rejected   1 (too_old 1)", "balance      holds"} <= set(
        done.lines
    )
    assert done.lines[-1].split()[-8:] == ["4", "2", "0", "1", "1", "0", "0", "0"]


def test_what_is_missing_is_named(cli: Any, api: Any, recorded: Any) -> None:
    gaps = [{"epoch": "ab", "first": 5, "last": 7}, {"epoch": "ab", "first": 9, "last": 9}]
    api.on("GET", "devices/demo/loss", recorded["loss"] | {"missing": 4, "missing_ranges": gaps * 11})
    done = cli("loss", "demo")
    assert "missing in epoch ab: 5 to 7 (3)" in done.lines
    assert "missing in epoch ab: 9" in done.lines
    assert "The first 20 of 22 missing ranges" in done.err
    assert done.status == Exit.OK
    assert cli("loss", "demo", "--check").status == Exit.NOT_SO


def test_a_ledger_that_does_not_balance_is_a_defect(cli: Any, api: Any, recorded: Any) -> None:
    api.on("GET", "devices/demo/loss", recorded["loss"] | {"balanced": False})
    done = cli("loss", "demo")
    assert (done.status, "does not hold" in done.out) == (Exit.NOT_SO, True)


def test_what_the_logs_retention_took_is_said(cli: Any, api: Any, recorded: Any) -> None:
    gap = {"topic": "uplink", "partition": 3, "first_offset": 10, "last_offset": 19, "time": "", "t_us": 0}
    api.on("GET", "loss", recorded["fleet_loss"] | {"log_gaps": [gap]})
    assert "took records of uplink/3 before they were read: 10 to 19 (10)" in cli("loss").out


def test_the_fleet_page_by_page(cli: Any, api: Any, recorded: Any, reply: Any) -> None:
    one = recorded["fleet_loss"]["devices"][0]

    def page(request: Any) -> Any:
        begin, limit = int(request.query.get("cursor", ["0"])[0]), int(request.query["limit"][0])
        end = min(begin + limit, 700)
        devices = [one | {"device": f"d{n}"} for n in range(begin, end)]
        return reply(recorded["fleet_loss"] | {"devices": devices, "next_cursor": str(end) if end < 700 else None})

    api.on("GET", "loss", page)
    done = cli("loss", "--only", "missing")
    assert "The first 50; --limit 0 gives all." in done.err
    assert api.requests[-1].query == {"only": ["missing"], "limit": ["50"]}
    everything = cli("loss", "--limit", "0", "--json").json
    assert len(everything["devices"]) == 700
    assert everything["totals"] == recorded["fleet_loss"]["totals"]
    assert len(cli("loss", "--limit", "600", "--json").json["devices"]) == 600


def test_dead_letters_and_one_of_them(cli: Any, api: Any) -> None:
    done = cli("dead-letters", "--device", "lines-1", "--reason", "conflict")
    assert done.lines[1].split()[3:] == ["recorder", "conflict", "lines-1", "temp", "=", "21.5", "-"]
    assert (api.requests[-1].query["device"], api.requests[-1].query["reason"]) == (["lines-1"], ["conflict"])
    cli("dead-letters", "--source", "recorder", "list", "--reason", "conflict")
    assert api.requests[-1].query["source"] == ["recorder"], "what stands before the verb holds too"
    assert cli("dead-letters", "counts").lines[-1].split() == ["total", "1"]
    shown = cli("dead-letters", "show", "1")
    assert "reading       temp = 21.5" in shown.lines
    assert "another value of this sensor and time was stored first" in shown.out


def test_a_payload_is_shown_as_far_as_it_decodes(cli: Any, api: Any, recorded: Any) -> None:
    letter = recorded["dead_letter"] | {"reading": None, "payload_bytes": 5}
    api.on("GET", "dead-letters/1", letter | {"payload_form": "json", "payload": {"a": "\x1b[2J"}, "payload_base64": "e30="})
    done = cli("dead-letters", "show", "1")
    assert "payload, 5 bytes (json):" in done.lines
    assert "\x1b" not in done.out
    api.on("GET", "dead-letters/1", letter | {"payload_form": "", "payload": None, "payload_base64": "/w=="})
    assert '"/w=="' in cli("dead-letters", "show", "1").lines


def test_replay_says_of_each_what_became_of_it(cli: Any, api: Any, recorded: Any) -> None:
    api.on("POST", "dead-letters/1/replay", recorded["letter_refused"], status=409)
    api.on("POST", "dead-letters/2/replay", recorded["dead_letters"]["dead_letters"][0], status=202)
    done = cli("dead-letters", "replay", "1", "2")
    assert done.status == Exit.NOT_SO
    assert [line.split()[1] for line in done.lines[1:]] == ["conflict", "replayed"]
    assert "The store has 20.5" in done.out
    assert "1 of 2 put into the log anew" in done.err
    assert cli("dead-letters", "replay", "2").status == Exit.OK


def test_replay_of_a_kind_leaves_out_what_was_replayed(cli: Any, api: Any, recorded: Any) -> None:
    letter = recorded["dead_letters"]["dead_letters"][0]
    kept = [letter | {"id": 5}, letter | {"id": 6, "replayed_us": 1}]
    api.on("GET", "dead-letters", {"dead_letters": kept, "next_cursor": None})
    api.on("POST", "dead-letters/5/replay", letter, status=202)
    done = cli("dead-letters", "replay", "--reason", "unknown_device", "--json")
    assert done.json == {"results": [{"id": 5, "replayed": True, "reason": "", "detail": ""}]}
    assert cli("dead-letters", "replay").status == Exit.USAGE, "never all by mistake"
    assert cli("dead-letters", "replay", "5", "--reason", "conflict").status == Exit.USAGE


def test_writers(cli: Any) -> None:
    done = cli("writers")
    assert done.lines[1].split()[1] == "edge-1"
    assert " 0-2 " in done.lines[1]
    assert [line.split()[1] for line in cli("writers", "--partitions").lines[1:]] == ["0", "1", "2"]


def test_a_right_holds_or_not(cli: Any, api: Any, recorded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = recorded["writers"]["writers"][0]["rights"][0]
    (tmp_path / "right.json").write_text(json.dumps(held))
    api.on("POST", "writers/verify", recorded["right_holds"])
    assert cli("writers", "verify", str(tmp_path / "right.json")).status == Exit.OK
    assert api.requests[-1].json == {"right": held["right"], "partition": None, "writer": None}
    refused = recorded["right_superseded"]
    api.on("POST", "writers/verify", refused, status=403)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(held["right"])))
    done = cli("writers", "verify", "-", "--partition", "4")
    assert (done.status, refused["reason"] in done.out) == (Exit.NOT_SO, True)
    assert cli("writers", "verify", str(tmp_path / "none.json")).status == Exit.USAGE


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([3], "3"), ([2, 0, 1, 5, 7, 6, 9], "0-2,5-7,9")])
def test_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


TIERS = {
    "tiers": [
        {"tier": tier, "keep_s": days * 86400, "actor": actor, "updated_at": None, "updated_us": None}
        for tier, days, actor in (
            ("raw", 30, "settings"),
            ("minute", 90, "default"),
            ("hour", 730, "default"),
            ("day", 0, "default"),
        )
    ]
}


def test_retention_as_it_is(cli: Any, api: Any) -> None:
    api.on("GET", "retention", TIERS)
    done = cli("retention")
    assert [line.split()[0] for line in done.lines[1:]] == ["raw", "minute", "hour", "day"]
    assert "30 d" in done.lines[1]
    assert "for ever" in done.lines[4]
    assert cli("retention", "show", "--json").json == TIERS


def test_more_retention_needs_no_question_less_does(cli: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api.on("GET", "retention", TIERS)
    api.on("PUT", "retention", TIERS)
    assert cli("retention", "set", "raw=90d", "minute=forever").status == Exit.OK
    assert api.requests[-1].json == {"tiers": [{"tier": "raw", "keep_s": 90 * 86400}, {"tier": "minute", "keep_s": 0}]}

    count = len(api.asked("PUT", "retention"))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    asked = len(api.requests)
    for text in ("raw=1h", "raw=86399s", "day=200y"):
        done = cli("retention", "set", text)
        assert (done.status, "1d to 36500d, or forever" in done.err) == (Exit.USAGE, True), text
    assert len(api.requests) == asked
    for argv in (["raw=7d"], ["day=10y"], ["raw=90d", "hour=1d"]):
        done = cli("retention", "set", *argv)
        assert (done.status, "deletes for good" in done.err) == (Exit.USAGE, True), argv
    assert len(api.asked("PUT", "retention")) == count

    assert cli("retention", "set", "raw=7d", "--yes").status == Exit.OK
    for typed, status in (("yes\n", Exit.OK), ("y\n", Exit.USAGE), ("", Exit.USAGE)):
        stdin = io.StringIO(typed)
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli("retention", "set", "raw=7d").status == status


@pytest.mark.parametrize("text", ["raw", "raw=", "second=1d", "raw=soon", "=1d"])
def test_what_is_no_retention(cli: Any, text: str) -> None:
    assert cli("retention", "set", text).status == Exit.USAGE
    assert cli("retention", "set", "raw=1d", "raw=2d").status == Exit.USAGE
