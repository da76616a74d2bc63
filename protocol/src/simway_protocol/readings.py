"""A reading, and the rules that its parts must keep. Plain tuples, because millions of them pass through.

What a rule refuses it names by ``outcomes.Reason``, so that the device, the counters and the dead letter say the same. The
rules hold for every form a reading arrives in (``senml``, ``plain``); times are judged at admission, which knows the clock.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import msgspec

from simway_protocol.limits import INT64_MAX, INT64_MIN, OBJECT_MAX_DEPTH, SENSOR_MAX_CHARS, UNIT_MAX_CHARS, VALUE_MAX_BYTES
from simway_protocol.outcomes import Reason

Value: TypeAlias = float | int | bool | str | dict[str, Any]
"""Finite float, int64, boolean, string without NUL and surrogates, or an object of those. 0 and false are values.

An object may also hold arrays and nulls; its keys are strings. At most ``OBJECT_MAX_DEPTH`` containers lie within each other,
and any value takes at most ``VALUE_MAX_BYTES`` as JSON.
"""


class Reading(NamedTuple):
    """One measured value. ``t_us``: UTC microseconds since 1970. ``unit``: a SenML unit (RFC 8428, 12.1) or None."""

    sensor: str
    t_us: int
    value: Value
    unit: str | None = None


class Refusal(NamedTuple):
    """What stands in a decoder's output for a reading that broke a rule. ``raw``: the input item, for the dead letter."""

    reason: Reason
    detail: str
    raw: Any


_SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*\Z")
_UNIT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z")
_JSON_ESCAPE_CHARS = 6
_ALWAYS_SHORT_CHARS = (VALUE_MAX_BYTES - 2) // _JSON_ESCAPE_CHARS
_encode_json = msgspec.json.Encoder().encode


@lru_cache(maxsize=50_000)
def is_sensor(name: str) -> bool:
    """True for 1 to 128 characters of ``A-Z a-z 0-9 - : . / _`` that begin with a letter or digit (RFC 8428, 4.5.1)."""
    return len(name) <= SENSOR_MAX_CHARS and _SENSOR.match(name) is not None


@lru_cache(maxsize=5_000)
def is_unit(unit: str) -> bool:
    """True for 1 to 32 characters, none of them a control character or surrogate; registered units and others alike."""
    return len(unit) <= UNIT_MAX_CHARS and _UNIT.match(unit) is not None


def refuse_value(value: object) -> Reason | None:
    """The rule that ``value`` breaks, or None. Never raises, whatever comes in."""
    kind = type(value)
    if kind is float:
        return None if isfinite(value) else Reason.NOT_FINITE  # type: ignore[arg-type]
    if kind is int:
        return None if INT64_MIN <= value <= INT64_MAX else Reason.OUT_OF_RANGE  # type: ignore[operator]
    if kind is bool:
        return None
    if kind is str:
        return _refuse_text(value)  # type: ignore[arg-type]
    if kind is dict:
        return _refuse_object(value)  # type: ignore[arg-type]
    return Reason.BAD_VALUE


def _refuse_text(text: str) -> Reason | None:
    if "\x00" in text:
        return Reason.BAD_TEXT
    if len(text) > VALUE_MAX_BYTES:
        return Reason.TOO_LONG
    try:
        too_long = len(text) > _ALWAYS_SHORT_CHARS and len(_encode_json(text)) > VALUE_MAX_BYTES
        if not too_long and not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return Reason.BAD_TEXT
    return Reason.TOO_LONG if too_long else None


def _refuse_object(value: dict[Any, Any]) -> Reason | None:
    reason = _refuse_nested(value, OBJECT_MAX_DEPTH)
    if reason is None and len(_encode_json(value)) > VALUE_MAX_BYTES:
        return Reason.TOO_LONG
    return reason


def _refuse_nested(value: object, depth_left: int) -> Reason | None:
    if value is None:
        return None
    if not isinstance(value, dict | list):
        return refuse_value(value)
    if depth_left == 0:
        return Reason.TOO_DEEP
    if len(value) > VALUE_MAX_BYTES:
        return Reason.TOO_LONG
    return _refuse_keys(value) or _first_refusal(value, depth_left)


def _refuse_keys(value: object) -> Reason | None:
    if not isinstance(value, dict):
        return None
    if not all(type(key) is str for key in value):
        return Reason.BAD_VALUE
    return next((reason for key in value if (reason := _refuse_text(key))), None)


def _first_refusal(value: dict[str, Any] | list[Any], depth_left: int) -> Reason | None:
    items = value.values() if isinstance(value, dict) else value
    return next((reason for item in items if (reason := _refuse_nested(item, depth_left - 1))), None)


def refuse_reading(reading: Reading) -> Reason | None:
    """The rule that a reading breaks, or None; its time is only held to be an int64."""
    sensor, t_us, value, unit = reading
    if type(sensor) is not str or not is_sensor(sensor):
        return Reason.BAD_SENSOR
    if type(t_us) is not int or not INT64_MIN <= t_us <= INT64_MAX:
        return Reason.BAD_TIME
    if unit is not None and (type(unit) is not str or not is_unit(unit)):
        return Reason.BAD_UNIT
    return refuse_value(value)
