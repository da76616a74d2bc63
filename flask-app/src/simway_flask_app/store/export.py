"""Everything that a range holds, page by page: sensor by sensor, each in order of time. Memory is bounded, reads are short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import select, tuple_

from simway_flask_app.store import scan
from simway_flask_app.store.engine import Database
from simway_flask_app.store.questions import NamedRows
from simway_flask_app.store.scan import RAW
from simway_flask_app.store.schema import series

SERIES_A_PAGE = 5_000


class Exports:
    """The part of the store that gives everything."""

    _database: Database

    def export(
        self, devices: Sequence[str] | None, *, sensors: Sequence[str] = (), from_us: int | None = None, to_us: int | None = None
    ) -> Iterator[NamedRows]:
        """See ``questions.Questions``."""
        after = ("", "")
        while names := self._names(devices, sensors, after):
            for rows in scan.pages(self._database, RAW, list(names), from_us, to_us):
                yield NamedRows(rows, names)
            after = list(names.values())[-1]

    def _names(
        self, devices: Sequence[str] | None, sensors: Sequence[str], after: tuple[str, str]
    ) -> dict[int, tuple[str, str]]:  # fmt: skip
        """The next series behind ``after`` (device and sensor), in the database's order of text."""
        columns = series.c
        query = select(columns.series_id, columns.device, columns.sensor)
        query = query.where(tuple_(columns.device, columns.sensor) > tuple_(*after))
        if devices is not None:
            query = query.where(columns.device.in_(devices))
        if sensors:
            query = query.where(columns.sensor.in_(sensors))
        query = query.order_by(columns.device, columns.sensor).limit(SERIES_A_PAGE)
        with self._database.read() as connection:
            return {row.series_id: (row.device, row.sensor) for row in connection.execute(query)}
