"""Commands: what is sent, and how they are followed to an exit status."""

from __future__ import annotations

from typing import Any

import pytest
from simway_cli.commands.following import outcome_of
from simway_cli.errors import Exit

ICCID = "8999902183133889277"
PROVIDER = ("switch", "--provider", "Alpine Connect")


@pytest.fixture
def growing(api: Any, recorded: Any) -> Any:
    """A switch whose history grows by an entry each time it is asked for; the POST that makes it."""
    whole = recorded["switch"]
    history = whole["history"]
    stages = [whole | {"history": history[: n + 1], "state": history[n]["state"]} for n in range(len(history))]
    posted = {name: value for name, value in stages[0].items() if name not in ("history", "sim_word")}
    api.on("POST", "devices/demo/commands", posted, status=202)
    api.on("GET", f"devices/demo/commands/{whole['id']}", *stages)
    return whole


def test_a_switch_followed_to_its_end(cli: Any, api: Any, growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_cli.commands.following.POLL_S", 0.001)
    done = cli("command", "demo", *PROVIDER, "--follow", "--utc")
    assert done.status == Exit.OK
    assert [line.split()[2] for line in done.lines] == [entry["state"] for entry in growing["history"]]
    assert "proof bearer" in done.lines[-1]
    assert growing["id"] in done.err
    assert api.asked("POST", "devices/demo/commands")[0].json == {"kind": "switch", "provider": "Alpine Connect"}


def test_followed_by_a_program(cli: Any, growing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    monkeypatch.setattr("simway_cli.commands.following.POLL_S", 0.001)
    done = cli("command", "demo", *PROVIDER, "--follow", "--json")
    records = [json.loads(line) for line in done.lines]
    assert records[:-1] == growing["history"]
    assert records[-1]["state"] == "VERIFIED"


@pytest.mark.parametrize(
    ("kind", "state", "status"),
    [
        *(("switch", state, None) for state in ("QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING")),
        *(("ping", state, None) for state in ("QUEUED", "SENT", "RECEIVED")),
        *(
            (kind, state, Exit.NOT_SO)
            for kind in ("switch", "ping")
            for state in ("ROLLED_BACK", "FAILED", "EXPIRED", "CANCELLED")
        ),
        ("switch", "VERIFIED", Exit.OK),
        ("ping", "EXECUTED", Exit.OK),
        ("audit", "EXECUTED", Exit.OK),
        ("switch", "UNKNOWN", Exit.OPEN),
    ],
)
def test_the_exit_status_says_how_it_ended(kind: str, state: str, status: Exit | None) -> None:
    assert outcome_of({"kind": kind, "state": state}) == status


def test_cancelled_is_what_a_cancel_wants() -> None:
    assert outcome_of({"kind": "ping", "state": "CANCELLED"}, frozenset({"CANCELLED"})) == Exit.OK
    assert outcome_of({"kind": "ping", "state": "EXECUTED"}, frozenset({"CANCELLED"})) == Exit.NOT_SO


def test_waiting_has_an_end(cli: Any, api: Any, recorded: Any) -> None:
    waiting = recorded["ping"] | {"state": "QUEUED", "history": recorded["ping"]["history"][:1]}
    api.on("POST", "devices/demo/commands", waiting, status=202)
    api.on("GET", f"devices/demo/commands/{waiting['id']}", waiting)
    done = cli("command", "demo", "ping", "--follow", "--wait", "1ms")
    assert (done.status, "still QUEUED" in done.err) == (Exit.OPEN, True)


def test_an_end_that_nobody_knows(cli: Any, api: Any, recorded: Any) -> None:
    api.on("GET", f"devices/demo/commands/{recorded['switch']['id']}", recorded["switch"] | {"state": "UNKNOWN"})
    done = cli("command", "demo", "show", "--follow")
    assert (done.status, "simway command demo audit --follow" in done.err) == (Exit.OPEN, True)


def test_a_server_that_is_away_for_a_while_is_waited_for(
    cli: Any, api: Any, recorded: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simway_cli.commands.following.POLL_S", 0.001)
    ping = recorded["ping"]
    api.on("GET", f"devices/demo/commands/{ping['id']}", reply(raw=b"", status=502), ping)
    done = cli("command", "demo", "show", ping["id"], "--follow")
    assert (done.status, "trying again" in done.err) == (Exit.OK, True)


@pytest.mark.parametrize(
    ("argv", "body"),
    [
        (["ping"], {"kind": "ping"}),
        (["audit", "--expires-in", "2m"], {"kind": "audit", "expires_in_s": 120}),
        (["switch", "--iccid", ICCID, "--deadline", "5m"], {"kind": "switch", "iccid": ICCID, "deadline_s": 300}),
        (
            ["switch", "--iccid", ICCID, "--force", "--reason", "lab"],
            {"kind": "switch", "iccid": ICCID, "force": True, "reason": "lab"},
        ),
    ],
)  # fmt: skip
def test_what_is_sent(cli: Any, api: Any, recorded: Any, argv: list[str], body: dict[str, Any]) -> None:
    api.on("POST", "devices/demo/commands", recorded["commands"]["commands"][0], status=202)
    done = cli("command", "demo", *argv)
    assert (done.status, "--follow" in done.err) == (0, True)
    assert api.requests[-1].json == body


@pytest.mark.parametrize(
    "argv",
    [
        ["switch"],
        ["switch", "--iccid", "1", "--provider", "x"],
        ["switch", "--iccid", "1", "--force"],
        ["switch", "--iccid", "1", "--reason", "x"],
        ["ping", "--wait", "1m"],
        ["cancel"],
        ["cancel", "3f2"],
        [],
        ["dance"],
    ],
)
def test_what_does_not_fit_is_not_sent(cli: Any, api: Any, argv: list[str]) -> None:
    assert cli("command", "demo", *argv).status == Exit.USAGE
    assert api.requests == []


def test_the_list_and_one_of_it(cli: Any, recorded: Any) -> None:
    switch, ping = recorded["commands"]["commands"]
    done = cli("command", "demo", "list")
    assert [line.split()[0] for line in done.lines[1:]] == [switch["id"][:8], ping["id"][:8]]
    assert "  Alpine Connect  " in done.lines[1]
    shown = cli("command", "demo", "show", ping["id"][:6])
    assert "state    EXECUTED" in shown.lines
    assert "answered in " in shown.lines[-1]
    newest = cli("command", "demo", "show")
    assert f"command  {switch['id']}" in newest.lines
    assert "The SIM itself says" in newest.err


def test_an_id_that_fits_none_or_several(cli: Any, api: Any, recorded: Any) -> None:
    done = cli("command", "demo", "show", "ffffffff")
    assert (done.status, "has no command ffffffff" in done.err) == (Exit.NOT_FOUND, True)
    twin = recorded["commands"]["commands"][0]
    api.on("GET", "devices/demo/commands", {"commands": [twin, twin | {"id": twin["id"][:8] + "0" * 24}], "next_cursor": None})
    assert cli("command", "demo", "show", twin["id"][:8]).status == Exit.USAGE
    api.on("GET", "devices/demo/commands", {"commands": [], "next_cursor": None})
    done = cli("command", "demo", "show")
    assert (done.status, "has had no command yet" in done.err) == (Exit.NOT_FOUND, True)


def test_cancel(cli: Any, api: Any, recorded: Any) -> None:
    ping = recorded["ping"]
    path = f"devices/demo/commands/{ping['id']}/cancel"
    api.on("POST", path, ping | {"state": "SENT", "cancel_requested_us": 1_795_338_000_000_000}, status=202)
    done = cli("command", "demo", "cancel", ping["id"][:8])
    assert (done.status, "is asked" in done.err) == (0, True)
    api.on("POST", path, {"status": 409, "reason": "not_cancellable", "detail": "It is EXECUTED."}, status=409)
    assert cli("command", "demo", "cancel", ping["id"]).status == Exit.REFUSED
