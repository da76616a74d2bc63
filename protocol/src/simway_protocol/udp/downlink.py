"""What waits to go down: commands, cancels and confirms by device, and when each is due again."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TypeAlias

from simway_protocol.udp.bodies import Sealed, encode_sealed
from simway_protocol.udp.frames import Type
from simway_protocol.udp.server_session import Session

NEVER_US = 2**63 - 1
TYPES = {"command": Type.COMMAND, "cancel": Type.CANCEL, "confirm": Type.CONFIRM}


class Pending:
    """One frame to be repeated until answered. ``attempts`` counts transmissions in the present session."""

    __slots__ = ("attempts", "command_id", "device", "due_us", "expires_us", "items", "live", "mac", "sent", "type")

    def __init__(self, device: str, type_: Type, sealed: Sealed, expires_us: int) -> None:
        self.device = device
        self.type = type_
        self.command_id = sealed.command_id
        self.mac = sealed.mac
        self.items = encode_sealed(sealed)
        self.expires_us = expires_us
        self.attempts = 0
        self.due_us = 0
        self.sent = False
        self.live = True


class Downlink:
    """All that is pending, keyed by device, then by (command id, type)."""

    __slots__ = ("_by_device",)

    def __init__(self) -> None:
        self._by_device: dict[str, dict[tuple[bytes, Type], Pending]] = {}

    def add(self, device: str, type_: Type, sealed: Sealed, expires_us: int) -> Pending | None:
        """The new entry; None when the very same is pending already. Another body under the same id replaces the old one.

        A CANCEL takes the place of its COMMAND: none is added while it is pending.
        """
        held = self._by_device.setdefault(device, {})
        key = sealed.command_id, type_
        if type_ is Type.COMMAND and (sealed.command_id, Type.CANCEL) in held:
            return None
        if type_ is Type.CANCEL:
            self._end(held, (sealed.command_id, Type.COMMAND))
        old = held.get(key)
        if old is not None:
            if old.mac == sealed.mac:
                return None
            old.live = False
        pending = held[key] = Pending(device, type_, sealed, expires_us)
        return pending

    def drop(self, device: str, command_id: bytes, *types: Type) -> None:
        """Ends the entries of a command: those of ``types``, or all."""
        held = self._by_device.get(device, {})
        for type_ in types or (Type.COMMAND, Type.CANCEL, Type.CONFIRM):
            self._end(held, (command_id, type_))
        if not held:
            self._by_device.pop(device, None)

    def note_sent(self, device: str, command_id: bytes) -> None:
        """The device may have it from elsewhere: it is repeated beyond its expiry, as what was sent here is."""
        for (id_, _), pending in self._by_device.get(device, {}).items():
            if id_ == command_id:
                pending.expires_us = NEVER_US

    @staticmethod
    def _end(held: dict[tuple[bytes, Type], Pending], key: tuple[bytes, Type]) -> None:
        pending = held.pop(key, None)
        if pending is not None:
            pending.live = False

    def of(self, device: str) -> list[Pending]:
        """What is pending for a device, in the order of ``add``."""
        return list(self._by_device.get(device, {}).values())


Due: TypeAlias = Pending | tuple[Session, bytes]
"""Something to send again: a frame, or the PING with this nonce that validates an address."""


class Timers:
    """Things due at a time, in order. An entry that lost its meaning is skipped by its owner when it comes up."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._order = count()

    def add(self, due_us: int, thing: Due) -> None:
        """Brings ``thing`` up at ``due_us``."""
        heapq.heappush(self._heap, (due_us, next(self._order), thing))

    def pop_due(self, now_us: int) -> list[Due]:
        """Everything due by now."""
        due: list[Due] = []
        while self._heap and self._heap[0][0] <= now_us:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def hasten(self, now_us: int) -> None:
        """Makes everything due by ``now_us`` at the latest: the clock was set back."""
        for _, _, thing in self._heap:
            if isinstance(thing, Pending):
                thing.due_us = min(thing.due_us, now_us)
        self._heap = [(min(due_us, now_us), order, thing) for due_us, order, thing in self._heap]
        heapq.heapify(self._heap)

    @property
    def next_us(self) -> int | None:
        """When the first is due."""
        return self._heap[0][0] if self._heap else None
