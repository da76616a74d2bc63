"""The REST API of retention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_testing.web_site import Site

URL = "/api/v1/retention"
DAY_S = 86_400


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def kept(response: Any) -> dict[str, int]:
    assert response.status_code == 200
    return {tier["tier"]: tier["keep_s"] for tier in response.get_json()["tiers"]}


def test_what_is_kept_how_long_and_who_said_so(site: Site) -> None:
    started_us = site.now_us()
    assert kept(site.client.get(URL)) == {"raw": 30 * DAY_S, "minute": 90 * DAY_S, "hour": 730 * DAY_S, "day": 0}
    changed = site.client.put(URL, json={"tiers": [{"tier": "raw", "keep_s": 7 * DAY_S}, {"tier": "hour", "keep_s": 0}]})
    assert kept(changed) == {"raw": 7 * DAY_S, "minute": 90 * DAY_S, "hour": 0, "day": 0} == kept(site.client.get(URL))
    raw, minute = changed.get_json()["tiers"][:2]
    assert raw["actor"] == "api"
    assert started_us <= raw["updated_us"] <= site.now_us()
    assert (minute["actor"], minute["updated_at"]) == ("settings", None)
    entries = site.client.get("/api/v1/audit?kind=retention.set").get_json()["entries"]
    assert [(entry["subject"], entry["detail"]) for entry in entries] == [
        ("hour", {"before_s": 730 * DAY_S, "keep_s": 0}), ("raw", {"before_s": 30 * DAY_S, "keep_s": 7 * DAY_S}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {}, {"tiers": []}, {"tiers": [{"tier": "week", "keep_s": 0}]}, {"tiers": [{"tier": "raw", "keep_s": 60}]},
        {"tiers": [{"tier": "raw", "keep_s": -1}]}, {"tiers": [{"tier": "raw", "keep_s": "0"}]},
        {"tiers": [{"tier": "raw", "keep_s": 0}, {"tier": "raw", "keep_s": DAY_S}]}, {"raw": 0},
    ],
)  # fmt: skip
def test_what_is_no_retention_is_refused_and_changes_nothing(site: Site, body: Any) -> None:
    before = kept(site.client.get(URL))
    refused = site.client.put(URL, json=body)
    assert refused.status_code == 422
    assert kept(site.client.get(URL)) == before
