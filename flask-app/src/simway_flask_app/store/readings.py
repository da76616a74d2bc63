"""Questions about readings: ranges by pages, the newest of each sensor, and what of it changed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select, union_all

from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import BadCursor, LatestChange, Order, ReadingsPage, StoredReading
from simway_flask_app.store.schema import latest, readings, series
from simway_flask_app.store.values import value_of

_UNION_MAX = 100
"""With more sensors than this, one sorted scan is asked for instead of one short index scan a sensor."""


class Readings:
    """The part of the store that answers about readings."""

    _database: Database

    def sensors(self, device: str) -> list[str]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            query = select(series.c.sensor).where(series.c.device == device).order_by(series.c.sensor)
            return [row.sensor for row in connection.execute(query)]

    def readings(
        self, device: str, *, sensors: Sequence[str] = (), from_us: int | None = None, to_us: int | None = None,
        limit: int = 1000, cursor: str | None = None, order: Order = "asc",
    ) -> ReadingsPage:  # fmt: skip
        """See ``port.WebStore``."""
        after = None if cursor is None else _decode_cursor(cursor)
        with self._database.read() as connection:
            names = _series_of(connection, device, sensors)
            if not names:
                return ReadingsPage([], None)
            query = _page(list(names), from_us, to_us, limit + 1, after, order)
            rows = connection.execute(query).all()
        found = [_reading(device, names[row.series_id], row) for row in rows[:limit]]
        more = len(rows) > limit
        return ReadingsPage(found, _encode_cursor(rows[limit - 1].t_us, rows[limit - 1].series_id) if more else None)

    def latest(self, device: str) -> list[StoredReading]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            query = _latest().where(series.c.device == device).order_by(series.c.sensor)
            return [_reading(row.device, row.sensor, row) for row in connection.execute(query)]

    def latest_changes(self, since_us: int, *, device: str | None = None, limit: int = 1000) -> list[LatestChange]:
        """See ``port.WebStore``."""
        query = _latest() if device is None else _latest().where(series.c.device == device)
        newer = query.where(latest.c.stored_us > since_us).order_by(latest.c.stored_us, latest.c.series_id).limit(limit)
        with self._database.read() as connection:
            rows = list(connection.execute(newer))
            if len(rows) == limit:  # what one transaction changed is not cut in two
                last_us = rows[-1].stored_us
                whole = list(connection.execute(query.where(latest.c.stored_us == last_us)))
                rows = [row for row in rows if row.stored_us < last_us] + whole
        return [LatestChange(_reading(row.device, row.sensor, row), row.stored_us) for row in rows]


def _series_of(connection: Connection, device: str, sensors: Sequence[str]) -> dict[int, str]:
    query = select(series.c.series_id, series.c.sensor).where(series.c.device == device)
    if sensors:
        query = query.where(series.c.sensor.in_(sensors))
    return {row.series_id: row.sensor for row in connection.execute(query)}


def _page(ids: list[int], from_us: int | None, to_us: int | None, limit: int, after: tuple[int, int] | None, order: Order) -> Any:
    """The first ``limit`` rows of each series by its key, then the first of all of them: never more than needed is read."""
    if len(ids) > _UNION_MAX:
        return _first(select(readings).where(readings.c.series_id.in_(ids), *_within(from_us, to_us, after, order)), limit, order)
    each = [
        _first(select(readings).where(readings.c.series_id == series_id, *_within(from_us, to_us, after, order)), limit, order)
        for series_id in ids
    ]
    if len(each) == 1:
        return each[0]
    merged = union_all(*(select(one.subquery()) for one in each)).subquery()
    directions = [column.asc() if order == "asc" else column.desc() for column in (merged.c.t_us, merged.c.series_id)]
    return select(merged).order_by(*directions).limit(limit)


def _first(query: Any, limit: int, order: Order) -> Any:
    directions = [column.asc() if order == "asc" else column.desc() for column in (readings.c.t_us, readings.c.series_id)]
    return query.order_by(*directions).limit(limit)


def _within(from_us: int | None, to_us: int | None, after: tuple[int, int] | None, order: Order) -> list[ColumnElement[bool]]:
    t_us, series_id = readings.c.t_us, readings.c.series_id
    conditions = [] if from_us is None else [t_us >= from_us]
    conditions += [] if to_us is None else [t_us < to_us]
    if after is not None and order == "asc":
        conditions += [t_us >= after[0], or_(t_us > after[0], and_(t_us == after[0], series_id > after[1]))]
    elif after is not None:
        conditions += [t_us <= after[0], or_(t_us < after[0], and_(t_us == after[0], series_id < after[1]))]
    return conditions


def _latest() -> Any:
    columns = (latest.c.t_us, latest.c.num, latest.c.kind, latest.c.detail, latest.c.unit, latest.c.stored_us)
    joined = latest.join(series, latest.c.series_id == series.c.series_id)
    return select(series.c.device, series.c.sensor, *columns).select_from(joined)


def _reading(device: str, sensor: str, row: Any) -> StoredReading:
    return StoredReading(device, sensor, row.t_us, value_of(row.num, row.kind, row.detail), row.unit)


def _encode_cursor(t_us: int, series_id: int) -> str:
    return base64.urlsafe_b64encode(f"{t_us}.{series_id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[int, int]:
    try:
        t_us, series_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).split(b".")
        return _int64(t_us), _int64(series_id)
    except (ValueError, binascii.Error) as error:
        raise BadCursor("the cursor is not one that this store gave") from error


def _int64(text: bytes) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError("too large")
    return number
