"""Readings as they come: everything once, in order, over streams that end."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from simway_cli.errors import Exit

READY = b"retry: 2000\nevent: ready\ndata: {}\n\n"
T0_US = 1_795_338_000_000_000


def reading(sensor: str, second: int, value: float = 0.0) -> dict[str, Any]:
    return {"sensor": sensor, "time": "", "t_us": T0_US + second * 1_000_000, "value": value or second, "unit": None}


class House:
    """A device whose readings a test adds, with the three addresses that tell of them."""

    def __init__(self, api: Any, reply: Any) -> None:
        self.stored: list[dict[str, Any]] = []
        self.api, self.reply = api, reply
        api.on("GET", "devices/demo/readings", self._readings)
        self._looked = threading.Semaphore(0)
        api.on("GET", "devices/demo/readings/latest", self._latest)

    def _latest(self, _: Any) -> Any:
        body = {"device": "demo", "readings": self.latest()}
        self._looked.release()
        return self.reply(body)

    def looked(self) -> None:
        """Waits until the newest readings were asked for, as happens after each ``ready``."""
        assert self._looked.acquire(timeout=20)

    def latest(self) -> list[dict[str, Any]]:
        newest: dict[str, dict[str, Any]] = {}
        for item in self.stored:
            if item["t_us"] >= newest.get(item["sensor"], item)["t_us"]:
                newest[item["sensor"]] = item
        return list(newest.values())

    def _readings(self, request: Any) -> Any:
        query = request.query
        from_us, to_us = int(query.get("from", [0])[0]), int(query.get("to", [2**62])[0])
        found = [
            item
            for item in self.stored
            if from_us <= item["t_us"] < to_us and item["sensor"] in query.get("sensor", [item["sensor"]])
        ]
        found.sort(key=lambda item: item["t_us"], reverse=query.get("order") == ["desc"])
        return self.reply({"device": "demo", "readings": found[: int(query["limit"][0])], "next_cursor": None})

    def say(self) -> bytes:
        return b"event: readings\ndata: " + json.dumps({"device": "demo", "readings": self.latest()}).encode() + b"\n\n"

    def stream(self, *steps: Any) -> Any:
        """An event stream that does the steps; ends with an error that nobody can wait out."""

        def pieces() -> Iterator[bytes]:
            for step in steps:
                found = step() if callable(step) else step
                if isinstance(found, bytes):
                    yield found

        return self.reply(pieces=pieces(), headers={"Content-Type": "text/event-stream"})

    def add(self, *items: dict[str, Any]) -> Any:
        def step() -> bytes:
            self.stored += items
            return self.say()

        return step


@pytest.fixture
def house(api: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("simway_cli.follow.AGAIN_S", 0.001)
    return House(api, reply)


GONE = {"status": 404, "reason": "unknown_device", "detail": "no device demo is registered"}


def values(done: Any) -> list[tuple[str, Any]]:
    return [(item["sensor"], item["value"]) for item in map(json.loads, done.lines)]


def test_everything_that_came_is_shown_once(cli: Any, api: Any, house: House, reply: Any) -> None:
    """The stream tells of the newest reading of a sensor only: those in between are fetched."""
    house.stored.append(reading("a", 0))
    steps = [
        READY,
        house.looked,
        house.add(reading("a", 1), reading("a", 2), reading("b", 5)),
        house.add(reading("a", 3)),
        house.say(),
    ]
    api.on("GET", "events", house.stream(*steps), reply(GONE, 404))
    done = cli("readings", "demo", "--follow", "--json")
    shown = values(done)
    assert [item for item in shown if item[0] == "a"] == [("a", 1), ("a", 2), ("a", 3)]
    assert [item for item in shown if item[0] == "b"] == [("b", 5)]
    assert done.status == Exit.NOT_FOUND, "the device was removed while it was followed"


def test_what_was_missed_between_two_streams_is_shown(cli: Any, api: Any, house: House, reply: Any) -> None:
    house.stored.append(reading("a", 0))

    def missed() -> None:
        house.stored.append(reading("a", 2))

    first = house.stream(READY, house.looked, house.add(reading("a", 1)), missed)
    api.on(
        "GET",
        "events",
        first,
        reply({"status": 429, "detail": "16 streams"}, 429),
        house.stream(READY, house.looked),
        reply(GONE, 404),
    )
    assert values(cli("readings", "demo", "--follow", "--json")) == [("a", 1), ("a", 2)]


def test_what_was_before_and_only_some_sensors(cli: Any, api: Any, house: House, reply: Any) -> None:
    house.stored += [reading("a", 0), reading("b", 1), reading("a", 2)]
    api.on("GET", "events", house.stream(READY, house.looked, house.add(reading("b", 3), reading("a", 4))), reply(GONE, 404))
    done = cli("readings", "demo", "--follow", "--sensor", "a", "--from", str(T0_US), "--utc")
    assert done.lines == ["2026-11-22 09:00:00.000  a  0", "2026-11-22 09:00:02.000  a  2", "2026-11-22 09:00:04.000  a  4"]


def test_a_stream_that_breaks_off_is_opened_anew(cli: Any, api: Any, house: House, reply: Any) -> None:
    broken = reply(pieces=[READY], cut=True, headers={"Content-Type": "text/event-stream"})
    api.on("GET", "events", broken, house.stream(READY, house.looked, house.add(reading("a", 1))), reply(GONE, 404))
    done = cli("readings", "demo", "--follow", "--json")
    assert values(done) == [("a", 1)]
    assert "trying again" in done.err


def test_too_many_streams_at_the_start_is_said(cli: Any, api: Any, house: House, reply: Any) -> None:
    api.on(
        "GET",
        "events",
        {"status": 429, "reason": "too_many_streams", "detail": "16 event streams are open"},
        status=429,
        Retry_After="5",
    )
    done = cli("readings", "demo", "--follow")
    assert (done.status, "Try again in 5 s." in done.err) == (Exit.REFUSED, True)


def test_each_reading_is_printed_as_it_comes(cli: Any, api: Any, house: House, reply: Any) -> None:
    """The line is out before the next event comes."""
    gate: queue.Queue[None] = queue.Queue()
    out = threading.Event()
    api.on(
        "GET",
        "events",
        house.stream(READY, house.looked, house.add(reading("a", 1)), lambda: gate.get(timeout=60), house.say()),
        reply(GONE, 404),
    )
    import io

    from simway_cli.app import run

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            if text.endswith("\n"):
                out.set()
            return super().write(text)

    thread = threading.Thread(target=run, args=(["readings", "demo", "--follow"], cli.environ, Out(), io.StringIO()))
    thread.start()
    assert out.wait(60)
    gate.put(None)
    thread.join(60)
    assert not thread.is_alive()


def test_follow_has_no_end(cli: Any) -> None:
    assert cli("readings", "demo", "--follow", "--to", "now").status == Exit.USAGE
    assert cli("readings", "demo", "--follow", "--window", "1m").status == Exit.USAGE
    assert cli("readings", "demo", "--follow", "--plot").status == Exit.USAGE
