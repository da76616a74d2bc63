"""What may enter the outbox: one reading, checked, stamped and encoded; a bad one is refused where its source can be told."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec
from simway_protocol.limits import DATAGRAM_MAX_BYTES, OBJECT_MAX_DEPTH, SENSOR_MAX_CHARS, UNIT_MAX_CHARS, VALUE_MAX_BYTES
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Refusal, Value, refuse_reading
from simway_protocol.senml import RELATIVE_BELOW_US
from simway_protocol.udp.client import reading_fits

_SURELY_FITS_BYTES = 200
"""A value up to this long in JSON fits a frame in CBOR, too: ``[1e9,1e9]`` grows most, from 4 bytes an item to 9."""
_ROW_OVERHEAD_BYTES = 24
"""What SQLite adds to a row: record header, sequence, time, its share of a page."""

_WORDS = {
    Reason.BAD_SENSOR: f"a sensor's name has 1 to {SENSOR_MAX_CHARS} of A-Z a-z 0-9 - : . / _ and begins with a letter or digit",
    Reason.BAD_UNIT: f"a unit is text of 1 to {UNIT_MAX_CHARS} printable characters",
    Reason.BAD_VALUE: "a value is a number, a boolean, a string or an object with text keys",
    Reason.NOT_FINITE: "NaN and infinities cannot be sent; leave a failed measurement out",
    Reason.BAD_TEXT: "text holds a NUL or half a surrogate pair",
    Reason.TOO_LONG: f"the value takes more than {VALUE_MAX_BYTES} bytes as JSON",
    Reason.TOO_DEEP: f"the object is nested deeper than {OBJECT_MAX_DEPTH}",
    Reason.OUT_OF_RANGE: "an integer must fit into 64 bits",
    Reason.BAD_TIME: "a time must lie after 1978-07-04 (2^28 s: SenML reads smaller ones as relative)",
}

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
    """Checks a reading and encodes it; one without ``t_us`` is stamped with the time now. Raises ``ReadingRefused``."""
    return entry_of(Reading(sensor, time.time_ns() // 1000 if t_us is None else t_us, value, unit or None))


def entry_of(reading: Reading | Refusal) -> Entry:
    """The same for a reading that a decoder gave; what the decoder refused is raised as ``ReadingRefused``."""
    if isinstance(reading, Refusal):
        raise ReadingRefused(reading.reason, reading.detail)
    reason = refuse_reading(reading)
    if reason is None and reading.t_us < RELATIVE_BELOW_US:
        reason = Reason.BAD_TIME
    if reason is not None:
        raise ReadingRefused(reason, f"{_name(reading.sensor)}: {_WORDS.get(reason, 'the reading breaks a rule')}")
    encoded = _encode(reading.value)
    if len(encoded) > _SURELY_FITS_BYTES and not reading_fits(reading):
        raise ReadingRefused(
            Reason.TOO_LONG, f"{_name(reading.sensor)}: the reading fits no datagram of {DATAGRAM_MAX_BYTES} bytes"
        )
    size = len(reading.sensor) + len(encoded) + len(reading.unit or "") + _ROW_OVERHEAD_BYTES
    return Entry(reading.t_us, reading.sensor, encoded, reading.unit, size)


def decode_value(encoded: bytes) -> Value:
    """The value that an entry holds."""
    value: Value = msgspec.json.decode(encoded)
    return value


def _name(sensor: Any) -> str:
    return repr(sensor)[: SENSOR_MAX_CHARS + 2]
