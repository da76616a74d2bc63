"""Charts: few points of each series, from raw readings where the range is short, else from what rollups keep of each window.

A rollup has the lowest and the highest reading of each window with their times, so every extreme is among the points. LTTB is
asked of first, lowest, highest and last of each window instead of all readings (MinMaxLTTB; Van Der Donckt et al., 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import func, select

from simway_flask_app import downsampling
from simway_flask_app.store import scan
from simway_flask_app.store.engine import Database
from simway_flask_app.store.questions import Answer, Question, Reduction, SeriesPoints, Tier
from simway_flask_app.store.scan import RAW
from simway_flask_app.store.schema import rollup_hour, rollup_minute
from simway_flask_app.store.values import value_of
from simway_flask_app.store.windows import (
    ROWS_MAX,
    WIDTHS_US,
    Budget,
    Rollup,
    Series,
    gone_us,
    retention_of,
    rollups,
    series_of,
    span_of,
    widened,
)

RAW_MAX = 250_000
"""With more raw readings than this a chart is drawn from minutes."""
_FINEST_FIRST: tuple[Tier, ...] = ("raw", "minute", "hour", "day")
_Point: TypeAlias = tuple[int, float]


class Charts:
    """The part of the store that answers about charts."""

    _database: Database

    def chart(self, question: Question, points_max: int, reduction: Reduction) -> Answer:
        """See ``questions.Questions``."""
        with self._database.read() as connection:
            found = series_of(connection, question)
            span = span_of(connection, question, found)
        if span is None:
            return Answer(None, "raw", None, None, [SeriesPoints(one.sensor, one.unit, []) for one in found])
        tier = _tier_for(span[1] - span[0], points_max, reduction)
        if tier == "raw" and self._many(found, span):
            tier = "minute"
        width_us = WIDTHS_US.get(tier, 1)
        from_us, to_us = widened(*span, width_us)
        chart = _Chart(self._database, tier, from_us, to_us, points_max, reduction)
        return Answer(None, tier, from_us, to_us, [SeriesPoints(one.sensor, one.unit, chart.points(one)) for one in found])

    def _many(self, found: Sequence[Series], span: tuple[int, int]) -> bool:
        """Whether rollups count more readings in the range than are read one by one."""
        with self._database.read() as connection:
            table = rollup_minute if span[1] - span[0] < WIDTHS_US["day"] else rollup_hour
            within = table.c.bucket_us.between(span[0], span[1])
            query = select(func.sum(table.c.count)).where(table.c.series_id.in_([one.series_id for one in found]), within)
            return (connection.execute(query).scalar() or 0) > RAW_MAX


def _tier_for(span_us: int, points_max: int, reduction: Reduction) -> Tier:
    """The coarsest whose windows are no wider than a pixel: no point is lost that the eye would see."""
    pixel_us = downsampling.bucket_us(span_us, points_max) if reduction == "minmax" else span_us // points_max
    return next((tier for tier, width_us in WIDTHS_US.items() if width_us <= pixel_us), "raw")


class _Chart:
    """Draws one series after the other."""

    def __init__(
        self, database: Database, tier: Tier, from_us: int, to_us: int, points_max: int, reduction: Reduction
    ) -> None:  # fmt: skip
        self._database, self._tier, self._from_us, self._to_us = database, tier, from_us, to_us
        self._points_max, self._reduction = points_max, reduction
        self._budget = Budget(ROWS_MAX)

    def points(self, one: Series) -> list[dict[str, Any]]:
        """The points of a series: of its numbers if there is any, else of its strings and objects."""
        numbers, texts = self._numbers(one)
        if not numbers:
            return [{"t": t_us, "value": value_of(None, kind, detail)} for t_us, kind, detail in self._thinned(texts)]
        times, values = [point[0] for point in numbers], [point[1] for point in numbers]
        if len(times) <= self._points_max:
            places: Sequence[int] = range(len(times))
        elif self._reduction == "lttb":
            places = downsampling.lttb(times, values, self._points_max)
        else:
            places = downsampling.extremes(times, values, self._pixel_us())
        return [{"t": times[place], "value": values[place]} for place in places]

    def _pixel_us(self) -> int:
        return downsampling.bucket_us(self._to_us - self._from_us, self._points_max, WIDTHS_US.get(self._tier, 1))

    def _numbers(self, one: Series) -> tuple[list[_Point], list[tuple[int, int, str]]]:
        """The numbers that stand for the series, in order of time; without any, its strings and objects."""
        numbers: list[_Point] = []
        texts: list[tuple[int, int, str]] = []
        if self._tier == "raw":
            numbers, texts = self._raw(one)
            gone_before_us = self._gone_us("raw")
            oldest_us = next((t_us for t_us, _ in numbers if t_us >= gone_before_us), self._to_us)
        else:
            rows = self._rollups(one, self._tier, self._to_us)
            numbers, oldest_us = _candidates(rows), rows[0].first_us if rows else self._to_us
        coarser = _FINEST_FIRST[_FINEST_FIRST.index(self._tier) + 1 :]
        for tier in coarser:
            older = [row for row in self._rollups(one, tier, oldest_us) if row.first_us < oldest_us]
            if older:
                until_us = older[-1].bucket_us + WIDTHS_US[tier]
                begun = [point for point in _candidates(older) if point[0] < self._to_us]
                numbers = begun + [point for point in numbers if point[0] >= until_us]
                oldest_us = older[0].first_us
        if not numbers and self._tier != "raw":
            numbers, texts = self._raw(one)
        return numbers, texts

    def _rollups(self, one: Series, tier: Tier, to_us: int) -> list[Rollup]:
        """Windows that lie whole behind the begin of the range and of what retention has taken from the tier."""
        width_us = WIDTHS_US[tier]
        rows = rollups(self._database, tier, one.series_id, -(-self._from_us // width_us) * width_us, to_us, self._budget)
        gone_before_us = self._gone_us(tier)
        return [row for row in rows if row.bucket_us >= gone_before_us]

    def _gone_us(self, tier: Tier) -> int:
        """Asked after the rows, so that what went meanwhile is known to be gone."""
        with self._database.read() as connection:
            return gone_us(retention_of(connection), tier)

    def _raw(self, one: Series) -> tuple[list[_Point], list[tuple[int, int, str]]]:
        numbers: list[_Point] = []
        texts: list[tuple[int, int, str]] = []
        pages = scan.pages(self._database, RAW, [one.series_id], self._from_us, self._to_us)
        for _, t_us, num, kind, detail, _ in self._budget.rows(pages):
            if num is not None:
                numbers.append((t_us, num))
            elif not numbers:
                texts.append((t_us, kind, detail))
        return numbers, texts

    def _thinned(self, texts: Sequence[tuple[int, int, str]]) -> Iterable[tuple[int, int, str]]:
        if len(texts) <= self._points_max:
            return texts
        return _last_of_each(texts, self._from_us, -(-(self._to_us - self._from_us) // self._points_max))


def _last_of_each(texts: Sequence[tuple[int, int, str]], from_us: int, pixel_us: int) -> Iterator[tuple[int, int, str]]:
    before = texts[0]
    for text in texts[1:]:
        if (text[0] - from_us) // pixel_us != (before[0] - from_us) // pixel_us:
            yield before
        before = text
    yield before


def _candidates(rows: Iterable[Rollup]) -> list[_Point]:
    """First, lowest, highest and last reading of each window, each once, in order of time."""
    points: list[_Point] = []
    for row in rows:
        points += sorted({(row.first_us, row.first), (row.min_us, row.min), (row.max_us, row.max), (row.last_us, row.last)})
    return points
