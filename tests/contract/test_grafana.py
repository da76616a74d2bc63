"""Grafana Live, from stored readings to a channel: on a strict stand-in, and on a real Grafana where one is given.

``GRAFANA_URL`` (with ``GRAFANA_ADMIN_USER``, default admin, and ``GRAFANA_ADMIN_PASSWORD``) in the environment of the test run
names a real one: the suite then runs there as well, makes the service account ``simway-live``, and pushes to channels of its own.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grafana_client.api import GrafanaApi
from simway_backbone.metrics import LIVE_DROPPED, LIVE_PUSHES
from simway_flask_app.grafana import LivePusher, PusherTimes, make_pusher
from simway_flask_app.grafana.account import ACCOUNT_NAME, Account, AccountError, is_usable_url
from simway_flask_app.grafana.pusher import QUEUE_MAX_READINGS, READINGS_MAX_PER_PUSH, PushOutcome
from simway_flask_app.store.uplinks import StoredReadings
from simway_flask_app.store.values import columns_of
from simway_protocol.readings import Value
from simway_testing import grafana_standin
from simway_testing.grafana_live import last_values
from simway_testing.grafana_standin import ADMIN, PASSWORD, UNKNOWN_TOKEN, UNKNOWN_TOKEN_9, Grafana, ServiceAccount
from simway_testing.waiting import wait_for

QUICK = PusherTimes(interval_s=0.05, connect_timeout_s=1, read_timeout_s=1, backoff_first_s=0.05, backoff_max_s=0.1)
REAL = "GRAFANA_URL"
WITHIN_S = 60

Seen = list[tuple[str, Any, int]]


@dataclass
class Place:
    """A Grafana and a folder with what the recorder has there. ``seen``: sensor, value and time of what a channel got last."""

    url: str
    folder: Path
    seen: Callable[[str], Seen]
    user: str = ADMIN
    password: str = PASSWORD
    pushers: list[LivePusher] = field(default_factory=list)

    @property
    def token_file(self) -> Path:
        return self.folder / "secrets" / "grafana.token"

    def pusher(self, times: PusherTimes = QUICK) -> LivePusher:
        password_file = self.folder / "password"
        password_file.write_text(f"{self.password}\n")
        made = make_pusher(url=self.url, user=self.user, password_file=password_file, token_file=self.token_file, times=times)
        self.pushers.append(made)
        made.start()
        return made

    def delete_our_tokens(self) -> None:
        """As somebody could in the browser."""
        api = GrafanaApi.from_url(f"{self.url}/", credential=(self.user, self.password), timeout=10)
        for page in api.serviceaccount.search(query=ACCOUNT_NAME, page=1, perpage=100):
            for account in page["serviceAccounts"]:
                for token in api.serviceaccount.get_tokens(account["id"]):
                    api.serviceaccount.delete_token(account["id"], token["id"])

    def wait_for(self, channel: str, sensor: str, value: Any) -> Seen:
        def found() -> Seen:
            seen = self.seen(channel)
            return seen if any(row[:2] == (sensor, value) for row in seen) else []

        return wait_for(found, WITHIN_S, lambda: f"{sensor}={value} in {channel}: {self.seen(channel)[-5:]}")


@pytest.fixture(params=["stand-in", "real"] if os.environ.get(REAL) else ["stand-in"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "real":
        user, password = os.environ.get("GRAFANA_ADMIN_USER", "admin"), os.environ["GRAFANA_ADMIN_PASSWORD"]
        url = os.environ[REAL]
        made = Place(url, tmp_path, lambda channel: last_values(url, user, password, channel), user, password)
        yield made
    else:
        grafana = Grafana()
        with grafana_standin.running(grafana) as url:
            made = Place(url, tmp_path, grafana.values)
            yield made
            _stop(made)
        assert grafana.complaints == []
    _stop(made)


@dataclass
class Faulty(Place):
    """A stand-in whose faults the test can switch on."""

    grafana: Grafana = field(default_factory=Grafana)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    grafana = Grafana()
    with grafana_standin.running(grafana) as url:
        made = Faulty(url, tmp_path, grafana.values, grafana=grafana)
        yield made
        grafana.hang.clear()
        _stop(made)
    assert grafana.complaints == []


def _stop(place: Place) -> None:
    while place.pushers:
        place.pushers.pop().stop()


def stored(device: str, sensor: str, *values: Value, t_us: int = 0) -> StoredReadings:
    """What the recorder hands over after a commit: one reading a microsecond."""
    first_us = t_us or time.time_ns() // 1000
    return StoredReadings(
        [(1, first_us + index, *columns_of(value), None) for index, value in enumerate(values)], {1: (device, sensor)}
    )


def new_device() -> str:
    return f"test-{secrets.token_hex(4)}"


def count(outcome: PushOutcome) -> float:
    return float(LIVE_PUSHES.labels(outcome)._value.get())


def dropped() -> float:
    return float(LIVE_DROPPED._value.get())


# --- on both -----------------------------------------------------------------------------------------------------------


def test_a_reading_arrives_with_its_own_time(place: Place) -> None:
    device, t_us = new_device(), (time.time_ns() // 1_000_000 - 3_600_000) * 1000  # Grafana 9 shows milliseconds
    place.pusher().offer(stored(device, "cpu.percent", 12.5, t_us=t_us))
    assert place.wait_for(f"{device}/value", "cpu.percent", 12.5) == [("cpu.percent", 12.5, t_us * 1000)]


def test_the_token_is_made_kept_for_its_owner_and_used_again(place: Place) -> None:
    device = new_device()
    place.pusher().offer(stored(device, "n", 1))
    place.wait_for(f"{device}/value", "n", 1.0)
    assert stat.S_IMODE(place.token_file.stat().st_mode) == 0o600
    kept = place.token_file.read_text()
    _stop(place)
    place.pusher().offer(stored(device, "n", 2))
    place.wait_for(f"{device}/value", "n", 2.0)
    assert place.token_file.read_text() == kept
    assert [file.name for file in place.token_file.parent.iterdir()] == [place.token_file.name]


def test_a_token_that_is_refused_is_made_anew(place: Place) -> None:
    place.token_file.parent.mkdir()
    place.token_file.write_text("glsa_of_another_grafana\n")
    device, pusher = new_device(), place.pusher()
    number = iter(range(1, 1000))

    def offered_and_seen() -> Seen:
        pusher.offer(stored(device, "n", next(number)))
        return place.seen(f"{device}/value")

    wait_for(offered_and_seen, WITHIN_S, "a reading after the token was refused")
    assert "another" not in place.token_file.read_text()


def test_a_token_that_is_deleted_while_in_use_is_made_anew(place: Place) -> None:
    device, pusher = new_device(), place.pusher()
    pusher.offer(stored(device, "n", 1))
    place.wait_for(f"{device}/value", "n", 1.0)
    place.delete_our_tokens()
    number = iter(range(2, 1000))

    def a_later_one_seen() -> bool:
        pusher.offer(stored(device, "n", next(number)))
        return any(value > 1 for _, value, _ in place.seen(f"{device}/value"))

    wait_for(a_later_one_seen, WITHIN_S, "a reading after the token was deleted")


def test_every_kind_of_value_and_name_is_understood(place: Place) -> None:
    device = f"{new_device()}:x.1_2"
    channel, pusher = device.replace(":", "="), place.pusher()
    for sensor, value in (("door, left=open", True), ("n\\w 1", 2**53), ("été", -0.5)):
        pusher.offer(stored(device, sensor, value))
        place.wait_for(f"{channel}/value", sensor.replace("\\", "/"), float(value))
    for text in ('say "hi"\\, a=b', "ligne é", '{"lat":1.5}'):
        pusher.offer(stored(device, "text", {"lat": 1.5} if text.startswith("{") else text))
        place.wait_for(f"{channel}/text", "text", text)


# --- what only the stand-in can do -------------------------------------------------------------------------------------


def test_many_readings_become_few_requests(faulty: Faulty) -> None:
    pusher = faulty.pusher(PusherTimes(interval_s=0.3))
    for index in range(1000):
        pusher.offer(stored("d", "n", index))
    faulty.wait_for("d/value", "n", 999.0)
    assert len(faulty.grafana.values("d/value")) == 1000
    assert len(faulty.grafana.pushes) <= 3


def test_a_flood_is_thinned_to_the_newest_and_counted(faulty: Faulty) -> None:
    before = dropped()
    faulty.grafana.hang.set()
    pusher = faulty.pusher()
    flood = QUEUE_MAX_READINGS * 3
    for begin in range(0, flood, 1000):
        pusher.offer(stored("d", "n", *range(begin, begin + 1000)))
    faulty.grafana.hang.clear()
    seen = faulty.wait_for("d/value", "n", flood - 1.0)
    assert [value for _, value, _ in seen] == [float(value) for value in range(flood - READINGS_MAX_PER_PUSH, flood)]
    assert dropped() - before == flood - READINGS_MAX_PER_PUSH


def test_one_great_transaction_is_thinned_too(faulty: Faulty) -> None:
    before = dropped()
    faulty.pusher().offer(stored("d", "n", *range(QUEUE_MAX_READINGS * 2)))
    faulty.wait_for("d/value", "n", QUEUE_MAX_READINGS * 2 - 1.0)
    assert len(faulty.grafana.values("d/value")) == READINGS_MAX_PER_PUSH
    assert dropped() - before == QUEUE_MAX_READINGS * 2 - READINGS_MAX_PER_PUSH


def test_a_grafana_that_hangs_costs_the_recorder_nothing_and_is_left_in_time(faulty: Faulty) -> None:
    faulty.grafana.hang.set()
    pusher, before = faulty.pusher(PusherTimes(connect_timeout_s=60, read_timeout_s=60)), dropped()
    pusher.offer(stored("d", "n", 1))
    wait_for(lambda: faulty.grafana.requests, WITHIN_S, "a request that hangs")
    for index in range(5_000):
        pusher.offer(stored("d", "n", *range(index * 10, index * 10 + 10)))
    assert dropped() - before >= 50_000 - QUEUE_MAX_READINGS
    pusher.stop(timeout_s=0.1)


@pytest.mark.parametrize("status", [501, 404, 500, 302])
def test_a_grafana_that_knows_nothing_but_health_is_lived_with(faulty: Faulty, status: int) -> None:
    faulty.grafana.broken_status = status
    pusher, before = faulty.pusher(), count(PushOutcome.NO_TOKEN)
    pusher.offer(stored("d", "n", 1))
    wait_for(lambda: count(PushOutcome.NO_TOKEN) >= before + 3, WITHIN_S, "three tries")
    faulty.grafana.broken_status = 0
    pusher.offer(stored("d", "n", 2))
    faulty.wait_for("d/value", "n", 2.0)


def test_a_grafana_that_is_away_is_found_again(tmp_path: Path) -> None:
    grafana = Grafana()
    with grafana_standin.running(grafana) as url:
        place = Place(url, tmp_path, grafana.values)
        pusher = place.pusher()
        pusher.offer(stored("d", "n", 1))
        place.wait_for("d/value", "n", 1.0)
    before = count(PushOutcome.UNREACHABLE)
    pusher.offer(stored("d", "n", 2))
    wait_for(lambda: count(PushOutcome.UNREACHABLE) > before, WITHIN_S, "a push that found nobody")
    with grafana_standin.running(grafana, port=int(url.rsplit(":", 1)[1])):
        pusher.offer(stored("d", "n", 3))
        place.wait_for("d/value", "n", 3.0)
        _stop(place)


@pytest.mark.parametrize("answer", [UNKNOWN_TOKEN, UNKNOWN_TOKEN_9])
def test_somebody_deletes_the_token(faulty: Faulty, answer: grafana_standin.Answer) -> None:
    faulty.grafana.unknown_token = answer
    pusher = faulty.pusher()
    pusher.offer(stored("d", "n", 1))
    faulty.wait_for("d/value", "n", 1.0)
    faulty.grafana.revoke_all()
    before = count(PushOutcome.REFUSED)
    pusher.offer(stored("d", "n", 2))
    wait_for(lambda: count(PushOutcome.REFUSED) > before, WITHIN_S, "the refusal")
    pusher.offer(stored("d", "n", 3))
    faulty.wait_for("d/value", "n", 3.0)


def test_an_account_that_may_not_push_is_made_an_editor(faulty: Faulty) -> None:
    faulty.grafana.create_as = "Viewer"
    faulty.pusher().offer(stored("d", "n", 1))
    faulty.wait_for("d/value", "n", 1.0)
    assert [account.role for account in faulty.grafana.accounts] == ["Editor"]


def test_the_account_is_found_again_and_its_old_tokens_go(faulty: Faulty) -> None:
    old = ServiceAccount(
        1, "simway-live", "Editor", {number: (f"simway-live-{number}", f"key{number}") for number in range(10, 20)}
    )
    old.tokens[99] = ("by hand", "key of somebody")
    faulty.grafana.accounts += [ServiceAccount(2, "simway-live-other", "Viewer"), old]
    faulty.pusher().offer(stored("d", "n", 1))
    faulty.wait_for("d/value", "n", 1.0)
    assert len(faulty.grafana.accounts) == 2
    assert 99 in old.tokens
    assert len(old.tokens) == 6


def test_without_a_password_a_token_by_hand_is_enough(faulty: Faulty) -> None:
    faulty.grafana.accounts.append(ServiceAccount(1, "by hand", "Editor", {5: ("t", "glsa_by_hand")}))
    faulty.token_file.parent.mkdir()
    faulty.token_file.write_text("glsa_by_hand\n")
    pusher = make_pusher(url=faulty.url, user=ADMIN, password_file=None, token_file=faulty.token_file, times=QUICK)
    faulty.pushers.append(pusher)
    pusher.start()
    pusher.offer(stored("d", "n", 1))
    faulty.wait_for("d/value", "n", 1.0)


def test_what_is_wrong_is_said_without_secrets(faulty: Faulty) -> None:
    def no_password() -> str:
        raise FileNotFoundError("no such file: password")

    account = Account(faulty.url, user=ADMIN, read_password=no_password, token_file=faulty.token_file)
    with pytest.raises(AccountError, match="GRAFANA_ADMIN_PASSWORD_FILE"):
        account.token()
    account = Account(faulty.url, user=ADMIN, read_password=lambda: "guessed-password", token_file=faulty.token_file)
    with pytest.raises(AccountError, match="is the admin password right") as refused:
        account.token()
    assert "guessed-password" not in str(refused.value)


def test_a_token_file_that_cannot_be_written_costs_only_the_keeping(faulty: Faulty) -> None:
    (faulty.folder / "secrets").write_text("a file where the folder should be")
    faulty.pusher().offer(stored("d", "n", 1))
    faulty.wait_for("d/value", "n", 1.0)


def test_grafana_under_a_path_is_reached(faulty: Faulty) -> None:
    pusher = make_pusher(url=f"{faulty.url}/", user=ADMIN, password_file=None, token_file=faulty.token_file)
    assert pusher._endpoint == f"{faulty.url}/api/live/push/simway"
    deeper = make_pusher(url="https://example.org/grafana/", user=ADMIN, password_file=None, token_file=faulty.token_file)
    assert deeper._endpoint == "https://example.org/grafana/api/live/push/simway"


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://grafana", "http://", "http://h:99999", "http://h:0"])
def test_an_address_that_is_none_is_refused_at_start(url: str) -> None:
    assert not is_usable_url(url)
    with pytest.raises(ValueError, match="GRAFANA_URL"):
        make_pusher(url=url, user=ADMIN, password_file=None, token_file=Path("t"))
