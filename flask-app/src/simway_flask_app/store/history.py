"""Readings of the past into the store, whatever their time: an import. They go the way of all readings, in one transaction.

They are counted in an account of their own, epoch ``import``, which no recorder keeps in memory. Beyond raw retention the raw
rows of an import leave the store as others do, and their rollups stay. From then on nobody can tell whether a row of such a day
was counted before: further numbers of that series and day are refused, so that nothing counts twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from simway_protocol.messages import DeadLetter, Uplink
from simway_protocol.readings import Reading
from sqlalchemy import Connection, func, select, text

from simway_flask_app.store import accounts
from simway_flask_app.store.accounts import Account, AccountKey
from simway_flask_app.store.batch import Batch, Outcome
from simway_flask_app.store.engine import Database
from simway_flask_app.store.rollups import DAY_US
from simway_flask_app.store.schema import readings as raw
from simway_flask_app.store.schema import rollup_day
from simway_flask_app.store.series import SeriesCache
from simway_flask_app.store.uplinks import Tables

EPOCH = "import"
"""Of the account; no device's outbox makes such a one."""
READINGS_MAX = 100_000
"""In one call."""
_TIMES_MAX_US = 2**62
"""More than 140,000 years from 1970: nobody asks for what lies beyond, where sums of times leave the range of the columns."""
ROLLED_UP, NO_NUMBER = "raw_is_gone", "not_finite"
_GONE = "the raw readings of this day left the store by retention and are rolled up: whether it was counted cannot be told"


@dataclass(frozen=True, slots=True)
class Bad:
    """A reading that was not stored and is no duplicate: its place among those given, and why."""

    index: int
    reason: str
    detail: str


@dataclass(slots=True)
class Stored(Outcome):
    """What became of an import."""

    bad: list[Bad] = field(default_factory=list)


class HistoryWriter:
    """Writes history. Any number of them may write at once, beside recorders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, device: str, readings: Sequence[Reading], now_us: int) -> Stored:
        """Stores readings of one device, at most ``READINGS_MAX``, or raises and has done nothing.

        The same again is a duplicate. Raises ``StoreUnavailable``: try again (another writer was in the way, or the database is
        away). Conflicts and what the database refuses are dead letters, too; other refusals are only told.
        """
        if len(readings) > READINGS_MAX:
            raise ValueError(f"at most {READINGS_MAX} readings at a time")
        with self._database.write() as connection:
            return self._store(connection, device, readings, now_us)

    def _store(self, connection: Connection, device: str, readings: Sequence[Reading], now_us: int) -> Stored:
        tables = Tables(self._database)
        key, account = self._account(connection, device, now_us)
        first = account.sequence.highest + 1
        refused = dict(_refused(connection, device, readings))
        letters: list[DeadLetter] = []
        uplinks = list(_uplinks(device, readings, refused, first, now_us))
        series = SeriesCache(tables.bulk)
        series.begin(connection, uplinks)
        known: dict[AccountKey, Account] = {key: account}
        batch = Batch(series, known, letters, now_us)
        batch.add(uplinks)
        outcome = tables.write(connection, batch, known, letters, now_us)
        bad = [Bad(index, *why) for index, why in refused.items()]
        bad += [Bad(letter.seq - first, letter.reason, letter.detail) for letter in letters if letter.seq is not None]
        return Stored(
            outcome.readings, outcome.duplicates, outcome.conflicts, outcome.redelivered, outcome.refused + len(refused),
            outcome.letters, sorted(bad, key=lambda one: one.index),
        )  # fmt: skip

    def _account(self, connection: Connection, device: str, now_us: int) -> tuple[AccountKey, Account]:
        """The account, which nobody else changes until the transaction ends."""
        if not self._database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"{EPOCH} {device}"})
        key = (device, EPOCH)
        return key, accounts.load(connection, {key}).get(key) or Account(first_us=now_us)


def _uplinks(
    device: str, readings: Sequence[Reading], refused: Mapping[int, tuple[str, str]], first: int, now_us: int
) -> Iterator[Uplink]:
    """Runs of good readings, and what is refused, in order and numbered from ``first``."""
    begin = 0
    for end in [*sorted(refused), len(readings)]:
        if begin < end:
            yield Uplink(device, EPOCH, now_us, EPOCH, first + begin, list(readings[begin:end]))
        if end in refused:
            yield Uplink(device, EPOCH, now_us, EPOCH, None, [], rejected=[(first + end, first + end, refused[end][0])])
        begin = end + 1


def _refused(connection: Connection, device: str, readings: Sequence[Reading]) -> Iterator[tuple[int, tuple[str, str]]]:
    gone = _gone(connection, device, readings)
    for index, (sensor, t_us, value, _) in enumerate(readings):
        if isinstance(value, float) and not math.isfinite(value):
            yield index, (NO_NUMBER, f"{value} is no number")
        elif (sensor, t_us - t_us % DAY_US) in gone and isinstance(value, int | float):
            yield index, (ROLLED_UP, _GONE)


def _gone(connection: Connection, device: str, readings: Sequence[Reading]) -> set[tuple[str, int]]:
    """Sensors and days with more in their rollup than there are raw readings."""
    if not readings:
        return set()
    sensors = SeriesCache.known(connection, device, {reading.sensor for reading in readings})
    first_us = max(min(reading.t_us for reading in readings), -_TIMES_MAX_US)
    last_us = min(max(reading.t_us for reading in readings), _TIMES_MAX_US)
    held = (
        select(func.count())
        .where(
            raw.c.series_id == rollup_day.c.series_id, raw.c.t_us >= rollup_day.c.bucket_us,
            raw.c.t_us < rollup_day.c.bucket_us + DAY_US, raw.c.num.is_not(None),
        )
        .scalar_subquery()
    )  # fmt: skip
    found: set[tuple[str, int]] = set()
    for sensor, series_id in sensors.items():
        query = select(rollup_day.c.bucket_us).where(
            rollup_day.c.series_id == series_id, rollup_day.c.bucket_us > first_us - DAY_US, rollup_day.c.bucket_us <= last_us,
            rollup_day.c.count > held,
        )  # fmt: skip
        found |= {(sensor, row.bucket_us) for row in connection.execute(query)}
    return found
