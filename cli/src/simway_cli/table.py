"""Tables that fit a terminal. Pure: rows in, lines out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
KEEP_CHARS = 8
"""A column that gives way keeps so many before others are left out for it."""
LEAST_CHARS = 3
CUT = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """``gives``: it may be cut when the table is too wide; ``spare``: it may be left out, those with the highest number first."""

    title: str
    right: bool = False
    gives: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with a colour, by a name that ``Style`` knows."""

    text: str
    colour: str = ""


Row = Sequence[str | Cell]


class Style:
    """Colours of a terminal (ECMA-48, SGR), or none."""

    _CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}  # noqa: RUF012

    def __init__(self, on: bool) -> None:
        self.on = on

    def paint(self, text: str, colour: str) -> str:
        """``text`` in a colour, where colours are on."""
        return f"\x1b[{self._CODES[colour]}m{text}\x1b[0m" if self.on and colour and text else text


def clean(text: str) -> str:
    """``text`` without what would move a cursor or colour a screen: devices choose their names and values themselves."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}" for char in text
    )


def width_of(text: str) -> int:
    """Columns of a terminal that ``text`` takes (Unicode, UAX 11: wide characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns; what is cut ends with an ellipsis."""
    if width_of(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += width_of(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + CUT


def render(columns: Sequence[Column], rows: Sequence[Row], *, width: int | None, style: Style) -> list[str]:
    """The lines of a table, head first. ``width``: of the terminal; None for as wide as it is."""
    cells = [[item if isinstance(item, Cell) else Cell(item) for item in row] for row in rows]
    cells = [[Cell(clean(item.text), item.colour) for item in row] for row in cells]
    wide = [max([width_of(column.title), *(width_of(row[at].text) for row in cells)]) for at, column in enumerate(columns)]
    shown, widths = _fit(columns, wide, width)
    head = [Cell(columns[at].title, "bold") for at in shown]
    lines = [_line(columns, shown, widths, head, style)]
    return lines + [_line(columns, shown, widths, [row[at] for at in shown], style) for row in cells]


def _fit(columns: Sequence[Column], wide: list[int], width: int | None) -> tuple[list[int], list[int]]:
    shown = list(range(len(columns)))
    if width is None:
        return shown, wide
    while True:
        widths = _squeeze([wide[at] for at in shown], [columns[at].gives for at in shown], width, KEEP_CHARS)
        spare = max((columns[at].spare for at in shown), default=0)
        if _total(widths) <= width or not spare:
            break
        shown = [at for at in shown if columns[at].spare != spare]
    if _total(widths) > width:
        widths = _squeeze(widths, [True] * len(widths), width, LEAST_CHARS)
    return shown, widths


def _squeeze(widths: list[int], gives: list[bool], width: int, least: int) -> list[int]:
    widths = list(widths)
    while (over := _total(widths) - width) > 0:
        able = [at for at, may in enumerate(gives) if may and widths[at] > least]
        if not able:
            break
        widest = max(able, key=lambda at: widths[at])
        next_widest = max((widths[at] for at in able if at != widest), default=least)
        widths[widest] = max(least, widths[widest] - over, min(next_widest, widths[widest] - 1))
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * max(0, len(widths) - 1)


def _line(columns: Sequence[Column], shown: list[int], widths: list[int], row: Sequence[Cell], style: Style) -> str:
    parts = []
    for at, room, cell in zip(shown, widths, row, strict=True):
        text = cut(cell.text, room)
        pad = " " * (room - width_of(text))
        painted = style.paint(text, cell.colour)
        parts.append(pad + painted if columns[at].right else painted + pad)
    return GAP.join(parts).rstrip()
