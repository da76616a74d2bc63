"""What the processes of a platform tell of themselves: their metrics and health, asked as Prometheus and compose ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from simway_testing.platform import Platform
from simway_testing.waiting import wait_for

PORTS = {
    "udp-server": "UDP_METRICS_PORT", "recorder": "RECORDER_METRICS_PORT", "dispatcher": "DISPATCHER_METRICS_PORT",
    "modem": "MODEM_METRICS_PORT", "web": "WEB_METRICS_PORT",
}  # fmt: skip
WITHIN_S = 60.0
ANSWERS_WITHIN_S = 20.0

Sample = tuple[str, frozenset[tuple[str, str]]]
"""The name as it is exposed, and the labels."""


def url(platform: Platform, process: str, path: str) -> str:
    return f"http://127.0.0.1:{platform.settings[PORTS[process]]}{path}"


def scrape(platform: Platform, process: str) -> dict[Sample, float]:
    """Every sample of a process as its ``/metrics`` says it now."""
    return read(requests.get(url(platform, process, "/metrics"), timeout=ANSWERS_WITHIN_S).text)


def read(text: str) -> dict[Sample, float]:
    """The samples in a Prometheus text. Raises ``ValueError`` for what is none."""
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def total(samples: dict[Sample, float], name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(value for (found, have), value in samples.items() if found == name and labels.items() <= dict(have).items())


def health(platform: Platform, process: str, which: str = "ready") -> tuple[int, dict[str, Any]]:
    """Status and body of ``/health/live`` or ``/health/ready``; 0 while nobody answers, for it is starting or starved."""
    try:
        answer = requests.get(url(platform, process, f"/health/{which}"), timeout=ANSWERS_WITHIN_S)
    except (requests.ConnectionError, requests.Timeout):
        return 0, {"checks": {}}
    return answer.status_code, answer.json()


def wait_well(platform: Platform, processes: Iterable[str]) -> None:
    """Until all are ready."""
    waiting = list(processes)

    def well() -> bool:
        waiting[:] = [process for process in waiting if health(platform, process)[0] != 200]
        return not waiting

    wait_for(well, WITHIN_S, lambda: f"ready: {[(process, health(platform, process)) for process in waiting]}")


def wait_wrong(platform: Platform, process: str, check: str, *words: str) -> str:
    """Until the process is alive, not ready, and its check says all these words; what it says."""

    def told() -> str:
        status, body = health(platform, process)
        said = str(body["checks"].get(check, ""))
        return said if status == 503 and all(word in said for word in words) else ""

    said = wait_for(told, WITHIN_S, lambda: f"{process} says {words} of its {check}: {health(platform, process)}")
    wait_for(lambda: health(platform, process, "live")[0] == 200, WITHIN_S, "not ready, but alive: a restart would help nothing")
    return said
