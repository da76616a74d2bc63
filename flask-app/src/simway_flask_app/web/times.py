"""Times of the REST API: in as RFC 3339 or epoch microseconds, out as both."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from simway_protocol.limits import INT64_MAX, INT64_MIN

from simway_flask_app.web.problems import FieldError, Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)  # RFC 3339, 5.6; a blank for T is its own allowance
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)


def to_text(t_us: int) -> str:
    """RFC 3339 with microseconds and Z. Times outside the years 1 to 9999 are cut to them."""
    try:
        moment = _EPOCH + timedelta(microseconds=t_us)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC) if t_us > 0 else datetime.min.replace(tzinfo=UTC)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def parse(text: str) -> int:
    """UTC microseconds of RFC 3339 text or of an integer that is them already. ``ValueError`` for anything else.

    Digits beyond microseconds are cut off; a leap second counts as the second after it.
    """
    if _INTEGER.fullmatch(text):
        t_us = int(text)
        if not INT64_MIN <= t_us <= INT64_MAX:
            raise ValueError("out of range")
        return t_us
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("neither RFC 3339 with an offset, like 2026-01-31T12:00:00Z, nor microseconds since 1970")
    day, minute, second, fraction, sign, offset_h, offset_min = found.groups()
    if int(second) > 60 or (sign and (int(offset_h) > 23 or int(offset_min) > 59)):
        raise ValueError("no such time")
    moment = datetime.fromisoformat(f"{day}T{minute}:00+00:00")
    offset_s = (int(offset_h) * 3600 + int(offset_min) * 60) * (1 if sign == "+" else -1) if sign else 0
    return (moment - _EPOCH) // _US + (int(second) - offset_s) * 1_000_000 + int((fraction or "0")[:6].ljust(6, "0"))


def parse_parameter(name: str, text: str | None) -> int | None:
    """A query parameter's time; a 422 ``Problem`` that names it when it is none. '+' that came as a blank is put right."""
    if text is None:
        return None
    try:
        return parse(re.sub(r"(?<=\d) (?=\d\d:\d\d$)", "+", text) if text.count(":") > 2 else text)
    except ValueError as error:
        raise Problem(422, "bad_time", f"{name} is not a time.", errors=[FieldError(f"query.{name}", str(error))]) from error


def check_range(from_us: int | None, to_us: int | None) -> None:
    """Raises a 422 ``Problem`` when the range ends before it begins; one that is empty is an answer without readings."""
    if from_us is not None and to_us is not None and from_us > to_us:
        raise Problem(
            422, "bad_range", "from is later than to: there is no such time.",
            errors=[FieldError("query.from", f"{to_text(from_us)} is later than {to_text(to_us)}")],
        )  # fmt: skip
