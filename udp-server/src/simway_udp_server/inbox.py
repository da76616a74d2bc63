"""Datagrams in, straight from the socket: they wait by sender (``turns``) and are handed on in sweeps.

Up to ``BATCH_MAX`` are taken at a wake-up. A sweep hands on for ``SWEEP_S`` at most, then the loop turns to timers and the log's
answers. While bulk gives way, those that bring little are served between sweeps (docs/decisions/bulk-gives-way.md). What finds no
room here waits in the socket's receive buffer, and what finds none there the kernel drops and counts. Nothing here makes a task,
future or timer per datagram.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import structlog

from simway_udp_server.company import Company
from simway_udp_server.counts import Counts
from simway_udp_server.turns import Address, Turns

BATCH_MAX = 256
"""Datagrams taken from the socket at a wake-up."""
WAITING_MAX = 4_096
"""Datagrams taken that wait for their turn; what finds no room stays in the socket."""
SWEEP_S = 0.002
"""A sweep ends after so long: else no device would hear of its ACKs."""
GIVE_WAY_S = 0.012
"""Between two sweeps where bulk is in company: so it has a seventh of a processor at most, and a recorder keeps up."""
DATAGRAM_ROOM_BYTES = 2_048
FAULT_LOG_INTERVAL_S = 60.0

Handle: TypeAlias = Callable[[bytes, Address, int], None]
"""Takes one datagram, its sender, and the time in UTC microseconds."""

_log = structlog.get_logger("worker")


class Inbox:
    """Reads ``udp`` from ``begin`` to ``end``, in ``loop``: each datagram goes to ``handle``, and ``swept`` ends a sweep.

    What ``handle`` raises costs that datagram; it is counted as ``internal_error``.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, udp: socket.socket, counts: Counts, handle: Handle, swept: Callable[[int], None]
    ) -> None:
        self._loop, self._udp, self._counts = loop, udp, counts
        self._handle, self._swept = handle, swept
        self._turns, self._company = Turns(), Company()
        self._is_reading = self._is_sweeping = self._is_giving_way = self._has_ended = False
        self._fault_told_s = -FAULT_LOG_INTERVAL_S

    def begin(self) -> None:
        """From here on datagrams come."""
        self._read(True)

    def end(self) -> None:
        """No more sweep begins; what still waits comes again from its sender."""
        self._has_ended = True
        self._read(False)

    def _read(self, wanted: bool) -> None:
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._loop.add_reader(self._udp.fileno(), self._readable)
        else:
            self._loop.remove_reader(self._udp.fileno())

    def _readable(self) -> None:
        """Takes what has come, as far as there is room, and sweeps unless that goes on already."""
        recvfrom, note, is_bulk = self._udp.recvfrom, self._company.note, self._company.is_bulk
        turns, is_giving_way = self._turns, self._is_giving_way
        at_once: list[tuple[bytes, Address]] = []
        datagrams = size_bytes = 0
        self._company.turn_over(time.monotonic())
        for _ in range(min(BATCH_MAX, WAITING_MAX - self._turns.size)):
            try:
                datagram, address = recvfrom(DATAGRAM_ROOM_BYTES)
            except BlockingIOError:
                break
            except OSError:  # an earlier answer bounced: the next call goes on
                continue
            datagrams += 1
            size_bytes += len(datagram)
            note(address)
            if is_giving_way and address not in turns and not is_bulk(address):
                at_once.append((datagram, address))
            else:
                turns.add(datagram, address)
        self._counts.datagrams_in += datagrams
        self._counts.bytes_in += size_bytes
        if self._turns.size >= WAITING_MAX:
            self._read(False)  # a socket that is readable without room here would keep the loop busy for nothing
        if not self._is_sweeping:
            self._sweep()
        elif at_once:
            self._hand_on(at_once)

    def _sweep(self) -> None:
        """One sweep; the next follows when the loop has looked at timers, the log's answers and the socket."""
        self._is_sweeping = False
        if self._has_ended:
            return
        self._hand_on(self._in_turn(time.monotonic() + SWEEP_S))
        if self._turns.size < WAITING_MAX:
            self._read(True)
        self._is_sweeping = bool(self._turns.size)
        self._is_giving_way = self._is_sweeping and self._company.is_mixed
        if self._is_giving_way:
            self._loop.call_later(GIVE_WAY_S, self._sweep)
        elif self._is_sweeping:
            self._loop.call_soon(self._sweep)

    def _in_turn(self, until_s: float) -> Iterator[tuple[bytes, Address]]:
        """What waits, as far as there is time for it."""
        turns = self._turns
        while turns.size and time.monotonic() < until_s:
            yield turns.take()

    def _hand_on(self, taken: Iterable[tuple[bytes, Address]]) -> None:
        handle, now_us = self._handle, time.time_ns() // 1_000
        for datagram, address in taken:
            try:
                handle(datagram, address, now_us)
            except Exception:  # a fault of ours: it costs this datagram, not the devices behind it in the queue
                self._note_fault()
        self._swept(now_us)

    def _note_fault(self) -> None:
        """Counts, and says once a minute where: whoever can repeat such a datagram shall not fill the disk."""
        refused = self._counts.refused
        refused["internal_error"] = refused.get("internal_error", 0) + 1
        if self._loop.time() - self._fault_told_s > FAULT_LOG_INTERVAL_S:
            self._fault_told_s = self._loop.time()
            _log.exception("a datagram met a fault of ours")
