"""Times on the command line and in tables. Inside, a time is UTC microseconds since 1970; people see local time or UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from simway_cli.errors import Usage

SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|[smhdwy])")
_DURATION = re.compile(rf"(?:{_PART.pattern}\s*)+")
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
DURATION_WORDS = "a number and a unit, such as 90s, 15m, 1h30m, 7d or 2w"


def duration_us(text: str) -> int:
    """Microseconds of ``1h30m`` and the like; units us, ms, s, m, h, d, w, y (365 d). Raises ``Usage``; 0 is none."""
    if not _DURATION.fullmatch(text.strip()):
        raise Usage(f"{text!r} is no duration", hint=f"Write {DURATION_WORDS}.")
    total = sum(float(number) * _unit_us(unit) for number, unit in _PART.findall(text))
    if not 0 < total < 2**62:
        raise Usage(f"{text!r} is no duration that can be used", hint=f"Write {DURATION_WORDS}.")
    return round(total)


def _unit_us(unit: str) -> int:
    return {"us": 1, "ms": 1000}.get(unit) or _UNITS_S[unit] * SECOND_US


def duration_text(span_us: int) -> str:
    """``90 s``, ``15 min``, ``2.5 h``, ``30 d``: short, with the largest unit that leaves at least one."""
    for unit, size_us in (("d", 86400 * SECOND_US), ("h", 3600 * SECOND_US), ("min", 60 * SECOND_US), ("s", SECOND_US)):
        if abs(span_us) >= size_us:
            return f"{round(span_us / size_us, 1):g} {unit}"
    return f"{round(span_us / 1000, 1):g} ms"


class Times:
    """Reads and shows times. ``zone``: None for this machine's own (TZ, daylight saving and all)."""

    def __init__(self, zone: tzinfo | None, now_us: int) -> None:
        self.zone, self.now_us = zone, now_us

    @property
    def name(self) -> str:
        """For a table's head."""
        return "UTC" if self.zone is UTC else "local"

    def moment_us(self, text: str) -> int:
        """A time that a person typed: RFC 3339, a date and time without an offset (of this zone), ``now``, ``1h ago``, or
        microseconds since 1970. Raises ``Usage``.
        """
        text = text.strip()
        if text == "now":
            return self.now_us
        if text.endswith(" ago") or (text.startswith("-") and not _INTEGER.fullmatch(text)):
            return self.now_us - duration_us(text.removesuffix(" ago").removeprefix("-"))
        if _INTEGER.fullmatch(text) and len(text) > 8:
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = self._here(moment)
            return (moment - _EPOCH) // timedelta(microseconds=1)
        except (ValueError, OverflowError, OSError):
            hint = "Write 2026-01-31T12:00:00Z, '2026-01-31 12:00', 2026-01-31, now, '1h ago', or microseconds since 1970."
            raise Usage(f"{text!r} is no time", hint=hint) from None

    def _here(self, moment: datetime) -> datetime:
        return moment.astimezone() if self.zone is None else moment.replace(tzinfo=self.zone)

    def datetime(self, t_us: int) -> datetime | None:
        """The moment in this zone; None outside the years that a calendar has."""
        try:
            return (_EPOCH + timedelta(microseconds=t_us)).astimezone(self.zone)
        except (OverflowError, OSError, ValueError):
            return None

    def text(self, t_us: int | None) -> str:
        """``2026-11-22 08:41:05.123``, with as many digits as it takes; ``-`` for None, the bare number outside of calendars."""
        if t_us is None:
            return "-"
        moment = self.datetime(t_us)
        if moment is None:
            return f"{t_us} us"
        digits = "microseconds" if moment.microsecond % 1000 else "milliseconds"
        return moment.replace(tzinfo=None).isoformat(" ", digits)

    def short(self, t_us: int | None) -> str:
        """As ``text``, to the second."""
        text = self.text(t_us)
        return text.partition(".")[0]

    def ago(self, t_us: int | None) -> str:
        """``12 s ago``; ``-`` for None."""
        if t_us is None:
            return "-"
        span_us = self.now_us - t_us
        return (
            "now"
            if abs(span_us) < SECOND_US
            else f"{duration_text(span_us)} ago"
            if span_us > 0
            else f"in {duration_text(-span_us)}"
        )

    def today(self) -> date | None:
        """The date of now in this zone."""
        moment = self.datetime(self.now_us)
        return moment.date() if moment else None
