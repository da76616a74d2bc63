"""A dispatcher between an embedded store and a log in memory; the test plays the device and the gateway."""

from __future__ import annotations

import threading
from typing import Any

from simway_backbone.log import Log
from simway_flask_app import commands as use_cases
from simway_flask_app.device_events import DeviceEvents
from simway_flask_app.dispatcher import Dispatcher
from simway_flask_app.store.port import Command
from simway_flask_app.store.sql import SqlStore
from simway_protocol.messages import Attached, CommandEvent, Downlink, Inventory, Profile, decode, encode

MASTER = bytes(range(32))
ALPHA, BETA = "8949000000000000011", "8949000000000000029"
T0_US = 1_795_312_800_000_000
PROFILES = [Profile(ALPHA, "a0", "enabled", "Alpha"), Profile(BETA, "a1", "disabled", "Beta")]


class House:
    """A dispatcher with its store and log, a clock that the test turns, and one device."""

    def __init__(self, log: Log, store: SqlStore) -> None:
        self.log, self.store, self.now_us = log, store, T0_US
        self.alarms: list[None] = []
        self.events = DeviceEvents(MASTER, on_alarm=lambda: self.alarms.append(None))
        self.dispatcher = self.start()
        self.generation = 0
        store.add_device("demo", name="", now_us=T0_US)

    def start(self) -> Dispatcher:
        return Dispatcher(self.log, self.store, self.events, stopping=threading.Event(), now_us=lambda: self.now_us)

    def turn(self) -> None:
        """Rounds until there is nothing to do."""
        while self.dispatcher.turn(poll_s=0.0):
            pass

    def tell(self, event: Any) -> None:
        self.log.append("device-events", 0, [(b"demo", encode(event))]).result(60)
        self.turn()

    def attach(self, iccid: str = ALPHA, last_counter: int = 0) -> None:
        self.generation += 64
        self.tell(Attached("demo", self.generation, "udp", iccid, 1, "00ff", last_counter, 1, self.now_us))

    def event(self, command: Command, event: str, *, iccid: str = ALPHA, **more: Any) -> str:
        self.tell(CommandEvent("demo", command.command_id, event, "udp", self.generation, self.now_us, iccid, **more))
        return self.state(command)

    def state(self, command: Command) -> str:
        return self.store.command("demo", command.command_id).state

    def downlink(self) -> list[Downlink]:
        end = self.log.bounds("downlink")[0][1]
        reader = self.log.reader("downlink", {0: 0})
        found: list[Downlink] = []
        while len(found) < end:
            found += [decode("downlink", record.value) for record in reader.poll(1.0)]
        reader.close()
        return found

    def later(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)
        self.turn()

    def switch(self, **more: Any) -> Command:
        """Forced, unless told otherwise: most tests of the ledger need no inventory."""
        self.now_us += 1
        given = {"iccid": BETA, "force_reason": "a test"} | more
        command = use_cases.switch_carrier(self.store, "demo", actor="api", now_us=self.now_us, **given)
        self.turn()
        return command

    def ping(self) -> Command:
        self.now_us += 1
        command = use_cases.ping(self.store, "demo", actor="api", now_us=self.now_us)
        self.turn()
        return command

    def audit(self) -> Command:
        command = use_cases.audit(self.store, "demo", actor="api", now_us=self.now_us)
        self.turn()
        return command

    def lines(self, command: Command) -> list[tuple[str, str]]:
        return [(line.event, line.state) for line in self.store.command_history(command.command_id)]


def inventory(house: House, active: str = ALPHA) -> None:
    profiles = [Profile(p.iccid, p.aid, "enabled" if p.iccid == active else "disabled", p.provider) for p in PROFILES]
    house.tell(Inventory("demo", "udp", house.generation, house.now_us, "89" * 16, active, profiles))
