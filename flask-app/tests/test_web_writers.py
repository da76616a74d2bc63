"""The REST API of writers: who records what, and whether a right holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from simway_flask_app.rights import WriterKey
from simway_flask_app.store.positions import Follower
from simway_testing.web_site import Site

WRITERS = "/api/v1/writers"
VERIFY = f"{WRITERS}/verify"
FOLLOWER = Follower("recorder", "sqlite:c0ffee/uplink", "uplink")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


class Recorder:
    """What of a recorder the API shows."""

    def __init__(self, site: Site) -> None:
        self.key, self.writer = WriterKey.make(), site.store.uplink_writer()
        self.rights = site.store.write_rights(self.key)

    def take(self, *partitions: int) -> list[dict[str, Any]]:
        self.writer.take_over(FOLLOWER, partitions, self.rights)
        return [msgspec.to_builtins(self.rights.held[partition]) for partition in partitions]


def verdict(site: Site, body: dict[str, Any]) -> tuple[int, str]:
    response = site.client.post(VERIFY, json=body)
    return response.status_code, response.get_json().get("reason", "")


def test_nobody_records_at_first(site: Site) -> None:
    assert site.client.get(WRITERS).get_json() == {"writers": []}


def test_who_holds_what_since_when(site: Site) -> None:
    one, other = Recorder(site), Recorder(site)
    one.take(0, 1)
    (taken,) = other.take(1)
    shown = site.client.get(WRITERS).get_json()["writers"]
    assert [(writer["writer"], writer["live"], len(writer["rights"])) for writer in shown] == [
        (one.rights.writer, True, 1), (other.rights.writer, True, 1),
    ]  # fmt: skip
    second = shown[1]
    assert second["public_key"] == other.key.public_key
    assert second["pid"] > 0
    assert second["host"]
    (held,) = second["rights"]
    assert held["right"] == taken
    assert held["right"]["number"] == 2
    assert not held["expired"]
    assert held["granted_at"] < held["expires_at"]


def test_what_is_shown_can_be_verified(site: Site) -> None:
    Recorder(site).take(3)
    (right,) = (held["right"] for writer in site.client.get(WRITERS).get_json()["writers"] for held in writer["rights"])
    response = site.client.post(VERIFY, json={"right": right, "partition": 3, "writer": right["writer"]})
    assert response.status_code == 200
    assert response.get_json()["valid"] is True


def test_a_right_that_does_not_hold_is_answered_403_with_the_reason(site: Site) -> None:
    one, other = Recorder(site), Recorder(site)
    first, second = one.take(0, 1)
    stranger = WriterKey.make()
    assert verdict(site, {"right": first | {"signature": "00" * 64}}) == (403, "forged")
    assert verdict(site, {"right": first | {"number": 2}}) == (403, "forged")
    assert verdict(site, {"right": first, "partition": 1}) == (403, "other_partition")
    assert verdict(site, {"right": first, "writer": stranger.writer}) == (403, "other_writer")
    assert verdict(site, {"right": first | {"writer": stranger.writer}}) == (403, "unknown_writer")
    other.take(0)
    assert verdict(site, {"right": first}) == (403, "superseded")
    one.rights.drop({0})
    one.rights.give_back()
    assert verdict(site, {"right": second}) == (403, "expired")


@pytest.mark.parametrize(
    "change",
    [
        {"number": "7"}, {"number": 0}, {"partition": -1}, {"signature": "zz"}, {"signature": "00" * 64 + "\n"}, {"writer": ""},
        {"log_id": ""}, {"log_id": "a\x00b"}, {"granted_us": -1}, {"more": 1}, {"expires_us": None},
    ],
)  # fmt: skip
def test_what_is_no_right_is_answered_422(site: Site, change: dict[str, Any]) -> None:
    (right,) = Recorder(site).take(0)
    assert verdict(site, {"right": right | change})[0] == 422
    del right["topic"]
    assert verdict(site, {"right": right})[0] == 422
    assert verdict(site, {})[0] == 422


def test_both_need_a_token(site: Site) -> None:
    assert site.stranger.get(WRITERS).status_code == 401
    assert site.stranger.post(VERIFY, json={}).status_code == 401
