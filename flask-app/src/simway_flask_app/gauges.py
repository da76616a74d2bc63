"""What the dispatcher measures, read from the store: open commands and their age, transitions, alarms, the outbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from simway_backbone import metrics
from sqlalchemy import Connection, func, select

from simway_flask_app.ledger import FINAL, LAPSING, State
from simway_flask_app.store.schema import alarms, command_history, commands, outbox
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.twin import Kind

log = structlog.get_logger()

PERIOD_S = 5.0
LOSS_PERIOD_S = 15.0
OPEN = (State.QUEUED, *LAPSING, State.UNKNOWN)
_ENDS = FINAL | {State.EXPIRED, State.CANCELLED}


class LedgerGauges:
    """``measure`` sets the gauges, and counts the transitions since the last time; those before the first are not counted."""

    def __init__(self, store: SqlStore, *, now_us: Callable[[], int]) -> None:
        self._store, self._now_us = store, now_us
        self._seq: int | None = None

    def measure(self) -> None:
        """Raises ``StoreError``."""
        with self._store.reading() as connection:
            metrics.OUTBOX_ROWS.set(connection.execute(select(func.count()).select_from(outbox)).scalar_one())
            self._measure_open(connection)
            _measure_alarms(connection)
            self._count_transitions(connection)

    def _measure_open(self, connection: Connection) -> None:
        query = select(commands.c.state, func.count(), func.min(commands.c.created_us)).where(commands.c.state.in_(OPEN))
        found = {row[0]: (row[1], row[2]) for row in connection.execute(query.group_by(commands.c.state))}
        now_us = self._now_us()
        for state in OPEN:
            count, oldest_us = found.get(state.value, (0, now_us))
            metrics.COMMANDS_OPEN.labels(state.value).set(count)
            metrics.COMMAND_AGE.labels(state.value).set(max(0, now_us - oldest_us) / 1e6)

    def _count_transitions(self, connection: Connection) -> None:
        newest = int(connection.execute(select(func.max(command_history.c.seq))).scalar() or 0)
        if self._seq is not None and newest > self._seq:
            for row in connection.execute(_lines(self._seq, newest)):
                if row.state != row.before:
                    _count(row)
        self._seq = newest


class LossGauges:
    """``measure`` sets the gauges of the loss ledger: one look at the counts of all devices."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def measure(self) -> None:
        """Raises ``StoreError``."""
        found = self._store.fleet_loss(limit=1)
        totals = found.totals
        for name in ("sent", "stored", "duplicate", "conflict", "dropped", "missing", "redelivered"):
            metrics.LEDGER_READINGS.labels(name).set(getattr(totals, name))
        metrics.LEDGER_READINGS.labels("rejected").set(sum(totals.rejected.values()))
        metrics.LEDGER_DEVICES.set(found.devices)
        metrics.LEDGER_INCOMPLETE.set(found.incomplete)
        metrics.LEDGER_UNBALANCED.set(found.unbalanced)
        if found.unbalanced:
            log.error(
                "the loss ledger does not balance; ask /api/v1/loss?only=unbalanced for the devices", devices=found.unbalanced
            )


def _measure_alarms(connection: Connection) -> None:
    query = select(alarms.c.kind, func.count()).where(alarms.c.over_us.is_(None)).group_by(alarms.c.kind)
    found = {row[0]: row[1] for row in connection.execute(query)}
    for kind in Kind:
        metrics.ALARMS_OPEN.labels(kind.value).set(found.get(kind.value, 0))


def _count(row: Any) -> None:
    metrics.COMMAND_TRANSITIONS.labels(row.state).inc()
    if row.state in _ENDS or (row.kind != "switch" and row.state == State.EXECUTED):
        metrics.COMMAND_SECONDS.labels(row.kind, row.state).observe(max(0, row.t_us - row.created_us) / 1e6)


def _lines(after: int, until: int) -> Any:
    """Lines of history with the state before each."""
    earlier = command_history.alias()
    before = (
        select(earlier.c.state)
        .where(earlier.c.command_id == command_history.c.command_id, earlier.c.seq < command_history.c.seq)
        .order_by(earlier.c.seq.desc())
        .limit(1)
        .correlate(command_history)
        .scalar_subquery()
    )
    columns = (command_history.c.state, command_history.c.t_us, commands.c.kind, commands.c.created_us, before.label("before"))
    joined = command_history.join(commands, command_history.c.command_id == commands.c.command_id)
    return select(*columns).select_from(joined).where(command_history.c.seq > after, command_history.c.seq <= until)
