"""The partitions of ``readings`` on PostgreSQL: one a day (UTC), made ahead, dropped whole when they are too old.

``readings_before`` takes what is older than the first day, ``readings_default`` what no other takes: days whose partition is gone
or not yet made. Both are thinned row by row. To make or drop a partition takes a lock that waits for whoever reads the table, and
makes everybody after it wait, too: so it waits for no longer than ``LOCK_WAIT``, gives up, and is tried again later.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, text

from simway_flask_app.store import tiers
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.store.rollups import DAY_US

log = structlog.get_logger()

BEFORE, DEFAULT = "readings_before", "readings_default"
DAYS_AHEAD = 7
"""So long may every recorder be down without a row going to ``readings_default``."""
DAYS_BACK_MAX = 31
"""How far back days are made for late readings, where these are kept so long."""
LOCK_WAIT = "1s"
_MAINTENANCE_KEY = 0x53494D58
_COLUMNS = "series_id, t_us, num, kind, detail, unit"
_BOUND = re.compile(r"FROM \((?:'?(-?\d+)'?|MINVALUE)\) TO \('?(-?\d+)'?\)")
_LIST = text(
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'readings'::regclass"
)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition with ``from_us <= t_us < to_us``; ``from_us`` None: from the beginning of time."""

    name: str
    from_us: int | None
    to_us: int


@contextmanager
def maintaining(database: Database) -> Iterator[bool]:
    """True for one caller at a time of all processes: it may change partitions and thin tables. On SQLite always true."""
    if database.is_sqlite:
        yield True
        return
    with database.read() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        if not alone.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _MAINTENANCE_KEY}).scalar():
            yield False
            return
        try:
            yield True
        finally:
            alone.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MAINTENANCE_KEY})


def partitions_of(connection: Connection) -> list[Partition]:
    """All but ``readings_default``, the oldest first."""
    found = []
    for name, bound in connection.execute(_LIST):
        match = _BOUND.search(bound)
        if match:
            found.append(Partition(name, None if match[1] is None else int(match[1]), int(match[2])))
    return sorted(found, key=lambda partition: partition.to_us)


def prepare(database: Database, now_us: int, keep_us: int) -> list[str]:
    """Makes the partitions of the days from ``keep_us`` ago (0: any time) to a week ahead that are missing; gives their names.

    Rows of such a day that went to ``readings_default`` move into it. A table that is in use too long is left for the next time.
    """
    back_us = min(keep_us or DAYS_BACK_MAX * DAY_US, DAYS_BACK_MAX * DAY_US)
    first_us, last_us = _day(now_us - back_us), _day(now_us) + DAYS_AHEAD * DAY_US
    with database.read() as connection:
        there = partitions_of(connection)
    made = []
    for from_us in range(first_us, last_us + 1, DAY_US):
        if any((one.from_us is None or one.from_us < from_us + DAY_US) and from_us < one.to_us for one in there):
            continue
        try:
            with database.write() as connection:
                made.append(_make(connection, from_us))
        except StoreUnavailable as error:
            log.warning("a partition could not be made this time", partition=_name(from_us), detail=str(error))
            break
    return made


def drop_expired(database: Database, before_us: int) -> tuple[int, list[str]]:
    """Drops the partitions that hold nothing from ``before_us`` on: how many went, and the names of those that are in use.

    ``readings_before`` stays, emptied: late rows of its time have to go somewhere.
    """
    with database.read() as connection:
        expired = [one for one in partitions_of(connection) if one.to_us <= before_us and _is_due(connection, one)]
    dropped, in_use = 0, []
    for partition in expired:
        verb = "TRUNCATE" if partition.name == BEFORE else "DROP TABLE"
        try:
            with database.write() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
                if _has_rows(connection, partition.name):
                    tiers.note_gone(connection, "raw", partition.to_us)
                connection.exec_driver_sql(f"{verb} {partition.name}")
        except StoreUnavailable as error:
            log.warning("a partition that is too old is in use; tried again later", partition=partition.name, detail=str(error))
            in_use.append(partition.name)
            continue
        dropped += 1
    if dropped:
        log.info("partitions beyond retention are gone", partitions=dropped)
    return dropped, in_use


def _is_due(connection: Connection, partition: Partition) -> bool:
    return partition.name != BEFORE or _has_rows(connection, BEFORE)


def _has_rows(connection: Connection, table: str) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {table})").scalar())


def _make(connection: Connection, from_us: int) -> str:
    name, to_us = _name(from_us), from_us + DAY_US
    execute = connection.exec_driver_sql
    execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    execute(f"CREATE TABLE {name} (LIKE readings)")
    execute(f"LOCK TABLE {DEFAULT} IN ACCESS EXCLUSIVE MODE")
    execute(
        f"WITH moved AS (DELETE FROM {DEFAULT} WHERE t_us >= {from_us} AND t_us < {to_us} RETURNING {_COLUMNS}) "
        f"INSERT INTO {name} ({_COLUMNS}) SELECT {_COLUMNS} FROM moved"
    )
    execute(f"ALTER TABLE readings ATTACH PARTITION {name} FOR VALUES FROM ({from_us}) TO ({to_us})")
    return name


def _day(t_us: int) -> int:
    return t_us - t_us % DAY_US


def _name(from_us: int) -> str:
    return f"readings_p{datetime.datetime.fromtimestamp(from_us // 1_000_000, datetime.UTC):%Y%m%d}"
