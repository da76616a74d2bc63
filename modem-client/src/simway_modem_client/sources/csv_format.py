"""A CSV file's columns, times and values as readings. Pure.

Two forms: *long*, a reading a line (time, sensor, value, perhaps unit), and *wide*, a sensor a column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from simway_protocol.plain import timestamp_us
from simway_protocol.readings import Value

from simway_modem_client.entries import Entry, make_entry

_TIME_NAMES = ("time", "timestamp", "ts", "t", "datetime", "date", "when")
_SENSOR_NAMES = ("sensor", "sensor_id", "name")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9:./_-]+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_BOOLEANS = {"true": True, "false": False}


class BadColumns(ValueError):
    """The columns asked for are not in the header. The text names those that are."""


class BadCell(ValueError):
    """A cell that is not what its column holds. The text names both."""


@dataclass(frozen=True)
class CsvFormat:
    """How to read a file. Empty names: found by the header (see ``Columns.find``).

    ``time_format``: empty for numbers in s, ms, us or ns and RFC 3339, else as of ``strptime``, with ``time_zone`` where it
    names none. ``decimal``: the decimal separator. ``text``: cells that are no number are text, not mistakes.
    """

    delimiter: str = ","
    time_column: str = ""
    sensor_column: str = ""
    value_column: str = ""
    unit_column: str = ""
    time_format: str = ""
    time_zone: tzinfo = UTC
    decimal: str = "."
    unit: str = ""
    prefix: str = ""
    text: bool = False


@dataclass(frozen=True)
class Columns:
    """Positions of the columns. ``sensors``: (position, sensor's name) of each in the wide form; empty in the long one."""

    time: int
    sensor: int
    value: int
    unit: int
    sensors: tuple[tuple[int, str], ...]

    @classmethod
    def find(cls, header: Sequence[str], form: CsvFormat) -> Columns:
        """By name, as asked for; else time by its usual names or as the first column, long where both sensor and value are
        there, wide otherwise. Raises ``BadColumns``.
        """
        names = [name.strip() for name in header]
        time = _position(names, form.time_column) if form.time_column else _first_of(names, _TIME_NAMES, 0)
        sensor = _position(names, form.sensor_column) if form.sensor_column else _first_of(names, _SENSOR_NAMES, -1)
        value = _position(names, form.value_column) if form.value_column else _first_of(names, ("value",), -1)
        unit = _position(names, form.unit_column) if form.unit_column else _first_of(names, ("unit",), -1)
        if sensor >= 0 and value >= 0:
            return cls(time, sensor, value, unit, ())
        if form.sensor_column or form.value_column:
            missing = "--value-column" if form.sensor_column else "--sensor-column"
            raise BadColumns(f"a reading a line needs {missing} too; the columns are: {', '.join(names)}")
        sensors = tuple((at, sensor_name(form.prefix, name)) for at, name in enumerate(names) if at != time and name)
        if not sensors:
            raise BadColumns(f"no column holds measurements; the columns are: {', '.join(names)}")
        return cls(time, -1, -1, -1, sensors)


def entries_of(row: Sequence[str], columns: Columns, form: CsvFormat) -> list[Entry]:
    """The readings of a row; an empty cell in the wide form is no reading. Raises ``BadCell`` and ``ReadingRefused``."""
    t_us = parse_time(_cell(row, columns.time, "time"), form)
    if columns.sensors:
        found = [(name, row[at].strip()) for at, name in columns.sensors if at < len(row) and row[at].strip()]
        return [make_entry(name, parse_value(cell, name, form), form.unit, t_us) for name, cell in found]
    sensor = sensor_name(form.prefix, _cell(row, columns.sensor, "sensor"))
    unit = row[columns.unit].strip() if 0 <= columns.unit < len(row) else form.unit
    return [make_entry(sensor, parse_value(_cell(row, columns.value, "value"), sensor, form), unit, t_us)]


def parse_time(cell: str, form: CsvFormat) -> int:
    """UTC microseconds. Raises ``BadCell``."""
    if form.time_format:
        try:
            moment = datetime.strptime(cell, form.time_format)
        except ValueError:
            raise BadCell(f"the time {cell[:40]!r} is not of the form {form.time_format!r} (--time-format)") from None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=form.time_zone)
        return round(aware.timestamp() * 1e6)
    found = timestamp_us(cell)
    if found is None:
        raise BadCell(f"the time {cell[:40]!r} is neither a number in s, ms, us or ns nor RFC 3339; say --time-format")
    return found


def parse_value(cell: str, sensor: str, form: CsvFormat) -> Value:
    """A number, true or false; with ``text`` also text. Raises ``BadCell``."""
    number = cell.replace(form.decimal, ".") if form.decimal != "." else cell
    if _INTEGER.match(number):
        return int(number)
    if cell.lower() in _BOOLEANS:
        return _BOOLEANS[cell.lower()]
    try:
        value = float(number)
    except ValueError:
        if form.text:
            return cell
        raise BadCell(f"{cell[:40]!r} of {sensor} is no number (say --text to keep texts)") from None
    if not math.isfinite(value):
        raise BadCell(f"{cell[:40]!r} of {sensor} is not finite")
    return value


def sensor_name(prefix: str, name: str) -> str:
    """A column's or cell's name as a sensor's: characters that SenML does not allow become ``_``."""
    return prefix + _NOT_IN_NAMES.sub("_", name.strip()).strip("_")


def _cell(row: Sequence[str], at: int, what: str) -> str:
    cell = row[at].strip() if at < len(row) else ""
    if not cell:
        raise BadCell(f"the {what} is empty")
    return cell


def _position(names: list[str], wanted: str) -> int:
    if wanted not in names:
        raise BadColumns(f"there is no column {wanted!r}; the columns are: {', '.join(names)}")
    return names.index(wanted)


def _first_of(names: list[str], usual: Sequence[str], otherwise: int) -> int:
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in usual if name in lower), otherwise)
