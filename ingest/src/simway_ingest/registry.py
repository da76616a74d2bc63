"""Who may come in: the devices of topic ``registry``, kept in memory. Works on while the store, or the log, is down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from simway_backbone import metrics
from simway_backbone.log import Log, Record
from simway_protocol import messages
from simway_protocol.messages import EVERY_DEVICE, BadMessage, RegistryEntry

from simway_ingest.follower import Follower

PATIENCE_S = 0.1
"""So late a revocation may be seen."""


class Refused(StrEnum):
    """Why a device is not let in."""

    UNKNOWN_DEVICE = "unknown_device"
    REVOKED = "revoked"
    BAD_KEY_VERSION = "bad_key_version"
    NOT_READY = "not_ready"
    """The registry has not been read yet: a gateway just started."""


class Registry:
    """The registry as the log tells it. ``check`` may be called from any thread; ``changed`` is called in the reading thread.

    ``changed`` gets every entry as it is read; which sessions it ends the caller decides, who knows their key versions.
    """

    def __init__(self, log: Log, changed: Callable[[RegistryEntry], None] = lambda _: None) -> None:
        self.raw_keep_us: int | None = None
        """How long raw readings are kept: older ones are refused. 0: for ever; None: the log does not say."""
        self._devices: dict[str, RegistryEntry] = {}
        self._changed = changed
        self._follower = Follower(log, "registry", self._take, patience_s=PATIENCE_S)

    def start(self) -> None:
        """Begins reading, in a thread of its own."""
        self._follower.start()

    def ask_to_stop(self) -> None:
        """See ``Follower``."""
        self._follower.ask_to_stop()

    def stop(self) -> None:
        """Ends the thread. What is known stays known."""
        self._follower.stop()

    def wait_ready(self, timeout_s: float) -> bool:
        """Waits until all has been read that the log held at the start."""
        return self._follower.caught_up.wait(timeout_s)

    @property
    def ready(self) -> bool:
        """Whether all has been read that the log held at the start."""
        return self._follower.caught_up.is_set()

    @property
    def error(self) -> str | None:
        """What is wrong with reading now, or None."""
        return self._follower.error

    def __len__(self) -> int:
        return len(self._devices)

    def check(self, device: str, key_version: int) -> str | None:
        """Why the device may not come in with a key of this version, or None."""
        entry = self._devices.get(device)
        if entry is None:
            return Refused.UNKNOWN_DEVICE if self.ready else Refused.NOT_READY
        if entry.status != "active":
            return Refused.REVOKED
        return None if key_version in entry.key_versions else Refused.BAD_KEY_VERSION

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            if not record.value:
                self._forget(record)
                continue
            try:
                entry: RegistryEntry = messages.decode("registry", record.value)
            except BadMessage:
                metrics.RECORDS_LOST.labels("registry", "unreadable").inc()
                continue
            if entry.device == EVERY_DEVICE:
                self.raw_keep_us = None if entry.raw_keep_s is None else entry.raw_keep_s * 1_000_000
                continue
            self._devices[entry.device] = entry
            self._changed(entry)

    def _forget(self, record: Record) -> None:
        """An empty value is the tombstone of a compacted topic: the device was deleted."""
        device = (record.key or b"").decode(errors="replace")
        if self._devices.pop(device, None) is not None:
            self._changed(RegistryEntry(device, "revoked", [], record.appended_us))
