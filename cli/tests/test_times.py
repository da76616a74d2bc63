"""Durations and moments that people type, and how times are shown."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_cli.errors import Usage
from simway_cli.times import Times, duration_text, duration_us

NOW_US = 1_795_338_144_237_396  # 2026-11-22T09:02:24.237396Z
HOUR_US = 3_600_000_000
UTC_TIMES = Times(UTC, NOW_US)
BERLIN = Times(ZoneInfo("Europe/Berlin"), NOW_US)


@pytest.mark.parametrize(
    ("text", "us"),
    [("90s", 90_000_000), ("15m", 900_000_000), ("1h30m", 5_400_000_000), ("1.5h", 5_400_000_000), ("7d", 7 * 24 * HOUR_US),
     ("2w", 14 * 24 * HOUR_US), ("250ms", 250_000), ("1d 12h", 36 * HOUR_US)],
)  # fmt: skip
def test_durations(text: str, us: int) -> None:
    assert duration_us(text) == us


@pytest.mark.parametrize("text", ["", "h", "1", "-1h", "1x", "1h2", "0s", "9" * 30 + "d", "1 h x"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(Usage, match="is no duration"):
        duration_us(text)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2026-11-22T09:02:24.237396Z", NOW_US),
        ("2026-11-22T10:02:24.237396+01:00", NOW_US),
        ("now", NOW_US),
        ("1h ago", NOW_US - HOUR_US),
        ("-1h", NOW_US - HOUR_US),
        (str(NOW_US), NOW_US),
    ],
)
def test_moments_are_the_same_in_every_zone(text: str, us: int) -> None:
    assert UTC_TIMES.moment_us(text) == BERLIN.moment_us(text) == us


def test_a_time_without_offset_is_of_the_zone() -> None:
    assert UTC_TIMES.moment_us("2026-07-01 12:00") - BERLIN.moment_us("2026-07-01 12:00") == 2 * HOUR_US
    assert UTC_TIMES.moment_us("2026-11-22") - BERLIN.moment_us("2026-11-22") == HOUR_US


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:00", "1h", "99999-01-01", "20261"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(Usage, match="is no"):
        UTC_TIMES.moment_us(text)


def test_times_are_shown_in_the_zone() -> None:
    assert UTC_TIMES.text(NOW_US) == "2026-11-22 09:02:24.237396"
    assert BERLIN.text(NOW_US) == "2026-11-22 10:02:24.237396"
    assert UTC_TIMES.text(NOW_US // 1000 * 1000) == "2026-11-22 09:02:24.237"
    assert UTC_TIMES.short(NOW_US) == "2026-11-22 09:02:24"
    assert UTC_TIMES.text(None) == "-"
    assert (UTC_TIMES.name, Times(None, 0).name) == ("UTC", "local")


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (NOW_US, "now"),
        (NOW_US - 12_000_000, "12 s ago"),
        (NOW_US - HOUR_US * 50, "2.1 d ago"),
        (NOW_US + 90_000_000, "in 1.5 min"),
        (None, "-"),
    ],
)
def test_ages(us: int | None, text: str) -> None:
    assert UTC_TIMES.ago(us) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_time_can_be_shown(us: int) -> None:
    assert UTC_TIMES.text(us)
    assert BERLIN.short(us)
    assert UTC_TIMES.ago(us)


@given(st.integers(1_000, 10**15))
def test_a_duration_is_shown_with_a_unit_that_can_be_typed(us: int) -> None:
    typed = duration_text(us).replace("min", "m")
    assert abs(duration_us(typed) - us) <= max(us * 0.06, 100)
