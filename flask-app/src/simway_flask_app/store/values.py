"""A value of a reading as columns, and back: ``num`` (double), ``kind``, ``detail`` (text).

Numbers and booleans stand in ``num``; an integer that a double does not hold exactly stands in ``detail`` as well. Strings
and objects (JSON, keys sorted, so that equal objects are equal text) stand in ``detail`` alone.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import msgspec
from simway_protocol.readings import Value

FLOAT, INTEGER, BOOLEAN, STRING, OBJECT = range(5)
_EXACT_MAX = 2**53
_json = msgspec.json.Encoder(order="deterministic")

Columns: TypeAlias = tuple[float | None, int, str | None]
Row: TypeAlias = tuple[int, int, float | None, int, str | None, str | None]
"""A row of ``readings``: series, t_us, num, kind, detail, unit."""


def columns_of(value: Value) -> Columns:
    """``(num, kind, detail)`` of any value; float first, since most are."""
    if type(value) is float:
        return value, FLOAT, None
    if type(value) is bool:
        return (1.0 if value else 0.0), BOOLEAN, None
    if type(value) is int:
        return float(value), INTEGER, None if -_EXACT_MAX <= value <= _EXACT_MAX else str(value)
    if type(value) is str:
        return None, STRING, value
    return None, OBJECT, _json.encode(value).decode()


def value_of(num: float | None, kind: int, detail: str | None) -> Value:
    """The value that ``columns_of`` took apart."""
    if kind == STRING:
        return cast(str, detail)
    if kind == OBJECT:
        return cast(dict[str, Any], msgspec.json.decode(cast(str, detail)))
    number = cast(float, num)
    if kind == FLOAT:
        return number
    if kind == BOOLEAN:
        return number != 0
    return int(number) if detail is None else int(detail)


def same(one: Columns, other: Columns) -> bool:
    """True when two readings of one series and time agree. 1 and 1.0 do: JSON writers differ over that."""
    numbers = (FLOAT, INTEGER)
    return one[0] == other[0] and one[2] == other[2] and (one[1] == other[1] or (one[1] in numbers and other[1] in numbers))
