"""Follows the store: what changed since the last look, as frames of server-sent events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from simway_flask_app.store.feed import LatestFeed
from simway_flask_app.store.port import DeviceDetail, UnknownDevice, WebStore
from simway_flask_app.web import limits, present


class Message(NamedTuple):
    """Something that happened to a device; ``frame``: as it goes over the stream."""

    device: str
    frame: bytes


def frame(event: str, body: Any) -> bytes:
    """One event of a stream (HTML standard, 9.2.6). JSON has no raw line ends, so one data line holds it."""
    return b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


class Changes:
    """Positions in the feeds of one store. Not thread-safe. Every call blocks on the database."""

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self._latest = LatestFeed(store)
        self._latest.poll()
        self._command_seq = store.last_command_seq()
        self._details: dict[str, DeviceDetail] = {}
        self._found: list[Message] = []

    def poll(self, devices: Set[str | None]) -> list[Message]:
        """What happened since the last call; of all devices when ``devices`` holds None.

        Raises ``StoreError``; what was found before it comes with the next call.
        """
        for look in (self._readings, self._commands, lambda: self._devices(devices)):
            self._found += look()
        found, self._found = self._found, []
        return found

    def _readings(self) -> list[Message]:
        by_device: dict[str, list[Any]] = defaultdict(list)
        for change in self._latest.poll():
            by_device[change.reading.device].append(present.reading(change.reading))
        return [Message(device, frame("readings", {"device": device, "readings": rows})) for device, rows in by_device.items()]

    def _commands(self) -> list[Message]:
        rows = self._store.command_changes(self._command_seq)
        if not rows:
            return []
        changed = dict.fromkeys((row.device, row.command_id) for row in rows)
        messages = [self._command(device, command_id) for device, command_id in changed]
        self._command_seq = rows[-1].seq
        return messages

    def _command(self, device: str, command_id: str) -> Message:
        row, history = self._store.command_with_history(device, command_id)
        return Message(device, frame("command", {"device": device, "command": present.command_with_history(row, history)}))

    def _devices(self, devices: Set[str | None]) -> list[Message]:
        messages = []
        for detail in self._wanted(devices):
            known = replace(detail, last_reading_us=None)
            name = detail.device.device
            if self._details.get(name) != known:
                self._details[name] = known
                messages.append(Message(name, frame("device", {"device": name, "detail": present.device(detail)})))
        return messages

    def _wanted(self, devices: Set[str | None]) -> list[DeviceDetail]:
        if None in devices:
            return self._store.devices(limit=limits.DEVICES_LIMIT_MAX)
        found = []
        for device in sorted(name for name in devices if name is not None):
            try:
                found.append(self._store.device(device))
            except UnknownDevice:
                continue
        return found
