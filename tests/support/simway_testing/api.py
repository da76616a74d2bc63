"""The REST API as a user of it sees it: a thin client that keeps status, headers and JSON together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from simway_testing.waiting import wait_for

TIMEOUT_S = 30.0
FINAL = {"VERIFIED", "ROLLED_BACK", "FAILED", "EXPIRED", "CANCELLED"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is the parsed JSON, None where there is none."""

    status: int
    body: Any
    headers: dict[str, str]


class Api:
    """Calls ``/api/v1`` of a platform. ``token`` None sends no credentials."""

    def __init__(self, base_url: str, token: str | None) -> None:
        self.base_url, self.token = base_url.rstrip("/"), token

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.base_url}/api/v1/{path}"
        answer = requests.request(method, url, json=body, params=params, headers=headers, timeout=TIMEOUT_S)
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Answer(answer.status_code, answer.json() if is_json else None, dict(answer.headers))

    def get(self, path: str, **params: Any) -> Any:
        """The body of a GET that must succeed."""
        answer = self.call("GET", path, **params)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body}"
        return answer.body

    # --- devices and readings ------------------------------------------------------------------------------------------

    def enrol(self, device: str) -> str:
        """Registers a device; its key in hex, which is shown this once."""
        answer = self.call("POST", "devices", {"id": device})
        assert answer.status == 201, answer.body
        return str(answer.body["key"]["hex"])

    def device(self, device: str) -> Any:
        return self.get(f"devices/{device}")

    def latest(self, device: str) -> dict[str, Any]:
        """The newest reading of each sensor, by sensor."""
        return {reading["sensor"]: reading for reading in self.get(f"devices/{device}/readings/latest")["readings"]}

    def readings(self, device: str, **query: Any) -> list[Any]:
        """All readings that the query asks for, page by page."""
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(f"devices/{device}/readings", **{"limit": 1000, **query}, **cursor)
            found += page["readings"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def loss(self, device: str) -> Any:
        return self.get(f"devices/{device}/loss")

    # --- commands ------------------------------------------------------------------------------------------------------

    def command(self, device: str, **body: Any) -> Any:
        """Posts a command that must be taken."""
        answer = self.call("POST", f"devices/{device}/commands", body)
        assert answer.status == 202, f"{body}: {answer.status} {answer.body}"
        assert answer.headers["Location"].endswith(f"/devices/{device}/commands/{answer.body['id']}")
        return answer.body

    def follow(self, device: str, command_id: str, until: set[str], seconds: float) -> Any:
        """The command with its history, once its state is one of ``until``. A final state that is none of them fails at once."""
        path, seen = f"devices/{device}/commands/{command_id}", {"state": "?"}

        def arrived() -> Any:
            seen.update(self.get(path))
            assert seen["state"] in until or seen["state"] not in FINAL, f"ended {seen['state']}: {seen}"
            return seen if seen["state"] in until else None

        return wait_for(arrived, seconds, lambda: f"command {command_id} is {seen['state']}, not {sorted(until)}: {seen}")


def states(command: Any) -> list[str]:
    """The states that a command went through, in order, each once."""
    passed = [entry["state"] for entry in command["history"]]
    return [state for index, state in enumerate(passed) if index == 0 or state != passed[index - 1]]


def other_profile(device: Any) -> Any:
    """A profile of the device's SIM that is not active, operational before others."""
    profiles = [profile for profile in device["inventory"]["profiles"] if not profile["active"]]
    assert profiles, f"no other profile on the SIM: {device['inventory']}"
    return sorted(profiles, key=lambda profile: profile["profile_class"] != "operational")[0]
