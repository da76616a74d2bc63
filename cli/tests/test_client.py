"""Every way in which a server can fail a person ends in words and an exit status."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from simway_cli.client import device_path
from simway_cli.errors import Exit, Usage


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_away(cli: Any) -> None:
    done = cli("devices", SIMWAY_URL=f"http://127.0.0.1:{free_port()}")
    assert done.status == Exit.AWAY
    assert "no server answers at http://127.0.0.1:" in done.err
    assert "Connection refused" in done.err
    assert "make run" in done.err
    assert done.out == ""


def test_a_name_that_nobody_knows(cli: Any) -> None:
    done = cli("health", "--url", "http://no-such-host.invalid:8000")
    assert (done.status, "no server answers" in done.err) == (Exit.AWAY, True)


def test_an_older_proxy_setting_does_not_come_between(cli: Any) -> None:
    assert cli("health", http_proxy=f"http://127.0.0.1:{free_port()}").status == Exit.OK


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://me:secret@127.0.0.1:8000"])
def test_an_address_that_is_none(cli: Any, url: str) -> None:
    done = cli("health", "--url", url)
    assert done.status == Exit.USAGE
    assert "--token-file" in done.err or "--url" in done.err
    assert "secret" not in done.err


def test_a_server_that_is_not_simway(cli: Any, api: Any, reply: Any) -> None:
    api.on("GET", "devices", reply(raw=b"<html>hello</html>"))
    done = cli("devices")
    assert (done.status, "is not Simway" in done.err) == (Exit.AWAY, True)
    api.on("GET", "devices", reply(raw=b"<html>no</html>", status=404))
    done = cli("devices")
    assert (done.status, "is not Simway: HTTP 404" in done.err) == (Exit.NOT_FOUND, True)
    api.on("GET", "devices", reply(raw=b"", status=302, headers={"Location": "http://127.0.0.1:1/"}))
    assert "HTTP 302" in cli("devices").err, "a redirection would take the token elsewhere"


def test_an_answer_of_another_release(cli: Any, api: Any) -> None:
    api.on("GET", "devices", {"machines": []})
    done = cli("devices")
    assert (done.status, "lacks 'devices'" in done.err) == (Exit.AWAY, True)


def test_an_answer_that_breaks_off(cli: Any, api: Any, reply: Any) -> None:
    api.on("GET", "devices", reply({"devices": []}, cut=True))
    done = cli("devices")
    assert done.status == Exit.AWAY
    assert "broke off" in done.err


def test_the_token_is_missing(cli: Any, tmp_path: Path) -> None:
    for name, text in (("none", None), ("empty", " \n"), ("key", b"\xff\xfe"), ("two", "a\nb")):
        file = tmp_path / name
        if text is not None:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = cli("devices", "--token-file", str(file))
        assert done.status == Exit.TOKEN, name
        assert f"no API token: {file}" in done.err
        assert "SIMWAY_TOKEN_FILE" in done.err


def test_the_token_is_refused(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("another")
    done = cli("devices", "--token-file", str(tmp_path / "old"))
    assert done.status == Exit.TOKEN
    assert "The bearer token is not the API token of this server." in done.err
    assert "--token-file" in done.err


def test_health_needs_no_token_and_sends_none(cli: Any, api: Any) -> None:
    done = cli("health", "--token-file", "/nowhere")
    assert (done.status, done.out) == (0, f"ok: {api.url} and its database answer\n")
    assert api.requests[-1].token is None


def test_a_netrc_file_does_not_take_the_tokens_place(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert cli("devices").status == 0


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("unknown_device", Exit.NOT_FOUND, ["no device nobody is registered", "simway devices create"]),
        ("already_enabled", Exit.REFUSED, ["is the active one", "nothing to do"]),
        ("device_revoked", Exit.REFUSED, ["truck-7 is revoked", "simway devices restore"]),
        ("bad_request", Exit.INVALID, ["A query parameter does not fit", "query.limit: Expected `int` >= 1"]),
        ("invalid_token", Exit.TOKEN, ["is not the API token of this server"]),
    ],
)
def test_a_problem_in_plain_words(cli: Any, api: Any, recorded: Any, name: str, status: Exit, words: list[str]) -> None:
    api.on("GET", "devices/demo", recorded[name], status=recorded[name]["status"])
    done = cli("devices", "show", "demo")
    assert done.status == status
    assert [word for word in words if word not in done.err] == []
    assert done.out == ""


def test_what_may_be_forced_and_what_may_be_tried_again(cli: Any, api: Any) -> None:
    busy = {"status": 409, "reason": "no_fallback", "detail": "No way back.", "forcible": True}
    api.on("GET", "devices/demo", busy, status=409)
    assert "--force --reason 'WHY'" in cli("devices", "show", "demo").err
    capped = {"status": 429, "reason": "daily_cap", "detail": "Ten switches today."}
    api.on("GET", "devices/demo", capped, status=429, Retry_After="7200")
    done = cli("devices", "show", "demo")
    assert (done.status, "Try again in 7200 s." in done.err) == (Exit.REFUSED, True)


@pytest.mark.parametrize(("status", "exit_"), [(500, Exit.AWAY), (503, Exit.AWAY), (413, Exit.INVALID), (418, Exit.INVALID)])
def test_other_statuses(cli: Any, api: Any, reply: Any, status: int, exit_: Exit) -> None:
    api.on("GET", "devices", reply(raw=b"oops", status=status))
    assert cli("devices").status == exit_


def test_a_servers_words_do_not_colour_the_screen(cli: Any, api: Any) -> None:
    api.on("GET", "devices", {"status": 409, "reason": "x", "detail": "\x1b[2Jgone"}, status=409)
    assert "\x1b" not in cli("devices").err


@pytest.mark.parametrize(
    ("device", "path"), [("demo", "devices/demo"), ("a:b.c", "devices/a:b.c"), ("a/../b ?", "devices/a%2F..%2Fb%20%3F")]
)
def test_a_device_in_a_path(device: str, path: str) -> None:
    assert device_path(device) == path


@pytest.mark.parametrize("device", ["", ".", ".."])
def test_what_would_lead_elsewhere_is_no_device(device: str) -> None:
    with pytest.raises(Usage):
        device_path(device, "loss")


def test_pages_are_joined_and_end_where_asked(cli: Any, api: Any, recorded: Any) -> None:
    one = recorded["device"]

    def page(request: Any) -> Any:
        begin = int(request.query.get("cursor", ["0"])[0])
        end = min(begin + int(request.query["limit"][0]), 1234)
        return api_reply(
            {"devices": [one | {"id": f"d{n}"} for n in range(begin, end)], "next_cursor": str(end) if end < 1234 else None}
        )

    api_reply = type(api.answer(type("R", (), {"path": "/api/v1/health", "method": "GET", "token": None})()))
    api.on("GET", "devices", page)
    assert len(cli("devices", "--limit", "0", "--json").json["devices"]) == 1234
    first = cli("devices")
    assert (len(first.lines), "The first 100; --limit 0 gives all." in first.err) == (101, True)
    assert len(cli("devices", "list", "--limit", "700", "--json").json["devices"]) == 700
    assert len(cli("devices", "--limit", "3", "list", "--json").json["devices"]) == 3
