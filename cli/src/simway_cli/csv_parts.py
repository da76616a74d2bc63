"""A CSV file in parts that can be sent one by one (RFC 4180: a quoted field may hold line ends). Pure but for reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

PART_BYTES = 8 * 2**20
HEADER_MAX_BYTES = 4_000
LINE_MAX_BYTES = 2**20


class Part(NamedTuple):
    """Whole records. ``first_line``: number of its first line in the file, from 1; ``header``: empty for the part that has it."""

    data: bytes
    first_line: int
    header: str
    last: bool


def parts(lines: Iterable[bytes], part_bytes: int = PART_BYTES) -> Iterator[Part]:
    """Splits ``lines`` (each with its line end) where a record ends, at ``part_bytes`` or soon after; at twice as many wherever a
    line ends, since a quote that nobody closes must not gather the whole file. Raises ``ValueError`` for a line too long.
    """
    gathered, size, quotes = list[bytes](), 0, 0
    first_line, header = 1, ""
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX_BYTES:
            raise ValueError(f"line {number} is longer than {LINE_MAX_BYTES} bytes")
        if size >= part_bytes and (quotes % 2 == 0 or size >= 2 * part_bytes):
            yield Part(b"".join(gathered), first_line, header, False)
            header = header or _header(gathered[0])
            gathered, size, quotes, first_line = [], 0, 0, number
        gathered.append(line)
        size += len(line)
        quotes += line.count(b'"')
    yield Part(b"".join(gathered), first_line, header, True)


def _header(line: bytes) -> str:
    if len(line) > HEADER_MAX_BYTES:
        raise ValueError(f"its header is longer than {HEADER_MAX_BYTES} bytes, which a file of this size must not have")
    return line.decode("utf-8-sig", "replace").rstrip("\r\n")


def bounded_lines(file: object) -> Iterator[bytes]:
    """Lines of a binary file; none is read further than a byte beyond ``LINE_MAX_BYTES``."""
    readline = file.readline  # type: ignore[attr-defined]
    while line := readline(LINE_MAX_BYTES + 1):
        yield line
