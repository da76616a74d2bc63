"""What may enter the outbox: one reading, checked, stamped and encoded, so that a bad one is refused where its source can be told."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import msgspec
from simway_protocol.limits import (
    INT64_MAX,
    INT64_MIN,
    OBJECT_MAX_DEPTH,
    SENSOR_MAX_CHARS,
    UNIT_MAX_CHARS,
    VALUE_MAX_BYTES,
)
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Value

_ROW_OVERHEAD_BYTES = 24
"""What SQLite adds to a row: record header, sequence, time, its share of a page."""

_encode = msgspec.json.Encoder().encode


class ReadingRefused(ValueError):
    """The source's fault: this reading can never be sent. ``reason`` is one of ``outcomes.Reason``; the text is for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Entry(NamedTuple):
    """A reading as the outbox stores it. ``value``: JSON. ``size_bytes``: what it counts for against the outbox's bound."""

    t_us: int
    sensor: str
    value: bytes
    unit: str | None
    size_bytes: int


def make_entry(sensor: Any, value: Any, unit: Any = None, t_us: int | None = None) -> Entry:
    """Checks a reading and encodes it; without ``t_us`` it is stamped with the time now. ``ReadingRefused`` names what is wrong."""
    if not isinstance(sensor, str) or not sensor:
        raise ReadingRefused(Reason.BAD_SENSOR, "a reading needs the name of its sensor")
    _check_text(sensor, "the sensor's name", SENSOR_MAX_CHARS)
    if unit is not None:
        if not isinstance(unit, str):
            raise ReadingRefused(Reason.BAD_UNIT, f"the unit of {sensor} is not text")
        _check_text(unit, f"the unit of {sensor}", UNIT_MAX_CHARS)
    _check_value(value, sensor, OBJECT_MAX_DEPTH)
    encoded = _encode(value)
    if len(encoded) > VALUE_MAX_BYTES:
        raise ReadingRefused(
            Reason.TOO_LONG, f"the value of {sensor} takes {len(encoded)} bytes as JSON; at most {VALUE_MAX_BYTES} can be sent"
        )
    if t_us is None:
        t_us = time.time_ns() // 1000
    elif not INT64_MIN <= t_us <= INT64_MAX:
        raise ReadingRefused(Reason.BAD_TIME, f"the time of {sensor} is out of range")
    size = len(sensor) + len(encoded) + len(unit or "") + _ROW_OVERHEAD_BYTES
    return Entry(t_us, sensor, encoded, unit or None, size)


def decode_value(encoded: bytes) -> Value:
    """The value that ``make_entry`` encoded."""
    value: Value = msgspec.json.decode(encoded)
    return value


def _check_value(value: Any, sensor: str, depth_left: int) -> None:
    match value:
        case bool():
            return
        case int():
            if not INT64_MIN <= value <= INT64_MAX:
                raise ReadingRefused(Reason.OUT_OF_RANGE, f"the value of {sensor} does not fit into 64 bits")
        case float():
            if not math.isfinite(value):
                raise ReadingRefused(Reason.NOT_FINITE, f"the value of {sensor} is {value}; leave a failed measurement out")
        case str():
            _check_text(value, f"the value of {sensor}", None)
        case dict():
            _check_object(value, sensor, depth_left)
        case _:
            raise ReadingRefused(Reason.BAD_VALUE, f"the value of {sensor} is no number, boolean, string or object")


def _check_object(value: dict[Any, Any], sensor: str, depth_left: int) -> None:
    if depth_left == 0:
        raise ReadingRefused(Reason.TOO_DEEP, f"the value of {sensor} is nested deeper than {OBJECT_MAX_DEPTH}")
    for key, item in value.items():
        if not isinstance(key, str):
            raise ReadingRefused(Reason.BAD_VALUE, f"a key in the value of {sensor} is not text")
        _check_text(key, f"a key in the value of {sensor}", None)
        _check_value(item, sensor, depth_left - 1)


def _check_text(text: str, what: str, max_chars: int | None) -> None:
    if max_chars is not None and len(text) > max_chars:
        raise ReadingRefused(Reason.TOO_LONG, f"{what} has {len(text)} characters; at most {max_chars} can be sent")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ReadingRefused(Reason.BAD_TEXT, f"{what} holds a NUL or half a surrogate pair")
