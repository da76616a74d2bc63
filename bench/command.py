"""From a request to the REST API to its end on the SIM, as its sender sees it: a ping, and a carrier switch with proof."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import requests
from simway_testing.api import other_profile
from simway_testing.platform import DEMO_DEVICE, Platform, running
from simway_testing.waiting import wait_for

from bench.figures import Figure, progress, publish, quantile

AIM_PING_P99_MS = 100
AIM_SWITCH_P99_S = 2
WARM_UP_PINGS = 5
READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 60.0
LOOK_S = 0.002
"""Between two looks at a command's state, on one connection kept open."""
SWITCH_EVERY_S = 1.1
"""The card answers challenges once a second (and five at once): what comes faster measures that bound."""
SWITCHES_AT_ONCE = 4


def measure(
    directory: Path, name: str, *, pings: int, switches: int, log_url: str | None = None, store_url: str | None = None
) -> list[Figure]:
    """The figures on one pair of log and store: a platform of its own with the demo device, its radio without delay."""
    with running(directory, log_url=log_url, store_url=store_url, SOURCE_INTERVAL_S="1") as platform:
        person = _Person(platform)
        for _ in range(WARM_UP_PINGS):
            person.ping()
        progress(f"commands on {name}: {pings} pings")
        figures = _figures(f"command_{name}_ping", [person.ping() * 1000 for _ in range(pings)], "ms", AIM_PING_P99_MS)
        progress(f"commands on {name}: {switches} switches")
        return figures + _figures(f"command_{name}_switch", person.switches(switches), "s", AIM_SWITCH_P99_S)


def _figures(name: str, values: list[float], unit: str, aim: float) -> list[Figure]:
    p50, p99 = (quantile(values, share) for share in (0.5, 0.99))
    return [
        publish(Figure(f"{name}_p50", p50, unit, f"aim {aim} for p99", p50 / aim)),
        publish(Figure(f"{name}_p99", p99, unit, f"aim {aim}", p99 / aim)),
    ]


class _Person:
    """Someone who sends commands and looks at them until they are over."""

    def __init__(self, platform: Platform) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {platform.api.token}"
        self._path = f"{platform.api.base_url}/api/v1/devices/{DEMO_DEVICE}"
        wait_for(self._known, READY_WITHIN_S, "an attached device whose SIM is known")

    def _get(self, path: str = "") -> Any:
        return self._session.get(self._path + path, timeout=10).json()

    def _known(self) -> bool:
        device = self._get()
        return bool(device["inventory"] and device["session"] and device["session"]["attached"])

    def ping(self) -> float:
        """Seconds until EXECUTED was seen."""
        return self._timed({"kind": "ping"}, "EXECUTED")

    def switches(self, times: int) -> list[float]:
        """Seconds until VERIFIED was seen, of each switch to another carrier."""
        taken = []
        for number in range(times):
            target = wait_for(self._target, ENDED_WITHIN_S, "the platform shows the new carrier")
            began = time.monotonic()
            taken.append(self._timed({"kind": "switch", "iccid": target}, "VERIFIED"))
            if number >= SWITCHES_AT_ONCE:
                time.sleep(max(0.0, began + SWITCH_EVERY_S - time.monotonic()))
        return taken

    def _target(self) -> str:
        device = self._get()
        active = next(profile["iccid"] for profile in device["inventory"]["profiles"] if profile["active"])
        return str(other_profile(device)["iccid"]) if active == device["active_carrier"]["iccid"] else ""

    def _timed(self, order: dict[str, Any], end: str) -> float:
        began = time.perf_counter()
        posted = self._session.post(f"{self._path}/commands", json=order, timeout=10)
        if posted.status_code != 202:
            raise SystemExit(f"{order}: {posted.status_code} {posted.text}")
        path = f"/commands/{posted.json()['id']}"
        while (command := self._get(path))["state"] != end:
            if time.perf_counter() - began > ENDED_WITHIN_S or command["state"] in ("FAILED", "ROLLED_BACK", "EXPIRED"):
                raise SystemExit(f"{order} did not end {end}: {command}")
            time.sleep(LOOK_S)
        return time.perf_counter() - began
