"""What can become of a reading at admission, and the one table of how each protocol says it (design, section 9)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Outcome(IntEnum):
    """The outcome of a range of readings, as ACK carries it."""

    LOGGED = 0
    """Durable in the log: the device may delete it."""
    REJECTED = 1
    """Refused for good, with a reason: never send it again."""
    LATER = 2
    """Not taken now: send again after the time that comes with it."""


class Reason(StrEnum):
    """Why a reading was rejected for good. The value is what counters, dead letters and ACK carry."""

    BAD_SENSOR = "bad_sensor"
    BAD_UNIT = "bad_unit"
    BAD_VALUE = "bad_value"
    NOT_FINITE = "not_finite"
    BAD_TEXT = "bad_text"
    TOO_LONG = "too_long"
    TOO_DEEP = "too_deep"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"
    BAD_SENML = "bad_senml"
    TOO_MANY = "too_many"
    BAD_SEQUENCE = "bad_sequence"
    """Numbers that cannot be: zero, above the limit, or ranges that contradict themselves."""
