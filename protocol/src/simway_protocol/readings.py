"""A reading, and the rules that a value must keep. Plain tuples, because millions of them pass through."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Value: TypeAlias = float | int | bool | str | dict[str, Any]
"""Finite float, int64, boolean, string without NUL and surrogates, or an object of those. 0 and false are values."""


class Reading(NamedTuple):
    """One measured value. ``t_us``: UTC microseconds since 1970. ``unit``: a SenML unit (RFC 8428, 12.1) or None."""

    sensor: str
    t_us: int
    value: Value
    unit: str | None = None
