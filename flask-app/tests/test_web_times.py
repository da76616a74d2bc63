"""Times of the REST API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.web import cursors
from simway_flask_app.web.problems import Problem
from simway_flask_app.web.times import parse, to_text
from simway_protocol.limits import INT64_MAX, INT64_MIN

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS))
def test_rfc_3339_is_understood(moment: datetime) -> None:
    t_us = (moment - EPOCH) // timedelta(microseconds=1)
    assert parse(moment.isoformat()) == t_us
    assert parse(moment.isoformat().replace("T", "t")) == t_us
    assert parse(to_text(t_us)) == t_us


@given(st.integers(INT64_MIN, INT64_MAX))
def test_microseconds_are_taken_as_they_are_and_always_have_a_text(t_us: int) -> None:
    assert parse(str(t_us)) == t_us
    assert len(to_text(t_us)) == len("2026-01-01T00:00:00.000000Z")


@given(st.text(max_size=40))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        assert INT64_MIN <= parse(text) <= INT64_MAX
    except ValueError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00+24:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "1_0",
        "+5",
        " 5",
        "0x10",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_cursor_gives_back_what_it_was_made_of(position: str) -> None:
    assert cursors.decode(cursors.encode(position)) == position


@given(st.text(max_size=60))
def test_a_cursor_of_somebody_else_is_a_problem(cursor: str) -> None:
    try:
        cursors.decode(cursor)
    except Problem as problem:
        refused = problem.reason
    else:
        return
    assert refused == "bad_cursor"
