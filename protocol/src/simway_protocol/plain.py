"""The plain form of readings: ``{"sensor_id": ..., "timestamp": ..., "value": ...}`` in JSON, or an array of it.

``unit`` may be given too. ``timestamp`` is a number whose unit is told by its size, or text: the same number, or RFC 3339.
An absent timestamp means "received at". Other fields are read past.

| size of the number | unit | covers |
|---|---|---|
| below 1e11 | s | to the year 5138 |
| below 1e14 | ms | 1973 to 5138 |
| below 1e17 | us | 1973 to 5138 |
| below 1e20 | ns, cut to microseconds toward the past | 1973 to 5138 |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from typing import Any

from simway_protocol.errors import PeerError
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Refusal, refuse_reading
from simway_protocol.senml import parse_json

_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW, _NANOSECONDS_BELOW = 10**11, 10**14, 10**17, 10**20
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?\Z")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,30}))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def decode_plain(data: bytes, now_us: int) -> list[Reading | Refusal]:
    """The readings in ``data``, one entry an object, in order; ``PeerError`` (``bad_json``) when it is no object or array."""
    items = parse_json(data, "bad_json")
    if type(items) is dict:
        items = [items]
    if type(items) is not list:
        raise PeerError("bad_json", "neither an object nor an array of objects")
    return [resolve_plain(item, now_us) for item in items]


def resolve_plain(item: Any, now_us: int) -> Reading | Refusal:
    """One parsed object as a reading, or the refusal with its reason. Never raises, whatever ``item`` is."""
    if type(item) is not dict:
        return Refusal(Reason.BAD_VALUE, "not an object", item)
    missing = [name for name in ("sensor_id", "value") if name not in item]
    if missing:
        return Refusal(Reason.BAD_SENSOR if missing[0] == "sensor_id" else Reason.BAD_VALUE, f"no {missing[0]}", item)
    timestamp = item.get("timestamp")
    t_us = now_us if timestamp is None else timestamp_us(timestamp)
    if t_us is None:
        return Refusal(Reason.BAD_TIME, "timestamp is neither a number in s, ms, us or ns nor RFC 3339", item)
    unit = item.get("unit")
    reading = Reading(item["sensor_id"], t_us, item["value"], None if unit == "" else unit)
    reason = refuse_reading(reading)
    return reading if reason is None else Refusal(reason, "the reading breaks a rule", item)


def timestamp_us(timestamp: object) -> int | None:
    """UTC microseconds of a timestamp of any known form; None when it is none."""
    if type(timestamp) is int:
        return _detect(timestamp)
    if type(timestamp) is float:
        return _detect(timestamp) if isfinite(timestamp) else None
    if type(timestamp) is not str:
        return None
    if _NUMBER.match(timestamp):
        return _detect(float(timestamp) if "." in timestamp else int(timestamp))
    return rfc3339_us(timestamp)


def _detect(number: int | float) -> int | None:
    """Microseconds of a number in s, ms, us or ns. Decimals of s, ms and us are rounded to the nearest (ties to the even one),
    since binary fractions lie a little beside what was meant; ns are cut to the microsecond they lie in, toward the past.
    """
    size = abs(number)
    if size < _SECONDS_BELOW:
        return round(number * 1_000_000)
    if size < _MILLISECONDS_BELOW:
        return round(number * 1_000)
    if size < _MICROSECONDS_BELOW:
        return round(number)
    if size < _NANOSECONDS_BELOW:
        return int(number // 1_000)
    return None


def rfc3339_us(text: str) -> int | None:
    """UTC microseconds of an RFC 3339 date-time, digits beyond microseconds cut off; None when it is none.

    A leap second counts as the second after it. A date-time without offset is none: RFC 3339 requires it.
    """
    match = _RFC3339.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    fraction, sign, offset_h, offset_min = match.groups()[6:]
    if offset_h is not None and (int(offset_h) > 23 or int(offset_min) > 59):
        return None
    offset = timedelta(hours=int(offset_h or 0), minutes=int(offset_min or 0))
    leap = 1 if second == 60 else 0
    try:
        zone = timezone(-offset if sign == "-" else offset)
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=zone)
    except ValueError:
        return None
    micros = int((fraction or "")[:6].ljust(6, "0"))
    return (moment - _EPOCH) // _MICROSECOND + leap * 1_000_000 + micros
