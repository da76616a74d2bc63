"""The dispatcher as it runs: told of commands by the store, and not dependent on that; events that come together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from simway_flask_app import commands as use_cases
from simway_flask_app.dispatcher import Dispatcher
from simway_flask_app.store.port import StoreUnavailable
from simway_protocol.messages import CommandEvent, encode
from simway_testing.ledger_house import T0_US, House
from simway_testing.waiting import wait_for

WAIT_S = 20.0


@contextmanager
def running(house: House) -> Iterator[None]:
    stopping = threading.Event()
    dispatcher = Dispatcher(house.log, house.store, house.events, stopping=stopping, now_us=lambda: house.now_us)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        dispatcher.source.wake()
        thread.join(WAIT_S)
    assert not thread.is_alive()


def order_two(house: House) -> None:
    """One ping, and, once that is sealed and published, another."""
    for number in (1, 2):
        name = f"device-{number}"
        house.store.add_device(name, name="", now_us=T0_US)
        use_cases.ping(house.store, name, actor="api", now_us=T0_US)
        wait_for(lambda number=number: house.log.bounds("downlink")[0][1] == number, WAIT_S, "sealed and published")


def test_a_command_is_sealed_because_the_store_tells_of_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without, it would wait longer than this test does."""
    monkeypatch.setattr(Dispatcher.turn, "__defaults__", (60 * WAIT_S,))
    with running(house):
        order_two(house)


class Silence:
    """News that never come, as from a store that lost the connection and does not know."""

    def wait(self, timeout_s: float) -> bool:
        threading.Event().wait(timeout_s)
        return False

    def close(self) -> None:
        pass


class Trouble(Silence):
    """News that cannot be listened to."""

    def wait(self, timeout_s: float) -> bool:
        raise StoreUnavailable("away")


@pytest.mark.parametrize("news", [Silence(), Trouble()])
def test_news_that_are_lost_cost_time_alone(house: House, news: Silence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.store, "news", lambda: news)
    with running(house):
        order_two(house)


@pytest.mark.parametrize("kind", ["ping", "audit"])
def test_what_comes_together_is_written_as_if_it_came_one_by_one(house: House, kind: str) -> None:
    house.attach()
    use_case = {"ping": use_cases.ping, "audit": use_cases.audit}[kind]
    written = []
    for together in (False, True):
        command = use_case(house.store, "demo", actor="api", now_us=T0_US)
        house.turn()
        for word, more in (("sent", {}), ("received", {}), ("result", {"outcome": "executed", "evidence": {"rtt_us": 5}})):
            event = CommandEvent("demo", command.command_id, word, "udp", house.generation, T0_US + 7, **more)  # type: ignore[arg-type]
            house.log.append("device-events", 0, [(b"demo", encode(event))]).result(WAIT_S)
            if not together:
                house.turn()
        house.turn()
        history = [(line.t_us, line.actor, line.event, line.state, line.reason, dict(line.evidence)) for line in
                   house.store.command_history(command.command_id)]  # fmt: skip
        entries = [row.entry for row in house.store.audit(device="demo", limit=500).entries]
        trail = [(entry.kind, entry.actor, entry.detail) for entry in entries if entry.subject == command.command_id]
        found = house.store.command("demo", command.command_id)
        written.append((found.state, found.reason, dict(found.evidence), history, trail[:-1]))
    assert written[0] == written[1]
    assert [line[3] for line in written[0][3]] == ["QUEUED", "QUEUED", "SENT", "RECEIVED", "EXECUTED"]
    assert house.store.verify_audit(house.events._signer).broken is None
