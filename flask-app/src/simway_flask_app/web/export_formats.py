"""Rows of readings as a file: CSV, NDJSON, Parquet, Arrow. Bytes come as the rows do; nothing is kept but a row group.

A file that was cut does not look whole: Parquet and Arrow files end with a footer, gzip with its sum; for CSV and NDJSON it is
the transfer that tells (chunked, HTTP/1.1).
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from simway_flask_app.store.questions import NamedRows
from simway_flask_app.store.values import BOOLEAN, INTEGER, OBJECT, STRING, value_of
from simway_flask_app.web.times import to_text

KINDS = ("float", "integer", "boolean", "string", "object")
"""The names of ``store.values``' kinds."""
GROUP_ROWS = 65_536
"""Rows of a row group (Parquet) or record batch (Arrow)."""
CSV_COLUMNS = ("device", "sensor", "time", "t_us", "value", "kind", "unit")
NDJSON_COLUMNS = ("device", "sensor", "time", "t_us", "value", "unit")
TABLE_COLUMNS = ("device", "sensor", "time", "value", "kind", "unit")


class Encoder(Protocol):
    """One file. ``rows`` may keep some back until the next call or ``end``."""

    def begin(self) -> bytes:
        """What stands before all rows."""

    def rows(self, page: NamedRows) -> bytes:
        """The next rows."""

    def end(self) -> bytes:
        """What is left, and what stands behind all rows."""


def _cell(column: str) -> Callable[[Any, tuple[str, str]], Any]:
    """How a cell of a text format is made of a row and its device and sensor."""
    return {
        "device": lambda _, name: name[0],
        "sensor": lambda _, name: name[1],
        "time": lambda row, _: _time_text(row[1]),
        "t_us": lambda row, _: row[1],
        "value": lambda row, _: _text_value(row),
        "kind": lambda row, _: KINDS[row[3]],
        "unit": lambda row, _: row[5],
    }[column]


def _time_text(t_us: int) -> str:
    """As ``to_text``, some three times as fast for times near each other."""
    second, us = divmod(t_us, 1_000_000)
    return f"{_second_text(second)}.{us:06d}Z"


@lru_cache(maxsize=10_000)
def _second_text(second: int) -> str:
    return to_text(second * 1_000_000)[:-8]


def _text_value(row: Any) -> Any:
    _, _, num, kind, detail, _ = row
    if kind in {STRING, OBJECT}:
        return detail
    value = value_of(num, kind, detail)
    return str(value).lower() if kind == BOOLEAN else value


class CsvEncoder:
    """RFC 4180, UTF-8, CRLF. ``value``: a number as JSON has it, true or false, the string itself, or the object's JSON."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns or CSV_COLUMNS
        self._cells = [_cell(column) for column in self._columns]

    def begin(self) -> bytes:
        """The header."""
        return ",".join(self._columns).encode() + b"\r\n"

    def rows(self, page: NamedRows) -> bytes:
        """A line a row; a string may hold line ends, in quotes."""
        out = io.StringIO(newline="")
        names, cells = page.names, self._cells
        csv.writer(out, lineterminator="\r\n").writerows([cell(row, names[row[0]]) for cell in cells] for row in page.rows)
        return out.getvalue().encode()

    def end(self) -> bytes:
        """Nothing."""
        return b""


class NdjsonEncoder:
    """One JSON object a line; values are of JSON's own types, floats with a point or an exponent, integers without."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns or NDJSON_COLUMNS
        cells = {column: _cell(column) for column in self._columns} | {"value": lambda row, _: _json_value(row)}
        self._cells = [(column, cells[column]) for column in self._columns]
        self._encode = msgspec.json.Encoder().encode_lines

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, page: NamedRows) -> bytes:
        """A line a row."""
        names, cells = page.names, self._cells
        return self._encode([{column: cell(row, names[row[0]]) for column, cell in cells} for row in page.rows])

    def end(self) -> bytes:
        """Nothing."""
        return b""


def _json_value(row: Any) -> Any:
    return msgspec.Raw(row[4].encode()) if row[3] == OBJECT else value_of(*row[2:5])


# --- columns -----------------------------------------------------------------------------------------------------------

_FIELDS: dict[str, list[tuple[str, Any]]] = {
    "device": [("device", pa.string())],
    "sensor": [("sensor", pa.string())],
    "time": [("time", pa.timestamp("us", "UTC"))],
    "t_us": [("t_us", pa.int64())],
    "value": [("value", pa.float64()), ("integer", pa.int64()), ("text", pa.string())],
    "kind": [("kind", pa.string())],
    "unit": [("unit", pa.string())],
}


def _columns_of(rows: Sequence[tuple[Any, tuple[str, str]]], column: str) -> list[list[Any]]:
    """The values of one column that was asked for: of ``value`` three, the number, the exact integer, the text."""
    if column == "value":
        exact = [value_of(*row[2:5]) if row[3] == INTEGER else None for row, _ in rows]
        return [[row[2] for row, _ in rows], exact, [row[4] if row[3] in {STRING, OBJECT} else None for row, _ in rows]]
    if column == "time":
        return [[row[1] for row, _ in rows]]
    cell = _cell(column)
    return [[cell(row, name) for row, name in rows]]


class _Sink(io.RawIOBase):
    """Where the writers of pyarrow write to; what they wrote is taken away at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class TableEncoder:
    """Parquet, or an Arrow IPC file: ``value`` (double; booleans as 0 and 1), ``integer`` (exact), ``text`` (strings, JSON)."""

    def __init__(self, columns: Sequence[str], *, parquet: bool) -> None:
        self._columns = columns or TABLE_COLUMNS
        self._schema = pa.schema([field for column in self._columns for field in _FIELDS[column]])
        self._sink = _Sink()
        self._file = pa.PythonFile(self._sink, mode="w")
        make: Any = pq.ParquetWriter if parquet else pa.ipc.new_file
        self._writer = make(self._file, self._schema)
        self._held: list[tuple[Any, tuple[str, str]]] = []

    def begin(self) -> bytes:
        """The file's mark."""
        return self._sink.take()

    def rows(self, page: NamedRows) -> bytes:
        """The row groups that are full."""
        names = page.names
        self._held += [(row, names[row[0]]) for row in page.rows]
        if len(self._held) >= GROUP_ROWS:
            self._write()
        return self._sink.take()

    def end(self) -> bytes:
        """The last row group and the footer."""
        if self._held:
            self._write()
        self._writer.close()
        return self._sink.take()

    def _write(self) -> None:
        rows, self._held = self._held, []
        values = [part for column in self._columns for part in _columns_of(rows, column)]
        arrays = [pa.array(part, field.type) for part, field in zip(values, self._schema, strict=True)]
        self._writer.write(pa.record_batch(arrays, schema=self._schema))


# --- files -------------------------------------------------------------------------------------------------------------

_MAKERS: dict[str, Callable[[Sequence[str]], Encoder]] = {
    "csv": CsvEncoder,
    "ndjson": NdjsonEncoder,
    "parquet": lambda columns: TableEncoder(columns, parquet=True),
    "arrow": lambda columns: TableEncoder(columns, parquet=False),
}
MEDIA_TYPES = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
}
TEXTS = frozenset({"csv", "ndjson"})
"""The formats that gzip makes smaller; the others have a compression of their own, or are meant to be mapped into memory."""


def encoded(format_: str, columns: Sequence[str], pages: Iterable[NamedRows]) -> Iterator[bytes]:
    """The file, part by part. What ``pages`` raises ends it before its end."""
    encoder = _MAKERS[format_](columns)
    yield encoder.begin()
    for page in pages:
        yield encoder.rows(page)
    yield encoder.end()


def gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """``parts`` as one gzip member (RFC 1952), whose sum stands at the end."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()
