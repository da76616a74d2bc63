"""Where a run writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from simway_cli.table import Cell, Column, Row, Style, clean, cut, render, width_of

PROGRESS_EVERY_S = 0.2
WIDTH_DEFAULT = 80
COLOURS = {
    "VERIFIED": "green", "EXECUTED": "green", "ROLLED_BACK": "red", "FAILED": "red", "EXPIRED": "red", "CANCELLED": "yellow",
    "UNKNOWN": "yellow", "active": "green", "revoked": "red", "critical": "red", "warning": "yellow",
}  # fmt: skip
"""States and other words that are coloured wherever they stand alone."""


class Screen:
    """One run's output. ``width``: None where no terminal has to be fitted."""

    def __init__(self, out: TextIO, err: TextIO, *, json_: bool, colour: bool, colour_err: bool, width: int | None) -> None:
        self.out, self.err, self.json_, self.width = out, err, json_, width
        self._last_notes: list[str] = []
        self.style, self.err_style = Style(colour), Style(colour_err)

    def line(self, text: str = "") -> None:
        """One line of the result, flushed: who follows wants it now."""
        self.out.write(text + "\n")
        self.out.flush()

    def paint(self, text: str, colour: str) -> str:
        return self.style.paint(text, colour)

    def table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """A table with its head; the whole of it is needed to know the widths."""
        self.out.write("\n".join(render(columns, rows, width=self.width, style=self.style)) + "\n")
        self.out.flush()

    def facts(self, facts: Mapping[str, str | Cell | None]) -> None:
        """Names and values, one a line; None is left out."""
        kept = {name: value if isinstance(value, Cell) else Cell(value) for name, value in facts.items() if value is not None}
        room = max(map(len, kept), default=0)
        for name, cell in kept.items():
            text = clean(cell.text)
            text = text if self.width is None else cut(text, max(20, self.width - room - 2))
            self.line(f"{self.paint(name.ljust(room), 'dim')}  {self.paint(text, cell.colour)}")

    def document(self, body: Any) -> None:
        """One JSON document: the API's answer, its names and units."""
        self.line(json.dumps(body, ensure_ascii=False, indent=2))

    def cut_note(self, count: int, more: bool, which: str = "newest") -> None:
        """At the end, says on standard error that a list was cut: to programs too."""
        if more:
            self._last_notes.append(f"The {which} {count}; --limit 0 gives all.")

    def finish(self) -> None:
        """What is said at the end."""
        for text in self._last_notes:
            self.note(text)
        self.out.flush()

    def record(self, body: Any) -> None:
        """One JSON object on a line of its own: for streams."""
        self.line(json.dumps(body, ensure_ascii=False, separators=(",", ":")))

    def note(self, text: str) -> None:
        """A remark beside the result, on standard error."""
        self.err.write(self.err_style.paint(clean(text), "dim") + "\n")
        self.err.flush()


def state(word: str) -> Cell:
    """A cell in the colour of its word."""
    return Cell(word, COLOURS.get(word, ""))


class Progress:
    """A line on a terminal that is written over and over; silent elsewhere. ``total``: 0 where nobody knows it."""

    def __init__(self, screen: Screen, name: str, total: int = 0) -> None:
        self._err, self._name, self._total = screen.err, name, total
        self._on = screen.err.isatty()
        self._began = time.monotonic()
        self._next = self._began + PROGRESS_EVERY_S
        self.done = 0
        self._width = 0

    def add(self, count_bytes: int) -> None:
        """So many bytes more."""
        self.done += count_bytes
        if self._on and time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_EVERY_S
            self._write(self._text())

    def end(self) -> None:
        """Takes the line away."""
        if self._width:
            self._write("")
            self._err.write("\r")
            self._err.flush()

    def _text(self) -> str:
        rate = self.done / max(1e-6, time.monotonic() - self._began)
        share = f" ({100 * self.done // self._total} %)" if self._total else ""
        return f"{self._name}: {size_text(self.done)}{share}, {size_text(int(rate))}/s"

    def _write(self, text: str) -> None:
        self._err.write("\r" + text.ljust(self._width))
        self._err.flush()
        self._width = max(self._width, width_of(text))


def size_text(count_bytes: int) -> str:
    """``512 B``, ``1.5 KiB``, ``20.0 MiB``."""
    size = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def screen_for(out: TextIO, err: TextIO, environ: Mapping[str, str], *, json_: bool, colour: str) -> Screen:
    """A screen as the streams and the environment want it. ``colour``: auto, always or never (NO_COLOR: https://no-color.org)."""
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    out_on, err_on = ((stream.isatty() and not plain) if colour == "auto" else colour == "always" for stream in (out, err))
    width = _width(out, environ)
    return Screen(out, err, json_=json_, colour=out_on, colour_err=err_on, width=width)


def _width(out: TextIO, environ: Mapping[str, str]) -> int | None:
    given = environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    if not out.isatty():
        return None
    try:
        return os.get_terminal_size(out.fileno()).columns or WIDTH_DEFAULT
    except (OSError, ValueError):
        return WIDTH_DEFAULT


def to_nowhere(stream: TextIO) -> None:
    """Points a stream whose reader is gone to nowhere, so that the interpreter's last flush does not fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return
