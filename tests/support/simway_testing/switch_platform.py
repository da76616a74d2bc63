"""The platform's part of a carrier switch in one process: real endpoint, exchange, ledger, dispatcher and store.

``kill`` loses what a kill -9 of udp-server and dispatcher would lose: sessions, what is not yet in the log, positions not stored.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simway_backbone.memory_log import MemoryLog
from simway_flask_app import commands as use_cases
from simway_flask_app import dispatcher as dispatcher_module
from simway_flask_app.device_events import DeviceEvents
from simway_flask_app.dispatcher import RECORDS_MAX, Dispatcher
from simway_flask_app.store.port import Command, HistoryRow
from simway_flask_app.store.sql import open_store
from simway_protocol import messages
from simway_protocol.identity import derive_device_key
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.server import ServerEndpoint
from simway_udp_server.counts import Counts
from simway_udp_server.exchange import Exchange

MASTER = bytes(range(32))
COOKIE_PERIOD_US = 25_000_000
DISPATCH_EVERY_US = 20_000_000
"""Without news the dispatcher looks at the clock this often."""
DATAGRAM_ROOM_BYTES = 2_048


class Killed(Exception):
    """The platform's processes are gone, and come again."""


@dataclass
class Waiting:
    """A record that is not yet in the log."""

    key: bytes | None
    value: bytes
    durable: Callable[[], None] | None


class Events:
    """The part of ``Appender`` that an exchange uses; what it holds is in the log after ``flush``."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._waiting: list[Waiting] = []

    def add(
        self, key: bytes | None, value: bytes, durable: Callable[[], None] | None = None, *, always: bool = False,
        patience_s: float = 0.0,
    ) -> bool:  # fmt: skip
        self._waiting.append(Waiting(key, value, durable))
        return True

    def flush(self) -> bool:
        """True when there was something."""
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._log.append("device-events", 0, [(record.key, record.value)]).result(0)
        for record in waiting:
            if record.durable is not None:
                record.durable()
        return bool(waiting)


class NoLetters:
    """Nothing of these runs is a dead letter."""

    def add(self, letters: list[Any]) -> None:
        raise AssertionError(f"dead letters: {letters}")


class Platform:
    """One for many runs, each with a device of its own. ``clock_us`` is the run's."""

    def __init__(self, folder: Path, socket_: socket.socket) -> None:
        self.socket = socket_
        self.log = MemoryLog()
        self.log.ensure_topics()
        self.store = open_store(f"sqlite:///{folder}/store.db")
        self.store.migrate()
        self.alarms = 0
        self.clock_us: Callable[[], int] = lambda: 0
        self.random = random.Random(0)
        self.kill_at = 0
        self._dispatcher: Dispatcher | None = None

    def begin(self, device: str, clock_us: Callable[[], int], rng: random.Random, *, singly: bool) -> None:
        """Enrols a new device, for a new run. ``singly``: the dispatcher reads one event at a time."""
        dispatcher_module.RECORDS_MAX = 1 if singly else RECORDS_MAX
        self.clock_us, self.random, self.kill_at, self.passed = clock_us, rng, 0, 0
        self._forget_old_records()
        self.store.add_device(device, name="", now_us=clock_us())
        self.start()

    def start(self) -> None:
        """The processes, with nothing in memory: what is open is read from the log."""
        if self._dispatcher is not None:
            self._dispatcher.close()
        events = DeviceEvents(MASTER, on_alarm=self._alarm)
        self._dispatcher = Dispatcher(self.log, self.store, events, stopping=threading.Event(), now_us=self.clock_us)
        self.endpoint = ServerEndpoint(
            worker_index=0, device_key=lambda device, version: derive_device_key(MASTER, device, version),
            check_device=lambda _device, _version: None, random=self.random.randbytes,
        )  # fmt: skip
        self._events = Events(self.log)
        self.exchange = Exchange(
            self.endpoint, events=self._events, letters=NoLetters(), counts=Counts(),  # type: ignore[arg-type]
            check_device=lambda _device, _version: None, retention_us=lambda: 10**15, announces_expiry=True, wake=lambda: None,
        )  # fmt: skip
        self._read = {topic: self.log.bounds(topic)[0][0] for topic in ("downlink", "device-events")}
        self._renew_cookies_us = self._dispatch_us = 0
        self._follow()
        self.exchange.begin()

    def work(self) -> bool:
        """One round of every process; True when something moved. What it sent may be lost from the log by ``kill_at``."""
        now_us = self.clock_us()
        if now_us >= self._renew_cookies_us:
            self._renew_cookies_us = now_us + COOKIE_PERIOD_US
            self.endpoint.set_cookie_periods([CookiePeriod(now_us, self.random.randbytes(32), self.random.randbytes(32))])
        moved = self._hear(now_us)
        self.exchange.take(self.endpoint.tick(now_us), now_us)
        moved |= self._send(now_us)
        self._step()
        told = self._events.flush()
        self._step()
        if told or now_us >= self._dispatch_us:
            self._dispatch_us = now_us + DISPATCH_EVERY_US
            self.dispatch()
        self._follow()
        return self._send(now_us) or moved or told

    def dispatch(self) -> None:
        """The dispatcher's rounds until there is nothing to do."""
        assert self._dispatcher is not None
        while self._dispatcher.turn(poll_s=0.0):
            self._step()

    def switch(self, device: str, iccid: str, deadline_s: int) -> Command:
        command = use_cases.switch_carrier(
            self.store, device, iccid=iccid, deadline_s=deadline_s, actor="tester", now_us=self.clock_us()
        )
        self.dispatch()
        return command

    def state(self, device: str, command: Command) -> Command:
        return self.store.command(device, command.command_id)

    def history(self, command: Command) -> list[HistoryRow]:
        return self.store.command_history(command.command_id)

    def next_us(self) -> int | None:
        return self.endpoint.next_deadline_us()

    def close(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.close()
        self.store.close()
        self.log.close()

    # --- inside ----------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            raise Killed

    def _hear(self, now_us: int) -> bool:
        heard = False
        while True:
            try:
                datagram, address = self.socket.recvfrom(DATAGRAM_ROOM_BYTES)
            except BlockingIOError:
                return heard
            heard = True
            self.exchange.take(self.endpoint.receive(datagram, address, now_us), now_us)

    def _send(self, now_us: int) -> bool:
        out = self.endpoint.take_output(now_us)
        for datagram, address in out:
            try:
                self.socket.sendto(datagram, address)
            except ConnectionRefusedError:  # an earlier one bounced off a socket that its device had closed
                self.socket.sendto(datagram, address)
        return bool(out)

    def _follow(self) -> None:
        """What the log has, into the exchange."""
        now_us = self.clock_us()
        for topic, take in (("downlink", self.exchange.downlink), ("device-events", self.exchange.device_events)):
            found = [record for record in self.log.records(topic) if record.offset >= self._read[topic]]
            if found:
                self._read[topic] = found[-1].offset + 1
                take([(messages.decode(topic, record.value), record.appended_us) for record in found], now_us)

    def _forget_old_records(self) -> None:
        for topic in ("downlink", "device-events"):
            self.log.drop_before(topic, 0, self.log.bounds(topic)[0][1])
        while True:
            try:
                self.socket.recv(DATAGRAM_ROOM_BYTES)
            except BlockingIOError:
                return

    def _alarm(self) -> None:
        self.alarms += 1
