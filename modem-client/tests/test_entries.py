"""What may enter the outbox, and the words in which the rest is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client.entries import ReadingRefused, decode_value, make_entry
from simway_protocol.outcomes import Reason

values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=100),
)


@given(values)
def test_a_value_comes_back_as_it_went_in(value) -> None:
    back = decode_value(make_entry("s", value).value)
    assert (type(back), back) == (type(value), value)


def test_zero_and_false_are_values() -> None:
    assert decode_value(make_entry("s", 0).value) == 0
    assert decode_value(make_entry("s", False).value) is False


def test_a_reading_without_a_time_is_stamped() -> None:
    before = time.time_ns() // 1000
    assert before <= make_entry("s", 1).t_us <= time.time_ns() // 1000


nested: dict = {"a": 1}
for _ in range(10):
    nested = {"a": nested}


@pytest.mark.parametrize(
    ("sensor", "value", "unit", "reason", "words"),
    [
        ("", 1, None, Reason.BAD_SENSOR, "begins with a letter"),
        (7, 1, None, Reason.BAD_SENSOR, "begins with a letter"),
        ("s" * 129, 1, None, Reason.BAD_SENSOR, "1 to 128"),
        ("s", 1, 7, Reason.BAD_UNIT, "printable"),
        ("s", 1, "u" * 33, Reason.BAD_UNIT, "1 to 32"),
        ("s", float("nan"), None, Reason.NOT_FINITE, "failed measurement"),
        ("s", float("-inf"), None, Reason.NOT_FINITE, "failed measurement"),
        ("s", 2**63, None, Reason.OUT_OF_RANGE, "64 bits"),
        ("s", "x" * 999, None, Reason.TOO_LONG, "1000 bytes"),
        ("s", "a\0b", None, Reason.BAD_TEXT, "NUL"),
        ("s", "\ud800", None, Reason.BAD_TEXT, "surrogate"),
        ("s", None, None, Reason.BAD_VALUE, "number"),
        ("s", [1], None, Reason.BAD_VALUE, "number"),
        ("s", {"a": {1: 2}}, None, Reason.BAD_VALUE, "text keys"),
        ("s", nested, None, Reason.TOO_DEEP, "deeper than 8"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(sensor, value, unit, reason, words) -> None:
    with pytest.raises(ReadingRefused) as refused:
        make_entry(sensor, value, unit)
    assert refused.value.reason == reason
    assert words in str(refused.value)


def test_a_value_of_exactly_the_limit_enters() -> None:
    assert len(make_entry("s", "x" * 998).value) == 1_000


def test_a_time_that_senml_would_take_as_relative_is_refused() -> None:
    with pytest.raises(ReadingRefused, match="1978") as refused:
        make_entry("s", 1, t_us=1)
    assert refused.value.reason == Reason.BAD_TIME
