"""Windows and charts on both databases, held against a plain computation over the readings themselves."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simway_flask_app import aggregates
from simway_flask_app.store import charts, windows
from simway_flask_app.store.port import TooMuch
from simway_flask_app.store.questions import Answer, Question
from simway_flask_app.store.schema import readings, rollup_day, rollup_hour, rollup_minute, series, tiers
from simway_flask_app.store.sql import SqlStore, open_store
from simway_testing import postgres_server
from simway_testing.stores import T0_US, UplinkLog, uplink
from sqlalchemy import delete, insert, select, update

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
DAY0_US = T0_US // DAY_US * DAY_US
ALL = "count,sum,avg,min,max,first,last"


class Sender:
    """One device's numbered readings."""

    def __init__(self, log: UplinkLog, device: str) -> None:
        self.device, self._log, self._next = device, log, 1

    def send(self, *rows: tuple[Any, ...]) -> None:
        self._log.store(uplink(self.device, self._next, *rows))
        self._next += len(rows)


@pytest.fixture
def sender(log: UplinkLog, device: str) -> Sender:
    return Sender(log, device)


@pytest.fixture
def kept_for_ever(store: SqlStore) -> Iterator[None]:
    """Nothing is too old for any tier."""
    before = _keep(store, raw=0, minute=0, hour=0, day=0)
    yield
    _keep(store, **before)


def _keep(store: SqlStore, **keep_s: int) -> dict[str, int]:
    with store.transaction() as connection:
        before = {row.tier: row.keep_s for row in connection.execute(select(tiers))}
        for tier, seconds in keep_s.items():
            values = {"keep_s": seconds, "updated_us": 0, "actor": "test"}
            if connection.execute(update(tiers).where(tiers.c.tier == tier).values(**values)).rowcount == 0:
                connection.execute(insert(tiers).values(tier=tier, **values))
    return before


def ask(store: SqlStore, question: Question, window: str, agg: str = ALL, **more: Any) -> Answer:
    asked = aggregates.parse_aggregates(agg)
    return store.windows(question, aggregates.parse_window(window), asked, **({"now_us": T0_US} | more))


def plain(
    rows: list[tuple[int, float]], window_us: int, from_us: int, to_us: int, ranks: tuple[float, ...]
) -> list[dict[str, Any]]:
    """The same answer, computed as a reader of the documentation would."""
    begin, end = from_us // window_us * window_us, -(-to_us // window_us) * window_us
    made = []
    for start in sorted({t // window_us * window_us for t, _ in rows if begin <= t < end}):
        values = [value for t, value in sorted(rows) if start <= t < start + window_us]
        point = {
            "t": start, "count": len(values), "sum": math.fsum(values), "avg": math.fsum(values) / len(values),
            "min": min(values), "max": max(values), "first": values[0], "last": values[-1],
        }  # fmt: skip
        for rank in ranks:
            place = rank / 100 * (len(values) - 1)
            low, high = sorted(values)[math.floor(place)], sorted(values)[math.ceil(place)]
            point[f"p{rank:g}"] = low + (high - low) * (place - math.floor(place))
        made.append(point)
    return made


def same(have: list[dict[str, Any]], want: list[dict[str, Any]]) -> bool:
    return [list(point) for point in have] == [list(point) for point in want] and all(
        one[name] == pytest.approx(other[name], rel=1e-9, abs=1e-6) for one, other in zip(have, want, strict=True) for name in one
    )


NUMBERS = st.one_of(st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(-(10**9), 10**9), st.booleans(), st.just(2**53 + 1))
SPANS_US = st.sampled_from([10 * MINUTE_US, 5 * HOUR_US, 4 * DAY_US])


@st.composite
def cases(draw: Any) -> tuple[list[tuple[int, Any]], int, int, str, tuple[int, ...]]:
    span_us = draw(SPANS_US)
    times = draw(st.lists(st.integers(0, span_us), min_size=1, max_size=40, unique=True))
    rows = [(DAY0_US - span_us // 2 + t, draw(NUMBERS)) for t in times]
    from_us = DAY0_US - span_us // 2 + draw(st.integers(0, span_us))
    to_us = from_us + 1 + draw(st.integers(0, span_us))
    window = draw(st.sampled_from(["7s", "90s", "1m", "5m", "61m", "1h", "6h", "1d", "2d", "7d"]))
    ranks = draw(st.sampled_from([(), (50,), (0, 95, 99.9)]))
    return rows, from_us, to_us, window, ranks


@pytest.mark.usefixtures("kept_for_ever")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_any_window_is_what_a_plain_computation_says(store: SqlStore, log: UplinkLog, case: Any) -> None:
    rows, from_us, to_us, window, ranks = case
    sender = Sender(log, f"w-{next(_numbers)}")
    half = len(rows) // 2
    for part in (rows[half:], rows[:half], rows[: half + 1]):  # late ones and duplicates, too
        if part:
            sender.send(*(("n", t_us, value, "Cel") for t_us, value in part))
    agg = ",".join([*ALL.split(","), *(f"p{rank:g}" for rank in ranks)])
    answer = ask(store, Question(sender.device, ["n"], from_us, to_us), window, agg)
    window_us = aggregates.parse_window(window)
    numbers = [(t_us, float(value)) for t_us, value in rows]
    assert same(answer.series[0].points, plain(numbers, window_us, from_us, to_us, ranks)), answer.tier
    exact = [tier for tier, width_us in windows.WIDTHS_US.items() if window_us % width_us == 0]
    assert answer.tier == ("raw" if ranks or not exact else exact[0])
    assert answer.raw_from_us is None
    assert (answer.from_us, answer.to_us) == (from_us // window_us * window_us, -(-to_us // window_us) * window_us)


_numbers = iter(range(10**9))


@pytest.mark.usefixtures("kept_for_ever")
def test_an_open_range_is_that_of_the_readings(store: SqlStore, sender: Sender) -> None:
    sender.send(("a", DAY0_US + 90 * 1_000_000, 1.0, "V"), ("b", DAY0_US + 10 * MINUTE_US, True))
    answer = ask(store, Question(sender.device), "1m", "avg,count")
    assert (answer.from_us, answer.to_us, answer.tier) == (DAY0_US + MINUTE_US, DAY0_US + 11 * MINUTE_US, "minute")
    assert [(one.sensor, one.unit, one.points) for one in answer.series] == [
        ("a", "V", [{"t": DAY0_US + MINUTE_US, "avg": 1.0, "count": 1}]),
        ("b", None, [{"t": DAY0_US + 10 * MINUTE_US, "avg": 1.0, "count": 1}]),
    ]
    nothing = ask(store, Question(sender.device, ["none"]), "1m")
    assert (nothing.from_us, nothing.series) == (None, [])


@pytest.mark.usefixtures("kept_for_ever")
@pytest.mark.parametrize("window", ["5s", "1h"])
def test_strings_and_objects_have_count_first_and_last(store: SqlStore, sender: Sender, window: str) -> None:
    sender.send(("s", DAY0_US, "open"), ("s", DAY0_US + 1, {"a": [1]}), ("s", DAY0_US + 2, "shut"))
    (one,) = ask(store, Question(sender.device, ["s"]), window, f"{ALL},p50").series
    assert one.points == [
        {
            "t": DAY0_US,
            "count": 3,
            "sum": None,
            "avg": None,
            "min": None,
            "max": None,
            "first": "open",
            "last": "shut",
            "p50": None,
        }
    ]
    sender.send(("s", DAY0_US + 3, 7))
    (one,) = ask(store, Question(sender.device, ["s"]), window, "count,first,last").series
    assert one.points == [{"t": DAY0_US, "count": 1, "first": 7.0, "last": 7.0}]


@pytest.mark.usefixtures("kept_for_ever")
def test_what_retention_took_from_raw_comes_from_rollups_and_percentiles_say_where_they_begin(
    store: SqlStore, sender: Sender
) -> None:
    sender.send(*(("n", DAY0_US + n * 10 * 1_000_000, float(n)) for n in range(60)))  # ten minutes
    with store.transaction() as connection:
        gone = select(series.c.series_id).where(series.c.device == sender.device)
        taken_us = DAY0_US + 4 * MINUTE_US + 30 * 1_000_000
        connection.execute(delete(readings).where(readings.c.series_id.in_(gone), readings.c.t_us < taken_us))
    question = Question(sender.device, ["n"], DAY0_US, DAY0_US + 10 * MINUTE_US)
    answer = ask(store, question, "1m", "avg,p50")
    assert [point["avg"] for point in answer.series[0].points] == [n * 6 + 2.5 for n in range(10)]
    assert [point["p50"] for point in answer.series[0].points] == [None] * 5 + [n * 6 + 2.5 for n in range(5, 10)]
    assert answer.raw_from_us == DAY0_US + 5 * MINUTE_US
    answer = ask(store, question, "30s", "avg")
    assert (answer.tier, answer.raw_from_us) == ("raw", taken_us)
    assert answer.series[0].points[0]["t"] == taken_us
    chart = store.chart(question, 1000, "lttb")
    assert [point["value"] for point in chart.series[0].points][:6] == [0.0, 5.0, 6.0, 11.0, 12.0, 17.0]
    assert [point["value"] for point in chart.series[0].points][-31:] == [float(n) for n in (29, *range(30, 60))]


def test_the_tier_that_reaches_back_is_taken(store: SqlStore, sender: Sender) -> None:
    sender.send(("n", DAY0_US, 1.0))
    question = Question(sender.device, ["n"], DAY0_US, DAY0_US + HOUR_US)
    before = _keep(store, raw=0, minute=60, hour=3600, day=0)
    now_us = DAY0_US + 2 * DAY_US
    try:
        assert ask(store, question, "1h", now_us=now_us).tier == "raw"
        assert ask(store, question, "1d", now_us=now_us).tier == "day"
        _keep(store, raw=1)
        assert ask(store, question, "1h", now_us=now_us).tier == "hour"
    finally:
        _keep(store, **before)


# --- what retention took, and late rows of its time ----------------------------------------------------------------------


@pytest.fixture
def own(url: str, tmp_path: Path) -> Iterator[SqlStore]:
    """A store of its own: what a round of retention takes is gone for every device."""
    store = open_store(f"sqlite:///{tmp_path}/own.db" if url.startswith("sqlite") else postgres_server.database(url))
    store.migrate()
    _keep(store, raw=0, minute=0, hour=0, day=0)
    yield store
    store.close()


NOW_US = DAY0_US + 10 * DAY_US + 5 * HOUR_US
OLD_US = DAY0_US + 6 * HOUR_US


def _shortened_and_lengthened(store: SqlStore, *short: str) -> Sender:
    """Two hours of a reading each ten seconds, long ago, and one of today; then the tiers are short for a round, and long again.

    Afterwards a late row comes for each of the two hours.
    """
    log = UplinkLog(store)
    sender = Sender(log, "late")
    times = [OLD_US + n * 10_000_000 for n in range(720)]
    sender.send(*(("n", t_us, 1.0) for t_us in times), ("n", NOW_US - HOUR_US, 1.0))
    store.set_retention(dict.fromkeys(short, 2 * 86_400), actor="ada", now_us=NOW_US)
    assert store.retention_job(0, stopping=threading.Event(), now_us=lambda: NOW_US).apply() > 0
    store.set_retention(dict.fromkeys(short, 0), actor="ada", now_us=NOW_US)
    sender.send(("n", OLD_US + 5_000_000, 9.0), ("n", OLD_US + HOUR_US + 5_000_000, 9.0))
    return sender


def _counts(answer: Answer) -> list[int]:
    return [point["count"] for point in answer.series[0].points]


OLD = Question("late", ["n"], OLD_US, OLD_US + 2 * HOUR_US)


@pytest.mark.parametrize(("short", "tier"), [(["hour"], "minute"), (["hour", "minute"], "raw"), (["minute", "raw"], "hour")])
def test_a_tier_that_was_short_for_a_while_is_not_asked_about_what_it_lost(own: SqlStore, short: list[str], tier: str) -> None:
    _shortened_and_lengthened(own, *short)
    answer = ask(own, OLD, "1h", "count", now_us=NOW_US)
    assert (answer.tier, _counts(answer), answer.known_from_us) == (tier, [361, 361], None)
    today = ask(own, Question("late", ["n"], NOW_US - 2 * HOUR_US, NOW_US), "1h", "count", now_us=NOW_US)
    assert (today.tier, _counts(today)) == ("hour", [1])


def test_a_raw_tier_that_was_short_for_a_while_does_not_count_a_late_row_as_all(own: SqlStore) -> None:
    _shortened_and_lengthened(own, "raw")
    answer = ask(own, OLD, "90s", "count", now_us=NOW_US)
    assert (answer.tier, _counts(answer)) == ("raw", [])
    assert answer.raw_from_us == answer.known_from_us == OLD.to_us
    open_end = ask(own, Question("late", ["n"], OLD_US, NOW_US), "90s", "count", now_us=NOW_US)
    assert _counts(open_end) == [1]
    assert open_end.known_from_us is not None
    assert OLD.to_us is not None
    assert OLD.to_us < open_end.known_from_us <= NOW_US - HOUR_US
    ranked = ask(own, OLD, "1h", "count,p50", now_us=NOW_US)
    assert [(point["count"], point["p50"]) for point in ranked.series[0].points] == [(361, None)] * 2
    assert ranked.raw_from_us == OLD.to_us
    assert ranked.known_from_us is None


@pytest.mark.parametrize(
    ("short", "window"), [(["minute", "raw"], "1m"), (["hour", "minute", "raw"], "1h"), (["hour", "minute", "raw"], "30m")]
)
def test_windows_that_no_tier_has_any_more_are_left_out_and_announced(own: SqlStore, short: list[str], window: str) -> None:
    _shortened_and_lengthened(own, *short)
    for question in (OLD, OLD._replace(from_us=OLD_US + 30 * MINUTE_US, to_us=OLD_US + HOUR_US)):
        answer = ask(own, question, window, "count", now_us=NOW_US)
        assert (_counts(answer), answer.known_from_us) == ([], answer.to_us)
    answer = ask(own, Question("late", ["n"]), window, "count", now_us=NOW_US)
    assert _counts(answer) == [1]
    window_us = aggregates.parse_window(window)
    assert answer.known_from_us is not None
    assert OLD_US + 2 * HOUR_US < answer.known_from_us <= -(-(NOW_US - 2 * DAY_US) // window_us) * window_us
    assert _counts(ask(own, OLD, "1d", "count", now_us=NOW_US)) == [722]
    for fill in ("zero", "null", "previous", "linear"):
        filled = ask(own, OLD._replace(to_us=NOW_US), window, "count,avg", now_us=NOW_US, fill=fill)
        assert filled.known_from_us is not None
        points = filled.series[0].points
        unknown = [(point["count"], point["avg"]) for point in points if point["t"] < filled.known_from_us]
        assert set(unknown) == {(None, None)}
        assert 0 in {point["count"] for point in points if point["t"] >= filled.known_from_us}


def test_what_no_tier_has_any_more_is_unknown_and_not_zero(own: SqlStore) -> None:
    _shortened_and_lengthened(own, "raw", "minute", "hour", "day")
    answer = ask(own, Question("late", ["n"], OLD_US, NOW_US), "1d", "count", now_us=NOW_US, fill="zero")
    known = [point["t"] for point in answer.series[0].points if point["count"] is not None]
    taken_until_us = DAY0_US + DAY_US
    assert taken_until_us <= known[0] <= NOW_US - DAY_US  # a dropped partition that was empty took nothing: those days are known
    assert [point["count"] for point in answer.series[0].points if point["t"] >= known[0]][-2:] == [0, 1]


def test_windows_of_texts_that_retention_took_are_unknown_and_not_zero(own: SqlStore) -> None:
    sender = Sender(UplinkLog(own), "late")
    sender.send(("door", OLD_US, "open"), ("door", NOW_US - HOUR_US, "shut"))
    own.set_retention({"raw": 2 * 86_400}, actor="ada", now_us=NOW_US)
    assert own.retention_job(0, stopping=threading.Event(), now_us=lambda: NOW_US).apply() > 0
    answer = ask(own, Question("late", ["door"], OLD_US, NOW_US), "1h", "count", now_us=NOW_US, fill="zero")
    counts = _counts(answer)
    assert (counts[0], counts[-1], counts.count(1)) == (None, 1, 1)
    assert 0 in counts


def test_a_chart_shows_what_coarser_tiers_have_behind_a_late_row(own: SqlStore) -> None:
    _shortened_and_lengthened(own, "minute", "raw")
    question = Question("late", ["n"], DAY0_US, NOW_US)
    for points_max in (20_000, 5_000):  # from raw, from minutes
        times = [point["t"] for point in own.chart(question, points_max, "lttb").series[0].points]
        assert times == sorted(set(times))
        assert {OLD_US, OLD_US + HOUR_US - 10_000_000, OLD_US + HOUR_US, OLD_US + 2 * HOUR_US - 10_000_000} <= set(times)


def test_too_many_windows_are_refused_with_one_that_fits(store: SqlStore, sender: Sender) -> None:
    sender.send(("a", DAY0_US, 1.0), ("b", DAY0_US, 1.0))
    question = Question(sender.device, [], DAY0_US, DAY0_US + 30 * DAY_US)
    with pytest.raises(TooMuch, match=r"window=2m would fit of 2 sensors") as caught:
        ask(store, question, "1s")
    assert caught.value.reason == "too_many_windows"
    assert ask(store, question, "2m", now_us=DAY0_US).series
    with pytest.raises(TooMuch):
        ask(store, Question(sender.device, [], -(2**63), -(2**63) + 5), "1d")


def test_too_many_readings_are_refused(store: SqlStore, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sender.send(*(("a", DAY0_US + n, 1.0) for n in range(20)))
    monkeypatch.setattr(windows, "ROWS_MAX", 19)
    question = Question(sender.device, ["a"], DAY0_US, DAY0_US + MINUTE_US)
    with pytest.raises(TooMuch, match="without percentiles") as caught:
        ask(store, question, "5s")
    assert caught.value.reason == "too_many_readings"
    assert ask(store, question, "1m").series[0].points[0]["count"] == 20


# --- charts ------------------------------------------------------------------------------------------------------------


def test_a_chart_of_a_day_comes_from_minutes_and_holds_every_extreme(store: SqlStore, sender: Sender) -> None:
    rows = [(DAY0_US + n * 20 * 1_000_000, math.sin(n / 50) + (9 if n == 1234 else 0)) for n in range(4320)]
    sender.send(*(("n", t_us, value, "Cel") for t_us, value in rows))
    question = Question(sender.device, ["n"], DAY0_US, DAY0_US + DAY_US)
    for reduction in ("lttb", "minmax"):
        answer = store.chart(question, 500, reduction)  # type: ignore[arg-type]
        points = [(point["t"], point["value"]) for point in answer.series[0].points]
        assert (answer.tier, answer.series[0].unit) == ("minute", "Cel")
        assert 100 < len(points) <= 500
        assert set(points) <= set(rows)
        assert points == sorted(points)
        assert max(value for _, value in points) == max(value for _, value in rows)
    assert store.chart(question, 10_000, "lttb").tier == "raw"
    assert len(store.chart(question, 10_000, "lttb").series[0].points) == 4320


def test_a_chart_of_very_many_readings_comes_from_minutes(
    store: SqlStore, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.send(*(("n", DAY0_US + n * 100_000, float(n)) for n in range(600)))
    question = Question(sender.device, ["n"], DAY0_US, DAY0_US + MINUTE_US)
    assert store.chart(question, 100, "lttb").tier == "raw"
    monkeypatch.setattr(charts, "RAW_MAX", 599)
    answer = store.chart(question, 100, "lttb")
    assert (answer.tier, [point["value"] for point in answer.series[0].points]) == ("minute", [0.0, 599.0])


def test_a_chart_of_texts_has_the_last_of_each_pixel(store: SqlStore, sender: Sender) -> None:
    sender.send(*(("s", DAY0_US + n * 1_000_000, f"state {n}") for n in range(100)))
    for span_us in (100 * 1_000_000, 40 * DAY_US):
        (one,) = store.chart(Question(sender.device, ["s"], DAY0_US, DAY0_US + span_us), 10, "minmax").series
        assert len(one.points) <= 10
        assert one.points[-1]["value"] == "state 99"


@pytest.mark.parametrize("table", [rollup_minute, rollup_hour, rollup_day])
def test_older_parts_of_a_chart_come_from_whatever_tier_still_has_them(store: SqlStore, sender: Sender, table: Any) -> None:
    """Raw has the newest, and of the rollups only ``table`` has the rest."""
    rows = [(DAY0_US + n * 600 * 1_000_000, float(n)) for n in range(6 * 48)]
    sender.send(*(("n", t_us, value) for t_us, value in rows))
    with store.transaction() as connection:
        ids = select(series.c.series_id).where(series.c.device == sender.device)
        connection.execute(delete(readings).where(readings.c.series_id.in_(ids), readings.c.t_us < rows[-20][0]))
        for other in {rollup_minute, rollup_hour, rollup_day} - {table}:
            connection.execute(delete(other).where(other.c.series_id.in_(ids)))
    question = Question(sender.device, ["n"], DAY0_US, DAY0_US + 2 * DAY_US)
    points = [(point["t"], point["value"]) for point in store.chart(question, 5000, "lttb").series[0].points]
    assert points == sorted(set(points))
    assert (points[0], points[-1]) == (rows[0], rows[-1])
    assert set(points) <= set(rows)
