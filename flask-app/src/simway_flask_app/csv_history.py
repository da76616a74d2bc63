"""CSV files of past readings (RFC 4180), read as they arrive: bytes in; readings and bad records, each with its line, out. Pure.

One bad record costs that record alone (``csv_records``). A last line without a line end may be half of what it was, so it is bad
unless ``Shape.open_end`` says otherwise.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec
from simway_protocol.limits import FUTURE_MAX_US, INT64_MAX
from simway_protocol.outcomes import Reason
from simway_protocol.plain import timestamp_us
from simway_protocol.readings import Reading, Value, is_sensor, is_unit, refuse_reading

from simway_flask_app.csv_records import BadFile, Record, Splitter, header_text

_SHOWN_MAX = 40
DEVICE_COLUMN = "device"
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE = frozenset({"nan", "inf", "infinity", "-inf", "+inf", "-infinity", "+infinity"})
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Shape:
    """How to read the file; see ``web.schemas_readings.ImportQuery``. A column that has its usual name need not be there."""

    time_column: str = "time"
    sensor_column: str = "sensor"
    value_column: str = "value"
    unit_column: str = "unit"
    kind_column: str = "kind"
    sensor: str | None = None
    unit: str = ""
    text: bool = False
    utc: bool = False
    delimiter: str = ","
    header: str = ""
    first_line: int = 1
    open_end: bool = False


class Bad(NamedTuple):
    """What is not taken: the first line of its record, from 1; ``column``: empty for the whole record."""

    line: int
    reason: str
    column: str
    detail: str


class Taken(NamedTuple):
    """A reading and the first line of its record."""

    line: int
    reading: Reading


Item: TypeAlias = Taken | Bad


class _Refused(Exception):
    """A cell or a record breaks a rule."""

    def __init__(self, reason: str, detail: str, column: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.column = reason, detail, column


class CsvHistory:
    """Reads one file of one device. ``lines``: how many came; ``empty``: empty cells of a wide file."""

    def __init__(self, shape: Shape, device: str, now_us: int) -> None:
        """Raises ``BadFile`` for a ``header`` that does not fit."""
        self.lines = self.empty = 0
        self._shape, self._device, self._latest_us = shape, device, now_us + FUTURE_MAX_US
        self._splitter = Splitter(shape.first_line)
        self._columns: list[str] | None = None
        self._read: Callable[[int, list[str]], Iterator[Item]] = self._read_long
        if shape.header:
            self._begin(shape.header)

    def feed(self, data: bytes) -> Iterator[Item]:
        """What ``data``, the next bytes, completes. Raises ``BadFile``, only before the first item."""
        self._splitter.add(data)
        return self._items(self._splitter.records(over=False))

    def end(self) -> Iterator[Item]:
        """What is left: the file is over. Raises ``BadFile`` when it never began."""
        yield from self._items(self._splitter.records(over=True))
        half = self._splitter.rest()
        if half is not None and self._shape.open_end:
            yield from self._items(iter([half]))
        elif half is not None:
            self.lines += 1
            if self._columns is None:
                raise BadFile("bad_header", "the header has no line end: the file is cut, or it is no CSV")
            detail = "no line end: half of it may be missing. End it, or say open_end=true where it is whole"
            yield Bad(half.line, "half_line", "", detail)
        if self._columns is None:
            raise BadFile("bad_header", "the file is empty: it begins with a line that names its columns")

    def _items(self, records: Iterator[Record]) -> Iterator[Item]:
        for record in records:
            self.lines += record.lines
            if self._columns is None:
                self._begin(header_text(record))
                continue
            if record.bad:
                yield Bad(record.line, *record.bad)
                continue
            if record.raw.strip():
                yield from self._record(record)

    def _record(self, record: Record) -> Iterator[Item]:
        try:
            text = record.raw.decode()
        except UnicodeDecodeError:
            self._split_again(record)
            yield Bad(record.line, "bad_encoding", "", "not UTF-8")
            return
        try:
            cells = self._cells(text)
        except csv.Error as error:
            self._split_again(record)
            yield Bad(record.line, "bad_csv", "", str(error))
            return
        columns = self._columns or []
        if len(cells) != len(columns):
            self._split_again(record)
            yield Bad(record.line, "bad_columns", "", f"{len(cells)} cells, and the header names {len(columns)} columns")
            return
        yield from self._read(record.line, cells)

    def _split_again(self, record: Record) -> None:
        self._splitter.split_again(record)
        self.lines -= record.lines - 1

    def _cells(self, text: str) -> list[str]:
        text = text.removesuffix("\n").removesuffix("\r")
        if '"' not in text:
            return text.split(self._shape.delimiter)
        return next(csv.reader([text], delimiter=self._shape.delimiter, strict=True))

    # --- the header ----------------------------------------------------------------------------------------------------

    def _begin(self, header: str) -> None:
        try:
            columns = [cell.strip() for cell in self._cells(header)]
        except csv.Error as error:
            raise BadFile("bad_header", f"the header is no CSV: {error}") from error
        shape = self._shape
        shown = ", ".join(column[:_SHOWN_MAX] for column in columns[:20])
        if len(set(columns)) < len(columns):
            raise BadFile("bad_header", f"two columns have the same name: {shown}")
        if shape.time_column not in columns:
            raise BadFile("bad_header", f"no column is named {shape.time_column!r}: say time_column. The header names {shown}")
        for name in ("sensor_column", "value_column", "unit_column", "kind_column"):
            column = getattr(shape, name)
            if column not in columns and column != getattr(Shape(), name):
                raise BadFile("bad_header", f"no column is named {column!r}, as {name} says. The header names {shown}")
        if shape.unit and not is_unit(shape.unit):
            raise BadFile("bad_header", "unit is none: 1 to 32 characters without control characters")
        if shape.value_column in columns:
            self._begin_long(columns, shown)
        else:
            self._begin_wide(columns)
        self._columns = columns

    def _begin_long(self, columns: Sequence[str], shown: str) -> None:
        if self._shape.sensor is None and self._shape.sensor_column not in columns:
            said = f"no column is named {self._shape.sensor_column!r}: say sensor_column, or sensor. The header names {shown}"
            raise BadFile("bad_header", said)
        if self._shape.sensor is not None and not is_sensor(self._shape.sensor):
            raise BadFile("bad_header", "sensor is no name of one: 1 to 128 of A-Z a-z 0-9 - : . / _")
        places = {column: place for place, column in enumerate(columns)}
        shape = self._shape
        self._time, self._value = places[shape.time_column], places[shape.value_column]
        self._sensor = None if shape.sensor is not None else places[shape.sensor_column]
        self._unit, self._kind = places.get(shape.unit_column), places.get(shape.kind_column)
        self._other = places.get(DEVICE_COLUMN)
        self._read = self._read_long

    def _begin_wide(self, columns: Sequence[str]) -> None:
        sensors = [(place, column) for place, column in enumerate(columns) if column != self._shape.time_column]
        bad = [column for _, column in sensors if not is_sensor(column)]
        if bad or not sensors:
            said = f"{bad[0][:_SHOWN_MAX]!r} is no name of one" if bad else "there is no other column"
            raise BadFile(
                "bad_header",
                f"without a column {self._shape.value_column!r} every column beside the time is a sensor, but {said} "
                "(1 to 128 of A-Z a-z 0-9 - : . / _)",
            )
        self._time, self._sensors = columns.index(self._shape.time_column), sensors
        self._read = self._read_wide

    # --- records -------------------------------------------------------------------------------------------------------

    def _read_long(self, line: int, cells: list[str]) -> Iterator[Item]:
        shape = self._shape
        try:
            if self._other is not None and cells[self._other] != self._device:
                raise _Refused("other_device", f"it is of {cells[self._other][:_SHOWN_MAX]!r}", DEVICE_COLUMN)
            sensor = shape.sensor if self._sensor is None else cells[self._sensor]
            unit = (cells[self._unit] if self._unit is not None else "") or shape.unit
            kind = cells[self._kind] if self._kind is not None else ""
            value = _VALUES[kind](cells[self._value]) if kind in _VALUES else self._plain_value(cells[self._value], kind)
            reading = Reading(sensor or "", self._t_us(cells[self._time]), value, unit or None)
            yield Taken(line, self._checked(reading))
        except _Refused as refused:
            of_names = {str(Reason.BAD_SENSOR): shape.sensor_column, str(Reason.BAD_UNIT): shape.unit_column}
            column = refused.column or of_names.get(refused.reason, shape.value_column)
            yield Bad(line, refused.reason, column, refused.detail)

    def _read_wide(self, line: int, cells: list[str]) -> Iterator[Item]:
        try:
            t_us = self._t_us(cells[self._time])
        except _Refused as refused:
            yield Bad(line, refused.reason, refused.column, refused.detail)
            return
        for place, sensor in self._sensors:
            if not cells[place].strip():
                self.empty += 1
                continue
            try:
                value = self._plain_value(cells[place], "")
                yield Taken(line, self._checked(Reading(sensor, t_us, value, self._shape.unit or None)))
            except _Refused as refused:
                yield Bad(line, refused.reason, sensor, refused.detail)

    def _checked(self, reading: Reading) -> Reading:
        reason = refuse_reading(reading)
        if reason is not None:
            raise _Refused(reason, "the reading breaks a rule of the platform")
        return reading

    def _t_us(self, text: str) -> int:
        text = text.strip()
        t_us = timestamp_us(text)
        if t_us is None and self._shape.utc:
            t_us = timestamp_us(text + "Z")
        column = self._shape.time_column
        if t_us is None:
            raise _Refused(
                Reason.BAD_TIME, f"{text[:_SHOWN_MAX]!r} is neither RFC 3339 with an offset nor s, ms, us or ns", column
            )
        if t_us > self._latest_us or t_us > INT64_MAX:
            raise _Refused(Reason.IN_FUTURE, "more than a day ahead", column)
        return t_us

    def _plain_value(self, text: str, kind: str) -> Value:
        if kind:
            raise _Refused("bad_kind", f"{kind[:_SHOWN_MAX]!r} is none of {', '.join(_VALUES)}", self._shape.kind_column)
        try:
            return _number(text)
        except _Refused:
            if not self._shape.text:
                raise
        return text


def _number(text: str) -> Value:
    """A number or a boolean."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    lower = text.lower()
    if lower in _BOOLEANS:
        return _BOOLEANS[lower]
    if lower in _NOT_FINITE:
        raise _Refused(Reason.NOT_FINITE, f"{text} is no finite number")
    said = f"{text[:_SHOWN_MAX]!r} is no number and no boolean; text=true takes it as a string" if text else "empty"
    raise _Refused(Reason.BAD_VALUE, said)


def _float(text: str) -> Value:
    if not _FLOAT.fullmatch(text.strip()):
        raise _Refused(Reason.BAD_VALUE, f"{text[:_SHOWN_MAX]!r} is no number")
    return float(text)


def _integer(text: str) -> Value:
    if not _INTEGER.fullmatch(text.strip()):
        raise _Refused(Reason.BAD_VALUE, f"{text[:_SHOWN_MAX]!r} is no integer")
    return int(text)


def _boolean(text: str) -> Value:
    if text.strip().lower() not in _BOOLEANS:
        raise _Refused(Reason.BAD_VALUE, f"{text[:_SHOWN_MAX]!r} is neither true nor false")
    return _BOOLEANS[text.strip().lower()]


def _object(text: str) -> Value:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _Refused(Reason.BAD_VALUE, f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _Refused(Reason.BAD_VALUE, "no JSON object")
    return value


_VALUES: dict[str, Callable[[str], Value]] = {
    "float": _float, "integer": _integer, "boolean": _boolean, "string": str, "object": _object,
}  # fmt: skip
