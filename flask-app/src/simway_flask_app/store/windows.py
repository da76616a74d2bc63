"""Windows and charts at query time, each from the coarsest tier that is exact for what is asked.

Rollups hold numbers (booleans as 0 and 1). A window of whole minutes, hours or days comes from them; percentiles, other windows,
strings and objects come from raw readings. A percentile is told only where raw still has every reading that the rollup counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeVar, cast

from simway_protocol.limits import INT64_MAX, INT64_MIN
from simway_protocol.readings import Value
from sqlalchemy import Connection, Table, select

from simway_flask_app import aggregates
from simway_flask_app.aggregates import DAY_US, HOUR_US, MINUTE_US, Asked, Summary
from simway_flask_app.store import scan
from simway_flask_app.store.bulk import WINDOW_COLUMNS
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import TooMuch
from simway_flask_app.store.questions import Answer, Fill, Question, SeriesPoints, Tier
from simway_flask_app.store.scan import RAW, Source
from simway_flask_app.store.schema import latest, readings, rollup_day, rollup_hour, rollup_minute, series, tiers
from simway_flask_app.store.values import value_of

T = TypeVar("T")
WINDOWS_MAX = 50_000
"""Windows in one answer, those of all its series together."""
ROWS_MAX = 1_000_000
"""Rows that one answer may read."""
_RAW: Tier = "raw"
_S_US = 1_000_000
WIDTHS_US: dict[Tier, int] = {"day": DAY_US, "hour": HOUR_US, "minute": MINUTE_US}
"""Of the rollups, the coarsest first."""
SOURCES: dict[Tier, Source] = {tier: Source(f"rollup_{tier}", WINDOW_COLUMNS, "bucket_us") for tier in WIDTHS_US} | {"raw": RAW}
_ROLLUPS: dict[Tier, Table] = {"day": rollup_day, "hour": rollup_hour, "minute": rollup_minute}


class Rollup(NamedTuple):
    """A row of a rollup; ``number``: of its readings."""

    series_id: int
    bucket_us: int
    number: int
    sum: float
    min: float
    min_us: int
    max: float
    max_us: int
    first: float
    first_us: int
    last: float
    last_us: int


@dataclass(frozen=True, slots=True)
class Series:
    """A series that is asked for. ``unit`` and ``newest_us``: of its newest reading."""

    series_id: int
    sensor: str
    unit: str | None
    newest_us: int | None


@dataclass(slots=True)
class Budget:
    """How many rows an answer may still read."""

    left: int

    def rows(self, pages: Iterable[Sequence[T]]) -> Iterator[T]:
        """The rows of these pages, one by one. Raises ``TooMuch`` when the budget is used up."""
        for page in pages:
            self.left -= len(page)
            if self.left < 0:
                raise TooMuch(
                    "too_many_readings",
                    f"more than {ROWS_MAX:,} rows would have to be read: ask for a shorter range or fewer sensors, or for a "
                    "window of whole minutes, hours or days without percentiles, which rollups answer",
                )
            yield from page


class Windows:
    """The part of the store that answers about windows."""

    _database: Database

    def windows(self, question: Question, window_us: int, asked: Asked, *, fill: Fill = "none", now_us: int) -> Answer:
        """See ``questions.Questions``."""
        with self._database.read() as connection:
            found = series_of(connection, question)
            span = span_of(connection, question, found)
            kept = retention_of(connection)
        if span is None:
            return Answer(window_us, "raw", None, None, [SeriesPoints(one.sensor, one.unit, []) for one in found])
        from_us, to_us = widened(*span, window_us)
        _check_count(len(found), from_us, to_us, window_us)
        tier = _tier_for(window_us, kept, from_us, now_us)
        reader = _Reader(self._database, tier, window_us, asked, Budget(ROWS_MAX))
        made = []
        for one in found:
            points = aggregates.points(reader.read(one, from_us, to_us), asked)
            if fill != "none":
                points = aggregates.filled(points, asked, from_us, to_us, window_us, fill, reader.unknown_before_us)
            made.append(SeriesPoints(one.sensor, one.unit, points))
        return Answer(window_us, "raw" if asked.ranks else tier, from_us, to_us, made, reader.raw_from_us, reader.known_from_us)


class _Reader:
    """Reads the windows of one series after the other."""

    def __init__(self, database: Database, tier: Tier, window_us: int, asked: Asked, budget: Budget) -> None:
        self.raw_from_us: int | None = None
        self.known_from_us: int | None = None
        self.unknown_before_us = INT64_MIN
        """Of the series that was read last: a window without readings that begins earlier may have had some."""
        self._database, self._tier, self._window_us, self._ranks, self._budget = database, tier, window_us, asked.ranks, budget

    def read(self, one: Series, from_us: int, to_us: int) -> list[Summary]:
        """The windows of a series that hold readings, none of which retention has taken in part."""
        rolled = [] if self._tier == _RAW else self._rolled(one, from_us, to_us)
        raw = self._raw(one, from_us, to_us) if self._ranks or not rolled else []
        with self._database.read() as connection:  # after the rows: what went meanwhile is known to be gone
            kept = retention_of(connection)
        tier = self._tier if rolled else _RAW
        gone_before_us = gone_us(kept, tier)
        windows = [window for window in rolled or raw if window.start_us >= gone_before_us]
        if self._ranks and rolled:
            windows = self._ranked(windows, raw, gone_us(kept, _RAW))
        of_texts = bool(windows) and windows[0].total is None
        nowhere_us = gone_before_us if of_texts else min(gone_before_us, gone_us(kept, "day"))
        self.unknown_before_us = -(-nowhere_us // self._window_us) * self._window_us
        self._note_taken(one, tier, windows[0].start_us if windows else to_us, from_us, gone_before_us)
        return windows

    def _rolled(self, one: Series, from_us: int, to_us: int) -> list[Summary]:
        found = rollups(self._database, self._tier, one.series_id, from_us, to_us, self._budget)
        windows = [Summary(row.bucket_us, row.number, row.sum, row.min, row.max, row.first, row.last) for row in found]
        if WIDTHS_US[self._tier] == self._window_us:
            return windows
        groups = groupby(windows, lambda window: window.start_us - window.start_us % self._window_us)
        return [aggregates.joined(start_us, list(group)) for start_us, group in groups]

    def _ranked(self, rolled: Sequence[Summary], raw: Sequence[Summary], raw_gone_us: int) -> list[Summary]:
        """Rollups were read first: where raw has as many readings or, being newer, more, it is whole."""
        whole = {window.start_us: window for window in raw}
        merged = []
        for window in rolled:
            other = whole.pop(window.start_us, None)
            if other is not None and other.total is not None and other.number >= window.number:
                merged.append(other)
            else:
                merged.append(window)
                self._raw_from(window.start_us + self._window_us)
        newer = (window for window in whole.values() if window.total is not None and window.start_us >= raw_gone_us)
        return sorted([*merged, *newer])

    def _raw(self, one: Series, from_us: int, to_us: int) -> list[Summary]:
        """From raw readings: of its numbers if there is any, else of strings and objects."""
        numbers: list[Summary] = []
        texts: list[Summary] = []
        for start_us, rows in aggregates.grouped(self._raw_rows(one, from_us, to_us), self._window_us):
            values = [row[2] for row in rows if row[2] is not None]
            if values:
                numbers.append(aggregates.of_numbers(start_us, values, self._ranks))
            elif not numbers:
                texts.append(Summary(start_us, len(rows), None, None, None, _value(rows[0]), _value(rows[-1])))
        return numbers or texts

    def _raw_rows(self, one: Series, from_us: int, to_us: int) -> Iterator[tuple[int, Any]]:
        pages = scan.pages(self._database, RAW, [one.series_id], from_us, to_us)
        return ((row[1], row) for row in self._budget.rows(pages))

    def _note_taken(self, one: Series, tier: Tier, oldest_us: int, from_us: int, gone_before_us: int) -> None:
        """Notes from when the windows are known, where a coarser tier knows of readings before the oldest of them."""
        whole_us = (
            min(oldest_us, -(-gone_before_us // self._window_us) * self._window_us) if gone_before_us > from_us else oldest_us
        )
        if whole_us <= from_us or (tier != _RAW and gone_before_us <= from_us):
            return
        with self._database.read() as connection:
            for coarser, table in _ROLLUPS.items():
                if coarser == tier:
                    return
                since_us = max(INT64_MIN, from_us - WIDTHS_US[coarser] + 1) if gone_before_us > from_us else from_us
                until = table.c.first_us < whole_us if gone_before_us > from_us else table.c.last_us < whole_us
                older = select(table.c.bucket_us).where(
                    table.c.series_id == one.series_id, table.c.bucket_us >= since_us, table.c.bucket_us < whole_us,
                    table.c.last_us >= from_us, until,
                )  # fmt: skip
                if connection.execute(older.limit(1)).first() is not None:
                    self.known_from_us = max(whole_us, self.known_from_us or whole_us)
                    self.unknown_before_us = max(whole_us, self.unknown_before_us)
                    if tier == _RAW:
                        self._raw_from(whole_us)
                    return

    def _raw_from(self, t_us: int) -> None:
        self.raw_from_us = t_us if self.raw_from_us is None else max(self.raw_from_us, t_us)


def _value(row: Any) -> Value:
    return value_of(row[2], row[3], row[4])


def rollups(database: Database, tier: Tier, series_id: int, from_us: int, to_us: int, budget: Budget) -> list[Rollup]:
    """The rows of a rollup that begin in the range, in order."""
    return [Rollup._make(row) for row in budget.rows(scan.pages(database, SOURCES[tier], [series_id], from_us, to_us))]


# --- what is asked -----------------------------------------------------------------------------------------------------


def series_of(connection: Connection, question: Question) -> list[Series]:
    """The series asked for, by sensor; names that the device never sent are left out."""
    columns = (series.c.series_id, series.c.sensor, latest.c.unit, latest.c.t_us)
    joined = series.outerjoin(latest, latest.c.series_id == series.c.series_id)
    query = select(*columns).select_from(joined).where(series.c.device == question.device).order_by(series.c.sensor)
    if question.sensors:
        query = query.where(series.c.sensor.in_(question.sensors))
    return [Series(row.series_id, row.sensor, row.unit, row.t_us) for row in connection.execute(query)]


def span_of(connection: Connection, question: Question, found: Sequence[Series]) -> tuple[int, int] | None:
    """The range asked for, an open end being that of the readings; None where there are none."""
    from_us, to_us = question.from_us, question.to_us
    if to_us is None:
        newest = [one.newest_us for one in found if one.newest_us is not None]
        to_us = max(newest) + 1 if newest else None
    if from_us is None:
        from_us = _oldest_us(connection, [one.series_id for one in found])
    if from_us is None or to_us is None or from_us >= to_us:
        return None
    return from_us, to_us


def _oldest_us(connection: Connection, ids: Sequence[int]) -> int | None:
    if not ids:
        return None
    times = [(readings.c.series_id, readings.c.t_us), *((table.c.series_id, table.c.first_us) for table in _ROLLUPS.values())]
    oldest = [
        connection.execute(select(time).where(key == one).order_by(list(key.table.primary_key)[1]).limit(1)).scalar()
        for one in ids
        for key, time in times
    ]
    return min((t_us for t_us in oldest if t_us is not None), default=None)


class Kept(NamedTuple):
    """How long a tier is kept, seconds (0: for ever), and before when retention has taken what it held."""

    keep_s: int
    gone_before_us: int


_EVERYTHING = Kept(0, INT64_MIN)


def retention_of(connection: Connection) -> dict[Tier, Kept]:
    """What is kept of each tier, and what is gone."""
    query = select(tiers.c.tier, tiers.c.keep_s, tiers.c.gone_before_us)
    return {cast(Tier, row.tier): Kept(row.keep_s, row.gone_before_us) for row in connection.execute(query)}


def widened(from_us: int, to_us: int, window_us: int) -> tuple[int, int]:
    """The range as whole windows. Raises ``TooMuch`` where that is beyond all times."""
    begin_us, end_us = from_us - from_us % window_us, -(-to_us // window_us) * window_us
    if begin_us < INT64_MIN or end_us > INT64_MAX:
        raise TooMuch("too_many_windows", "the range reaches beyond the times that there are: ask for a shorter one")
    return begin_us, end_us


def _check_count(series_count: int, from_us: int, to_us: int, window_us: int) -> None:
    count = (to_us - from_us) // window_us * series_count
    if count <= WINDOWS_MAX:
        return
    each = max(1, WINDOWS_MAX // series_count - 1)
    fits = aggregates.window_text(aggregates.nice_window_us(-(-(to_us - from_us) // each)))
    fewer = "" if series_count == 1 else f" of {series_count} sensors; fewer sensors do too"
    raise TooMuch(
        "too_many_windows",
        f"the range holds {count:,} windows of {aggregates.window_text(window_us)}, and an answer at most {WINDOWS_MAX:,}. "
        f"window={fits} would fit{fewer}",
    )


def _tier_for(window_us: int, kept: Mapping[Tier, Kept], from_us: int, now_us: int) -> Tier:
    """The coarsest tier that is exact and reaches back to ``from_us``; where none does, the one that reaches farthest."""
    exact: list[Tier] = [tier for tier, width_us in WIDTHS_US.items() if window_us % width_us == 0]
    reach = {tier: reach_us(kept, tier, now_us) for tier in (*exact, _RAW)}
    return next((tier for tier, oldest_us in reach.items() if oldest_us <= from_us), min(reach, key=lambda tier: reach[tier]))


def reach_us(kept: Mapping[Tier, Kept], tier: Tier, now_us: int) -> int:
    """The time that a tier reaches back to: what is older is no longer kept, or was not for a while and is gone."""
    one = kept.get(tier, _EVERYTHING)
    return max(now_us - one.keep_s * _S_US, one.gone_before_us) if one.keep_s else one.gone_before_us


def gone_us(kept: Mapping[Tier, Kept], tier: Tier) -> int:
    """Retention has taken what the tier held before this; what came there since is not all."""
    return kept.get(tier, _EVERYTHING).gone_before_us
