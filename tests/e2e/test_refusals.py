"""What the front doors say to those who knock wrongly: RFC 9457 problems, and nothing that stops anybody else."""

from __future__ import annotations

import os
import socket

import pytest
from simway_testing.api import Api
from simway_testing.platform import DEMO_DEVICE, Front
from simway_testing.waiting import wait_for

DEMO = f"devices/{DEMO_DEVICE}"
PROTECTED = ["devices", DEMO, f"{DEMO}/readings", f"{DEMO}/commands", "events", "openapi.json"]


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_nothing_but_health_is_shown(front: Front, path: str, token: str | None) -> None:
    stranger = Api(front.api.base_url, token)
    answer = stranger.call("GET", path)
    assert answer.status == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail", "reason"} <= set(answer.body)
    assert stranger.call("GET", "health").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "devices/nobody", None, 404),
        ("GET", "devices/nobody/readings", None, 404),
        ("POST", "devices/nobody/commands", {"kind": "ping"}, 404),
        ("GET", f"{DEMO}/commands/{'0' * 32}", None, 404),
        ("GET", "nothing-here", None, 404),
        ("POST", "devices", {"id": "bad id!"}, 422),
        ("POST", f"{DEMO}/commands", {"kind": "dance"}, 422),
        ("POST", f"{DEMO}/commands", {"kind": "switch"}, 422),
        ("DELETE", "devices", None, 405),
    ],
)
def test_a_wrong_request_gets_a_problem(api: Api, method: str, path: str, body: object, status: int) -> None:
    answer = api.call(method, path, body)
    assert (answer.status, answer.body["status"]) == (status, status), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["reason"]


def test_the_api_describes_itself(api: Api) -> None:
    document = api.get("openapi.json")
    assert document["openapi"].startswith("3.")
    assert any(path.endswith("/devices/{device}/commands") for path in document["paths"])


def test_rubbish_on_the_udp_port_stops_nobody(front: Front, api: Api) -> None:
    random = os.urandom(1400)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for length in (0, 1, 16, 17, 33, 64, 700, 1200, 1201, 1400):
            for first in (0x00, 0x60, 0x61, 0x7F, 0xFF):
                sender.sendto(bytes([first]) + random[: max(length - 1, 0)] if length else b"", front.udp)
    newest = max((reading["t_us"] for reading in api.latest(DEMO_DEVICE).values()), default=0)
    wait_for(lambda: any(reading["t_us"] > newest for reading in api.latest(DEMO_DEVICE).values()), 60, "readings go on")
