"""The inbox between a real socket and what takes its datagrams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from simway_udp_server import company, inbox
from simway_udp_server.company import Company
from simway_udp_server.counts import Counts
from simway_udp_server.inbox import Handle, Inbox

WAIT_S = 60.0


class House:
    """An inbox on a port of its own, and whoever sends to it."""

    def __init__(self, udp: socket.socket, handle: Handle, kind: type[Inbox]) -> None:
        self.counts, self.sweeps = Counts(), 0
        self.inbox = kind(asyncio.get_running_loop(), udp, self.counts, handle, self._swept)
        self._address = udp.getsockname()

    def _swept(self, _now_us: int) -> None:
        self.sweeps += 1

    def send(self, sender: socket.socket, *datagrams: bytes) -> None:
        for datagram in datagrams:
            sender.sendto(datagram, self._address)


def udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    return udp


@asynccontextmanager
async def serving(handle: Handle, kind: type[Inbox] = Inbox) -> AsyncIterator[House]:
    with udp_socket() as udp:
        house = House(udp, handle, kind)
        house.inbox.begin()
        yield house
        house.inbox.end()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_what_comes_is_handed_on_in_order_and_counted() -> None:
    async def main() -> None:
        taken: list[bytes] = []
        async with serving(lambda datagram, _address, _now_us: taken.append(datagram)) as house:
            with udp_socket() as sender:
                house.send(sender, *numbered(20))
                await until(lambda: len(taken) == 20)
            assert taken == numbered(20)
            assert (house.counts.datagrams_in, house.counts.bytes_in) == (20, 30)
            assert house.sweeps > 0

    asyncio.run(main())


def test_a_fault_of_ours_costs_the_datagram_that_met_it() -> None:
    taken: list[bytes] = []

    def handle(datagram: bytes, _address: object, _now_us: int) -> None:
        if datagram == b"1":
            raise ZeroDivisionError
        taken.append(datagram)

    async def main() -> None:
        async with serving(handle) as house:
            with udp_socket() as sender:
                house.send(sender, *numbered(3))
                await until(lambda: len(taken) == 2)
            assert house.counts.refused == {"internal_error": 1}

    asyncio.run(main())
    assert taken == [b"0", b"2"]


def test_without_room_the_socket_is_left_alone_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a readable socket would wake the loop again and again, while bulk gives way."""
    monkeypatch.setattr(inbox, "WAITING_MAX", 4)
    monkeypatch.setattr(inbox, "SWEEP_S", -1.0)
    taken: list[bytes] = []
    looks = 0

    class Looking(Inbox):
        def _readable(self) -> None:
            nonlocal looks
            looks += 1
            super()._readable()

    async def main() -> None:
        async with serving(lambda datagram, _address, _now_us: taken.append(datagram), Looking) as house:
            with udp_socket() as sender:
                house.send(sender, *numbered(10))
                for _ in range(100):
                    await asyncio.sleep(0)
                assert (looks, taken) == (1, [])
                monkeypatch.setattr(inbox, "SWEEP_S", 1.0)
                await until(lambda: len(taken) == 10)

    asyncio.run(main())
    assert taken == numbered(10)


def test_after_the_end_nothing_is_handed_on() -> None:
    async def main() -> None:
        taken: list[bytes] = []
        async with serving(lambda datagram, _address, _now_us: taken.append(datagram)) as house:
            with udp_socket() as sender:
                house.send(sender, b"before")
                await until(lambda: taken == [b"before"])
                house.inbox.end()
                house.send(sender, b"behind")
                for _ in range(10):
                    await asyncio.sleep(0)
            assert house.counts.datagrams_in == 1

    asyncio.run(main())


def test_who_brings_little_is_served_while_bulk_gives_way_and_stays_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company, "BULK_DATAGRAMS", 2)
    monkeypatch.setattr(Company, "is_mixed", True)
    monkeypatch.setattr(inbox, "GIVE_WAY_S", 60 * WAIT_S)
    monkeypatch.setattr(inbox, "SWEEP_S", -1.0)
    taken: list[bytes] = []

    async def main() -> None:
        async with serving(lambda datagram, _address, _now_us: taken.append(datagram)) as house:
            with udp_socket() as bulk, udp_socket() as early, udp_socket() as little:
                house.send(bulk, *numbered(3))
                house.send(early, b"waits, and so must what comes behind it")
                await until(lambda: house.counts.datagrams_in == 4)
                house.send(bulk, b"3")
                house.send(early, b"behind")
                house.send(little, b"first", b"second")
                await until(lambda: house.counts.datagrams_in == 8)

    asyncio.run(main())
    assert taken == [b"first", b"second"]
