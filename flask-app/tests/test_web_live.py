"""Event streams: what they tell, how many there may be, and how they end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_flask_app import commands as use_cases
from simway_flask_app.clock import utc_now_us
from simway_flask_app.ledger import Event
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.web import limits
from simway_flask_app.web.app import services_of
from simway_flask_app.web.changes import Changes, Message
from simway_flask_app.web.live import LiveEvents, Stream, TooManyStreams
from simway_testing.waiting import wait_for
from simway_testing.web_site import API, DEVICE, ICCIDS, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, streams_max=3, stream_poll_s=0.01, stream_heartbeat_s=0.05)
    made.enrol()
    yield made
    services_of(made.app).live.stop()
    made.close()


class Listener:
    """Reads one stream in a thread and keeps its events."""

    def __init__(self, site: Site, query: str = "") -> None:
        self.response = site.client.get(f"{API}/events{query}")
        assert self.response.status_code == 200
        assert self.response.mimetype == "text/event-stream"
        self.events: list[tuple[str, Any]] = []
        self.heartbeats = 0
        self._leaving = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for frame in self.response.iter_encoded():
            if self._leaving:
                break
            for block in frame.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                self.heartbeats += block.startswith(":")
                if "event" in fields:
                    self.events.append((fields["event"], json.loads(fields["data"])))
        self.response.close()

    def of(self, name: str) -> list[Any]:
        return [data for event, data in self.events if event == name]

    def wait_for(self, name: str, count: int = 1) -> Any:
        """The newest event of that name, once there are ``count``."""
        wait_for(lambda: len(self.of(name)) >= count, 60, lambda: f"{count} x {name} in {self.events}")
        return self.of(name)[-1]

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Goes away; the server notices at the next frame that it sends."""
        self._leaving = True
        self._thread.join(60)


def test_readings_commands_and_devices_are_told_as_they_happen(site: Site) -> None:
    site.measure("cpu", 1.0)
    site.hold()
    listener = Listener(site, f"?device={DEVICE}")
    listener.wait_for("ready")
    site.measure("cpu", 2.0, unit="%")
    told = listener.wait_for("readings")
    assert [(reading["sensor"], reading["value"], reading["unit"]) for reading in told["readings"]] == [("cpu", 2.0, "%")]
    command = site.client.post(f"{API}/devices/{DEVICE}/commands", json={"kind": "ping"}).get_json()
    assert listener.wait_for("command")["command"]["id"] == command["id"]
    site.happen(command["id"], Event.SENT)
    told = listener.wait_for("command", 2)["command"]
    assert told["state"] == "SENT"
    assert [entry["state"] for entry in told["history"]] == ["QUEUED", "SENT"]
    before = len(listener.of("device"))
    site.attach(ICCIDS[1])
    assert listener.wait_for("device", before + 1)["detail"]["active_carrier"]["iccid"] == ICCIDS[1]


def test_a_stream_of_one_device_hears_of_no_other(site: Site) -> None:
    site.enrol("other")
    one, every = Listener(site, "?device=other"), Listener(site)
    one.wait_for("ready")
    every.wait_for("ready")
    site.measure("cpu", 1.0)
    assert every.wait_for("readings")["device"] == DEVICE
    assert one.of("readings") == []


def test_only_so_many_streams_are_open_and_a_place_comes_free(site: Site) -> None:
    listeners = [Listener(site) for _ in range(3)]
    refused = site.client.get(f"{API}/events")
    assert (refused.status_code, refused.get_json()["reason"]) == (429, "too_many_streams")
    assert refused.headers["Retry-After"]
    listeners[0].leave()
    Listener(site).wait_for("ready")


def test_a_head_request_takes_no_place(site: Site) -> None:
    for _ in range(5):
        assert site.client.head(f"{API}/events").status_code == 200
    assert services_of(site.app).live.open_streams == 0


def test_a_quiet_stream_beats(site: Site) -> None:
    listener = Listener(site)
    wait_for(lambda: listener.heartbeats >= 2, 60, "two heartbeats")


def test_stopping_ends_every_stream_and_lets_none_in(site: Site) -> None:
    listeners = [Listener(site), Listener(site)]
    services_of(site.app).live.stop()
    wait_for(lambda: all(listener.ended for listener in listeners), 60, "both streams ended")
    assert site.client.get(f"{API}/events").status_code == 429


def test_a_stream_ends_after_its_time(tmp_path: Path) -> None:
    site = Site(tmp_path, stream_max_s=0.05, stream_poll_s=0.01)
    listener = Listener(site)
    wait_for(lambda: listener.ended, 60, "the stream ended")
    listener.leave()
    assert services_of(site.app).live.open_streams == 0
    site.close()


def test_a_slow_reader_loses_its_stream_not_its_messages() -> None:
    stream = Stream(None, heartbeat_s=1, max_s=60, on_close=lambda _: None)
    for _ in range(limits.STREAM_QUEUE_MAX + 1):
        stream.offer(Message("d", b"x"))
    assert list(stream) == []


def test_a_database_that_goes_away_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(site)
    listener.wait_for("ready")
    failed = threading.Event()
    real = site.store.latest_changes

    def away(*_: object, **__: object) -> Any:
        failed.set()
        raise StoreUnavailable("away")

    monkeypatch.setattr(site.store, "latest_changes", away)
    site.measure("cpu", 7.0)
    assert failed.wait(60)
    monkeypatch.setattr(site.store, "latest_changes", real)
    assert listener.wait_for("readings")["readings"][0]["value"] == 7.0
    assert not listener.ended


@pytest.mark.parametrize("device", ["%00", "no%20id", "a%0A", "x" * 65, ""])
def test_a_stream_of_what_is_no_device_id_is_refused(site: Site, device: str) -> None:
    """PostgreSQL refuses NUL: such a question would end every look at the feeds."""
    assert site.client.get(f"{API}/events?device={device}").status_code == 422
    assert services_of(site.app).live.open_streams == 0


def test_what_one_look_read_is_told_though_the_database_goes_away_in_the_middle(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    command = use_cases.ping(site.store, DEVICE, actor="api", now_us=utc_now_us())
    changes = Changes(site.store)

    def away(*_: object, **__: object) -> Any:
        raise StoreUnavailable("away")

    site.measure("cpu", 7.0)
    use_cases.cancel(site.store, DEVICE, command.command_id, actor="api", now_us=utc_now_us())
    for name in ("command_changes", "command_with_history", "devices"):
        with monkeypatch.context() as patched:
            patched.setattr(site.store, name, away)
            with pytest.raises(StoreUnavailable):
                changes.poll({None})
    told = [message.frame.split(b"\n", 1)[0] for message in changes.poll({None})]
    assert told == [b"event: readings", b"event: command", b"event: device"]
    assert changes.poll({None}) == []


def test_no_stream_is_opened_while_the_database_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(site.store, "last_command_seq", away)
    assert site.client.get(f"{API}/events").status_code == 503
    assert services_of(site.app).live.open_streams == 0


def test_the_poller_rests_while_nobody_listens_and_starts_again(site: Site) -> None:
    made: list[Changes] = []

    def make() -> Changes:
        made.append(Changes(site.store))
        return made[-1]

    live = LiveEvents(make, streams_max=1, poll_s=0.01)
    stream = live.subscribe(None)
    with pytest.raises(TooManyStreams):
        live.subscribe(None)
    stream.close()
    wait_for(lambda: "live-events" not in {thread.name for thread in threading.enumerate()}, 60, "the poller ended")
    live.subscribe(None)
    assert len(made) == 2
    live.stop()
