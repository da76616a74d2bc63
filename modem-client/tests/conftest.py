"""A device and a server in one process: the real endpoints over a bad network, in simulated time."""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from simway_modem_client.agent import Agent
from simway_modem_client.card import SimCard, open_card
from simway_modem_client.journal import Journal
from simway_modem_client.keys import CardKey
from simway_modem_client.link import Link
from simway_modem_client.outbox import Outbox
from simway_modem_client.terminal import SimTerminal, platform_at
from simway_protocol import senml
from simway_protocol.commands import Body, BodyType, Kind, command_mac, encode_body
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.sim.es10c import EnableProfile, ProfileId
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import CommandProgress, DataReceived, ServerEvent, SessionAttached
from simway_protocol.udp.server import CookiePeriod, ServerEndpoint
from simway_testing.udp_service import UdpServer
from simway_virtual_sim.radio import VirtualRadio
from simway_virtual_sim.radio_coverage import Coverage

DEVICE = "truck-7"
KEY = bytes(range(32))
START_US = 1_790_000_000_000_000
CLIENT = ("192.0.2.7", 6002)
SECOND_US = 1_000_000


class Net:
    """Datagrams under way, by time of arrival."""

    def __init__(self, seed: int, loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.cut = False
        self._under_way: list[tuple[int, int, bool, bytes]] = []
        self._order = 0

    def send(self, to_server: bool, datagram: bytes, now_us: int) -> None:
        for _ in range(2 if self.random.random() < self.loss / 2 else 1):
            if self.cut or self.random.random() < self.loss:
                continue
            self._order += 1
            delay_us = self.random.randrange(500, 20_000) if self.loss else 1_000
            heapq.heappush(self._under_way, (now_us + delay_us, self._order, to_server, datagram))

    def due(self, now_us: int) -> Iterator[tuple[bool, bytes]]:
        while self._under_way and self._under_way[0][0] <= now_us:
            _, _, to_server, datagram = heapq.heappop(self._under_way)
            yield to_server, datagram

    def next_us(self) -> int | None:
        return self._under_way[0][0] if self._under_way else None


@dataclass
class Server:
    """A shell around the real server endpoint: keeps what was logged, settles what devices report, confirms switches."""

    clock_us: Callable[[], int]
    random: random.Random
    key: bytes = KEY
    refusal: str | None = None
    confirms: bool = True
    outcome: Callable[[int], tuple[Outcome, str]] = lambda _seq: (Outcome.LOGGED, "")
    later_ms: int = 0
    logged: dict[tuple[str, int], Reading] = field(default_factory=dict)
    dropped: list[tuple[int, int]] = field(default_factory=list)
    attached: list[SessionAttached] = field(default_factory=list)
    progress: list[CommandProgress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.endpoint = ServerEndpoint(
            worker_index=0, device_key=lambda _device, _version: self.key, check_device=lambda _device, _version: self.refusal,
            random=self.random.randbytes,
        )  # fmt: skip
        self.renew_cookies()

    def renew_cookies(self) -> None:
        period = CookiePeriod(self.clock_us(), self.random.randbytes(32), self.random.randbytes(32))
        self.endpoint.set_cookie_periods([period])

    def handle(self, events: list[ServerEvent]) -> None:
        for event in events:
            if isinstance(event, SessionAttached):
                self.attached.append(event)
            elif isinstance(event, DataReceived):
                self._data(event)
            elif isinstance(event, CommandProgress):
                self._progress(event)

    def _data(self, event: DataReceived) -> None:
        for offset, reading in enumerate(senml.resolve(event.records, None)):
            seq = event.first_seq + offset
            outcome, detail = self.outcome(seq)
            if outcome is Outcome.LOGGED:
                assert isinstance(reading, Reading)
                known = self.logged.setdefault((event.epoch, seq), reading)
                assert known == reading, "one number, one reading"
            later_ms = self.later_ms if outcome is Outcome.LATER else 0
            self.endpoint.acknowledge(event.session_id, event.epoch, seq, seq, outcome, detail, later_ms)
        for first, last in event.dropped:
            self.dropped.append((first, last))
            self.endpoint.acknowledge(event.session_id, event.epoch, first, last, Outcome.LOGGED)

    def _progress(self, event: CommandProgress) -> None:
        self.progress.append(event)
        if event.event in ("result", "closed"):
            self.endpoint.settle(event.session_id, event.command_id, event.event)
        targets = {command.command_id: command for command in self.commands}
        command = targets.get(event.command_id)
        proved = event.outcome == "executed" and command and event.iccid == command.target_iccid
        if event.event == "result" and proved and self.confirms:
            self.submit(command._replace(type=BodyType.CONFIRM))

    commands: list[Body] = field(default_factory=list)

    def submit(self, body: Body, mac: bytes | None = None) -> None:
        self.commands.append(body)
        encoded = encode_body(body)
        self.endpoint.submit(
            body.device, body.command_id, body.type.name.lower(), encoded, mac or command_mac(self.key, encoded), body.expires_us
        )  # fmt: skip

    def results(self, command_id: bytes) -> list[CommandProgress]:
        return [event for event in self.progress if event.command_id == command_id and event.event == "result"]

    def closings(self, command_id: bytes) -> list[str]:
        return [event.outcome for event in self.progress if event.command_id == command_id and event.event == "closed"]


class World:
    """One device, one server, and the network between them."""

    def __init__(
        self, folder: Path, *, seed: int = 1, loss: float = 0.0, outbox_bytes: int = 1_000_000, sim_speaks: bool = False
    ) -> None:
        self.folder = folder
        self.sim_speaks = sim_speaks
        self.now_us = START_US
        self.net = Net(seed, loss)
        self.random = random.Random(seed + 1)
        self.server = Server(lambda: self.now_us, self.random)
        self.outbox_bytes = outbox_bytes
        self.opened = 0
        self.path_trouble = ""
        self.coverage = Coverage()
        self._next_command = 1
        self.wrap_card: Callable[[Any], Any] = lambda card: card
        self.boot()

    # --- the device --------------------------------------------------------------------------------------------------

    def boot(self, *, start: bool = True) -> None:
        self.off = False
        settings = {"state_file": str(self.folder / "sim.json")}
        self.journal = Journal(self.folder / "journal.db")
        self.outbox = Outbox(self.folder / "outbox.db", max_bytes=self.outbox_bytes)
        self.radio = VirtualRadio(lambda: self.coverage, clock_s=lambda: self.now_us / 1e6)
        self.sim = SimCard(
            lambda: self.wrap_card(open_card("virtual", settings)), terminal=self._terminal() if self.sim_speaks else None
        )
        if not self.sim.use().applet_status().personalised:
            self.sim.use().applet_personalise(KEY, 1)
        self.endpoint = ClientEndpoint(device=DEVICE, key_version=1, random=self.random.randbytes)
        keys = CardKey(self.sim, 1, survives_switch=True)
        self._passes: Callable[[], bool] = lambda: False
        self.link = Link(
            endpoint=self.endpoint, outbox=self.outbox, keys=keys, sim=self.sim, path=self, bearer=self.radio,
            boot_counter=self.journal.count_boot(), last_counter=lambda: self.journal.last_counter, clock_us=lambda: self.now_us,
            rng=random.Random(self.random.random()), agent_of=lambda link: Agent(
                device=DEVICE, keys=keys, sim=self.sim, journal=self.journal, uplink=self.endpoint,
                clock_us=lambda: self.now_us, reattach=link.reattach, describe=link.describe, registration=link.registration,
                proof=self.radio.proof,
            ),
        )  # fmt: skip
        self.agent = self.link.agent
        if start:
            self.link.start()

    def _terminal(self) -> SimTerminal:
        return SimTerminal(
            device=DEVICE, outbox=self.outbox, clock_us=lambda: self.now_us, registration=self.radio.registration,
            is_platform=platform_at("127.0.0.1", 6001),
        )  # fmt: skip

    def power_off(self) -> None:
        """Whatever was under way in the device's memory is gone."""
        self.off = True
        self.sim.drop()
        self.outbox.close()
        self.journal.close()

    def reopen(self) -> None:
        self.opened += 1
        if self.path_trouble:
            raise OSError(self.path_trouble)
        self._passes = self.radio.open_gate()

    # --- time --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One round of the device's loop and of the server's, then on to whatever comes next."""
        self._send_up()
        self.link.tick()
        self._send_up()
        self.server.handle(self.server.endpoint.tick(self.now_us))
        self._send_down()
        times = [self.now_us + int(self.link.next_wait_s() * 1e6), self.net.next_us(), self.server.endpoint.next_deadline_us()]
        self.now_us = max(self.now_us + 100, min(at for at in times if at is not None))
        for to_server, datagram in self.net.due(self.now_us):
            if to_server:
                self.server.handle(self.server.endpoint.receive(datagram, CLIENT, self.now_us))
            elif self._passes():
                self.link.receive(datagram)
        self._send_down()

    def until(self, condition: Callable[[], object], within_s: float = 120.0) -> None:
        """Steps until it holds. ``within_s``: of simulated time."""
        deadline_us = self.now_us + int(within_s * SECOND_US)
        renew_us = self.now_us + 25 * SECOND_US
        while not condition():
            assert self.now_us < deadline_us, f"not within {within_s} s: {self.link.state}"
            self.step()
            if self.now_us >= renew_us:
                renew_us = self.now_us + 25 * SECOND_US
                self.server.renew_cookies()

    def pass_time(self, seconds: float) -> None:
        end_us = self.now_us + int(seconds * SECOND_US)
        self.until(lambda: self.now_us >= end_us, seconds + 60)

    def _send_up(self) -> None:
        for datagram in self.link.take_output():
            if self._passes():
                self.net.send(True, datagram, self.now_us)

    def _send_down(self) -> None:
        for datagram, address in self.server.endpoint.take_output(self.now_us):
            if address == CLIENT:
                self.net.send(False, datagram, self.now_us)

    # --- shorthands --------------------------------------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        return self.endpoint.attached and bool(self.server.attached)

    def profiles(self) -> list[Any]:
        return self.sim.use().profiles()

    def active_iccid(self) -> str:
        return self.sim.use().iccid()

    def other_iccid(self) -> str:
        return next(profile.iccid for profile in self.profiles() if not profile.enabled)

    def command(
        self, kind: Kind, *, target: str = "", counter: int | None = None, expires_in_s: float = 600, **changes: Any
    ) -> Body:
        number = self._next_command
        self._next_command += 1
        body = Body(
            BodyType.COMMAND, DEVICE, number.to_bytes(16, "big"), number if counter is None else counter, 1,
            self.now_us + int(expires_in_s * SECOND_US), kind, target,
            (EnableProfile(ProfileId.of(target)).encode(),) if target else (),
        )._replace(**changes)  # fmt: skip
        self.server.submit(body)
        return body

    def result(self, body: Body) -> CommandProgress | None:
        found = self.server.results(body.command_id)
        return found[-1] if found else None


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Commands that run in this process set logging up; the next test hears everything again."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**options: Any) -> World:
        folder = tmp_path / f"world-{len(worlds)}"
        folder.mkdir()
        worlds.append(World(folder, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        if not world.off:
            world.power_off()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def server() -> Iterator[UdpServer]:
    """The real server endpoint on a real socket, for ``simway-modem`` as a process."""
    server = UdpServer()
    yield server
    server.close()


@pytest.fixture
def environment(tmp_path: Path, server: UdpServer) -> dict[str, str]:
    """That of a ``simway-modem`` which attaches to ``server``."""
    key_file = tmp_path / "device.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY.hex())
    return {
        "DEVICE_ID": DEVICE, "DEVICE_KEY_FILE": str(key_file), "MODEM_DIR": str(tmp_path / "modem"),
        "SERVER_PORT": str(server.port), "MODEM_METRICS_PORT": "0", "PATH": os.environ["PATH"],
    }  # fmt: skip
