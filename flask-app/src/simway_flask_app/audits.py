"""Scheduled audits: each device that is there tells its SIM and its journal once an interval, the fleet spread over it.

A device has its own moment in the interval, by a hash of its id; and however many are late (after an outage, say), only so many
are asked at a time as an even pace needs. Not asked: who is away, who has a switch open, who has an audit outstanding. A switch
whose end is UNKNOWN is asked about at once, then hourly for a day, and when a device attaches with one: an audit tells what
became of it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, func, select

from simway_flask_app import commands as use_cases
from simway_flask_app.ledger import LAPSING, State
from simway_flask_app.policy import Verdict
from simway_flask_app.store.commands import queue
from simway_flask_app.store.registry import ACTIVE
from simway_flask_app.store.schema import commands, devices, sessions
from simway_flask_app.store.sql import SqlStore

PERIOD_S = 10.0
ACTOR = "schedule"
PACE = 2
"""So many times the even pace at most: what is late is made up for, without a rush."""
ASK_AGAIN_US = 3600 * 1_000_000
ASK_UNTIL_US = 24 * 3600 * 1_000_000
EXPIRES_MAX_S = 3600
_OPEN_SWITCH = tuple(state.value for state in (State.QUEUED, *LAPSING))
_OPEN_AUDIT = (State.QUEUED.value, State.SENT.value, State.RECEIVED.value)


def moment_us(device: str, interval_us: int, now_us: int) -> int:
    """The device's last own moment: the newest time up to ``now_us`` that is its phase beyond a multiple of the interval."""
    phase_us = zlib.crc32(device.encode()) * interval_us >> 32
    return (now_us - phase_us) // interval_us * interval_us + phase_us


def batch_size(fleet: int, interval_s: float, period_s: float = PERIOD_S) -> int:
    """How many may be asked at once, each ``period_s``."""
    return max(1, math.ceil(PACE * fleet * period_s / interval_s))


class Audits:
    """``queue_due`` is called every ``PERIOD_S``. Not thread-safe; blocks on the database."""

    def __init__(self, store: SqlStore, interval_s: int, *, now_us: Callable[[], int]) -> None:
        self._store, self._interval_s, self._now_us = store, interval_s, now_us
        self._asked: dict[str, int] | None = None

    def queue_due(self) -> list[str]:
        """Queues audits; gives the devices. Raises ``StoreError``."""
        now_us = self._now_us()
        with self._store.reading() as connection:
            if self._asked is None:
                self._asked = _asked_since(connection, now_us - 2 * self._interval_s * 1_000_000)
            present = _present(connection)
            unknown = _unknown(connection, now_us)
            busy = _busy(connection)
        due = [*self._unresolved(unknown, present, now_us), *self._routine(present, now_us)]
        chosen = list(dict.fromkeys(device for device in due if device not in busy))[: batch_size(len(present), self._interval_s)]
        for device in chosen:
            self._queue(device, now_us)
        return chosen

    def _routine(self, present: dict[str, int], now_us: int) -> Iterable[str]:
        """Those whose moment came after their last audit, or, without one, after they were enrolled; the latest first."""
        interval_us = self._interval_s * 1_000_000
        moments = {device: moment_us(device, interval_us, now_us) for device in present}
        late = [device for device, enrolled_us in present.items() if self._last(device, enrolled_us) < moments[device]]
        return sorted(late, key=lambda device: self._last(device, present[device]))

    def _unresolved(self, unknown: dict[str, int], present: dict[str, int], now_us: int) -> Iterable[str]:
        for device, since_us in unknown.items():
            last_us = self._last(device, 0)
            if device in present and (last_us < since_us or now_us - last_us > ASK_AGAIN_US):
                yield device

    def _last(self, device: str, otherwise_us: int) -> int:
        assert self._asked is not None
        return self._asked.get(device, otherwise_us)

    def _queue(self, device: str, now_us: int) -> None:
        assert self._asked is not None
        expires_in_s = min(self._interval_s, EXPIRES_MAX_S)
        try:
            use_cases.audit(self._store, device, expires_in_s=expires_in_s, actor=ACTOR, now_us=now_us)
        except use_cases.DeviceRevoked:
            return
        self._asked[device] = now_us


def ask_at_attach(connection: Connection, device: str, now_us: int) -> None:
    """Queues an audit of a device that comes with a switch whose end is UNKNOWN, however long it was away, unless one was asked
    since, in the last hour. Within a transaction of ``SqlStore.deciding``; whatever the interval is."""
    table = commands.c
    unknown = (table.device == device) & (table.kind == "switch") & (table.state == State.UNKNOWN.value)
    since_us = connection.execute(select(func.max(table.updated_us)).where(unknown)).scalar()
    if since_us is None:
        return
    asked = table.state.in_(_OPEN_AUDIT) | (table.created_us > max(since_us, now_us - ASK_AGAIN_US))
    if connection.execute(select(table.command_id).where(table.device == device, table.kind == "audit", asked)).first():
        return
    wanted = use_cases.new_command(device, "audit", EXPIRES_MAX_S, ACTOR, now_us)
    queue(connection, wanted, "", Verdict(None), now_us)


def _asked_since(connection: Connection, since_us: int) -> dict[str, int]:
    table = commands.c
    query = select(table.device, func.max(table.created_us)).where(table.kind == "audit", table.created_us > since_us)
    return {row[0]: row[1] for row in connection.execute(query.group_by(table.device))}


def _present(connection: Connection) -> dict[str, int]:
    """Active devices with a session that lives, and when they were enrolled."""
    joined = devices.join(sessions, sessions.c.device == devices.c.device)
    query = select(devices.c.device, devices.c.created_us).select_from(joined)
    here = query.where(devices.c.status == ACTIVE, sessions.c.detached_us.is_(None))
    return {row.device: row.created_us for row in connection.execute(here)}


def _busy(connection: Connection) -> set[str]:
    """Devices with a switch that is not over, or an audit that is not answered."""
    table = commands.c
    switch = (table.kind == "switch") & table.state.in_(_OPEN_SWITCH)
    audit = (table.kind == "audit") & table.state.in_(_OPEN_AUDIT)
    return set(connection.execute(select(table.device).where(table.state.in_(_OPEN_SWITCH), switch | audit)).scalars())


def _unknown(connection: Connection, now_us: int) -> dict[str, int]:
    """Devices with a switch whose end is UNKNOWN, not for longer than a day, and since when."""
    table = commands.c
    query = select(table.device, func.max(table.updated_us)).where(table.state == State.UNKNOWN.value, table.kind == "switch")
    return {row[0]: row[1] for row in connection.execute(query.group_by(table.device)) if now_us - row[1] < ASK_UNTIL_US}
