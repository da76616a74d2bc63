"""Bytes of a CSV file (RFC 4180) cut into records as they arrive. Pure.

A record is a line, or several while a quote is open. A quote that nobody closes is given up after ``RECORD_MAX_BYTES``: that
costs the line that it stands in, and the lines behind it are read anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

RECORD_MAX_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_UTF_8 = "save it as UTF-8"
_CSV_ONLY = "only CSV can be imported: export it with format=csv, or convert it"
_OTHER_FILES = {
    b"\xff\xfe": f"UTF-16: {_UTF_8}",
    b"\xfe\xff": f"UTF-16: {_UTF_8}",
    b"\x00\x00\xfe\xff": f"UTF-32: {_UTF_8}",
    b"\x1f\x8b": "packed with gzip: unpack it first (gunzip), or give it to 'simway import', which does so",
    b"PAR1\x15": f"Parquet, and {_CSV_ONLY}",
    b"ARROW1\x00": f"Arrow, and {_CSV_ONLY}",
    b"PK\x03\x04": f"a ZIP archive or a spreadsheet, and {_CSV_ONLY}",
}
"""By their first bytes, what is no CSV in UTF-8. A header may begin with PAR1, the name of a sensor: Parquet goes on with 15."""


class BadFile(Exception):
    """Nothing of the file can be read; the sender's fault. ``reason``: bad_encoding|bad_header|bad_line_ends."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Record(NamedTuple):
    """The bytes of a record, line end and all. ``bad``: reason, column and detail where it is none."""

    line: int
    lines: int
    raw: bytes
    bad: tuple[str, str, str] | None = None


def header_text(record: Record) -> str:
    """The text of a file's first record. Raises ``BadFile``, which says what to do."""
    if record.bad:
        raise BadFile("bad_header", f"the header: {record.bad[2]}")
    line = record.raw.rstrip(b"\r\n")
    if b"\x00" in line:
        raise BadFile("bad_encoding", "the header holds NUL bytes, as UTF-16 does: save the file as UTF-8")
    if b"\r" in line:
        raise BadFile("bad_line_ends", "lines end with CR alone: end them with LF or CRLF")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadFile("bad_encoding", f"the header is not UTF-8 ({error.reason}): save the file as UTF-8") from error


class Splitter:
    """Cuts bytes into records: lines, joined while a quote is open."""

    def __init__(self, first_line: int) -> None:
        self._next_line = first_line
        self._lines: deque[tuple[int, bytes]] = deque()
        self._rest = b""
        self._begun = self._skipping = False

    def add(self, data: bytes) -> None:
        """Takes the next bytes. Raises ``BadFile`` for those of another encoding or format."""
        data = self._rest + data
        if not self._begun:
            if any(len(data) < len(mark) and mark.startswith(data) for mark in (_BOM, *_OTHER_FILES)):
                self._rest = data
                return
            data = _without_mark(data)
            self._begun = True
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            self._lines.append((self._next_line, line + b"\n"))
            self._next_line += 1
        if len(self._rest) > RECORD_MAX_BYTES:
            if not self._skipping:
                self._lines.append((self._next_line, self._rest))
                self._next_line += 1
            self._rest, self._skipping = b"", True

    def records(self, *, over: bool) -> Iterator[Record]:
        """The records that are whole; with ``over``, no more bytes will come."""
        while self._lines:
            record = self._first(over)
            if record is None:
                return
            yield record

    def rest(self) -> Record | None:
        """What stands behind the last line end."""
        rest, self._rest = self._rest, b""
        return None if not rest or self._skipping else Record(self._next_line, 1, rest)

    def split_again(self, record: Record) -> None:
        """The lines behind the first one of a bad record come again, each for itself: a stray quote had joined them."""
        lines = [line + b"\n" for line in record.raw.removesuffix(b"\n").split(b"\n")] if record.lines > 1 else []
        self._lines.extendleft((record.line + place, lines[place]) for place in range(len(lines) - 1, 0, -1))

    def _first(self, over: bool) -> Record | None:
        quotes = size = 0
        for count, (_, raw) in enumerate(self._lines, 1):
            quotes += raw.count(b'"')
            size += len(raw)
            if size > RECORD_MAX_BYTES:
                return self._given_up()
            if quotes % 2 == 0:
                taken = [self._lines.popleft() for _ in range(count)]
                return Record(taken[0][0], count, b"".join(raw for _, raw in taken))
        return self._given_up() if over else None

    def _given_up(self) -> Record:
        line, raw = self._lines.popleft()
        if len(raw) > RECORD_MAX_BYTES:
            return Record(line, 1, b"", ("too_long", "", f"longer than {RECORD_MAX_BYTES} bytes"))
        return Record(line, 1, b"", ("open_quote", "", f"a quote that nobody closes within {RECORD_MAX_BYTES} bytes"))


def _without_mark(data: bytes) -> bytes:
    for mark, what in _OTHER_FILES.items():
        if data.startswith(mark):
            raise BadFile("bad_encoding", f"the file is {what}")
    return data.removeprefix(_BOM)
