"""One worker's exchange between both ends of the protocol and a log in memory: no socket, and time is the test's."""

import asyncio
import os

from simway_backbone.memory_log import MemoryLog
from simway_ingest.appender import Appender
from simway_ingest.batcher import Batcher
from simway_ingest.dead_letters import DeadLetters
from simway_protocol import messages
from simway_protocol.commands import Body, BodyType, Kind, command_mac, encode_body
from simway_protocol.identity import derive_device_key
from simway_protocol.messages import Attached, CommandEvent, Downlink
from simway_protocol.readings import Reading
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.events import (
    Acknowledged,
    Challenged,
)  # fmt: skip
from simway_protocol.udp.keys import card_response
from simway_protocol.udp.server import ServerEndpoint
from simway_udp_server.counts import Counts
from simway_udp_server.exchange import Exchange

MASTER = bytes(range(32))
START_US = 1_795_312_800_000_000
EPOCH = "9f3c5a7e01b2d4c6"
ICCID = "8949000000000000011"
COMMAND_ID = bytes(range(16))
DEADLINE_S = 10


def run(scenario):
    async def main():
        await scenario(World())

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


class Client:
    """A device whose datagrams the world carries."""

    def __init__(self, world, device="demo", port=40_000):
        self.world, self.device, self.address = world, device, ("192.0.2.1", port)
        self.key = derive_device_key(MASTER, device, 1)
        self.endpoint = ClientEndpoint(device=device, key_version=1, random=os.urandom)
        self.events = []

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def attach(self):
        self.endpoint.attach(iccid=ICCID, boot_counter=1, epoch=EPOCH, last_counter=0, now_us=self.world.now_us)

    def take(self, events):
        for event in events:
            self.events.append(event)
            if isinstance(event, Challenged):
                self.endpoint.answer(*card_response(self.key, event.challenge), self.world.now_us)

    @property
    def logged(self):
        return [pair for event in self.of(Acknowledged) for pair in event.logged]


class World:
    """One worker's exchange and its clients, on a clock that the test turns."""

    def __init__(self):
        self.now_us = START_US
        self.retention_us = 30 * 86_400 * 10**6
        self.log = MemoryLog()
        self.log.ensure_topics()
        self.refusals = {}
        self.clients = {}
        self.counts = Counts()
        loop = asyncio.get_running_loop()
        self.server = ServerEndpoint(
            worker_index=0,
            device_key=lambda device, version: derive_device_key(MASTER, device, version),
            check_device=lambda device, version: self.refusals.get(device),
            random=os.urandom,
        )
        self.server.set_cookie_periods([CookiePeriod(START_US, os.urandom(32), os.urandom(32))])
        self.letters = DeadLetters(self.log, loop)
        self.exchange = Exchange(
            self.server,
            events=Appender(self.log, loop, "device-events"),
            letters=self.letters,
            counts=self.counts,
            check_device=lambda device, version: self.refusals.get(device),
            retention_us=lambda: self.retention_us,
            announces_expiry=True,
            wake=lambda: None,
        )
        self.exchange.batcher = Batcher(
            self.log, loop, lambda results: self.exchange.settled(results, self.now_us), age_max_s=0.001
        )
        self.exchange.begin()

    async def attached(self, device="demo", port=40_000):
        client = self.clients[port] = Client(self, device, port)
        client.attach()
        await self.until(lambda: client.endpoint.attached)
        await self.until(lambda: any(isinstance(e, Attached) and e.device == device for e in self.events()))
        return client

    async def until(self, condition):
        """Carries datagrams and turns the loop until the condition holds."""
        while not condition():
            self.carry()
            await asyncio.sleep(0.0005)

    async def settle(self):
        """Carries until nothing moves any more."""
        for _ in range(20):
            self.carry()
            await asyncio.sleep(0.0005)

    def carry(self):
        for client in list(self.clients.values()):
            client.take(client.endpoint.tick(self.now_us))
            for datagram in client.endpoint.take_output(self.now_us):
                self.exchange.take(self.server.receive(datagram, client.address, self.now_us), self.now_us)
        self.exchange.take(self.server.tick(self.now_us), self.now_us)
        for datagram, address in self.server.take_output(self.now_us):
            client = self.clients.get(address[1])
            if client is not None:
                client.take(client.endpoint.receive(datagram, self.now_us))

    def events(self):
        return [messages.decode("device-events", record.value) for record in self.log.records("device-events")]

    def command_events(self):
        return [(event.event, event.outcome) for event in self.events() if isinstance(event, CommandEvent)]

    def uplinks(self):
        return [one for record in self.log.records("uplink") for one in messages.decode("uplink", record.value).uplinks]


def readings(world, count=3):
    return [Reading("a", world.now_us - 10**6 + index, index) for index in range(count)]


def command(type_=BodyType.COMMAND, command_id=COMMAND_ID, device="demo", expires_us=START_US + 60 * 10**6, kind=Kind.PING):
    body = encode_body(Body(type_, device, command_id, 1, 1, expires_us, kind))
    mac = command_mac(derive_device_key(MASTER, device, 1), body)
    return Downlink(device, type_.name.lower(), command_id.hex(), 1, expires_us, body, mac)
