"""Rows into ``readings``, each judged: stored, duplicate, conflict, or refused by the database (design, section 7).

The usual batch goes straight into the table. Only when a key is taken are the rows that are there looked up; only when the
database refuses a row is the batch halved until that row stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from operator import itemgetter

from sqlalchemy import Connection

from simway_flask_app.store.bulk import Bulk, Key, KeyTaken, RowsRefused
from simway_flask_app.store.values import Row, same

_series = itemgetter(0)


class Oddity(Enum):
    """What became of a row that was not stored."""

    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Placer:
    """Places batches of rows. It remembers whether keys collided lately, and then looks before it leaps."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._careful = False

    def place(self, connection: Connection, rows: Sequence[Row]) -> dict[int, tuple[Oddity, str]]:
        """Inserts what can be; gives the rest by index, with a detail for people."""
        odd: dict[int, tuple[Oddity, str]] = {}
        if not rows:
            return odd
        if self._careful:
            self._judge(connection, range(len(rows)), rows, odd)
        else:
            self._place(connection, range(len(rows)), rows, odd)
        self._careful = any(oddity is not Oddity.REFUSED for oddity, _ in odd.values())
        return odd

    def _place(
        self, connection: Connection, indexes: Sequence[int], rows: Sequence[Row], odd: dict[int, tuple[Oddity, str]]
    ) -> None:
        try:
            self._insert(connection, rows)
        except KeyTaken:
            self._judge(connection, indexes, rows, odd)
        except RowsRefused as error:
            self._halve(connection, indexes, rows, odd, error)

    def _halve(
        self, connection: Connection, indexes: Sequence[int], rows: Sequence[Row], odd: dict[int, tuple[Oddity, str]],
        error: RowsRefused,
    ) -> None:  # fmt: skip
        if len(rows) == 1:
            odd[indexes[0]] = (Oddity.REFUSED, str(error))
            return
        half = len(rows) // 2
        self._place(connection, indexes[:half], rows[:half], odd)
        self._place(connection, indexes[half:], rows[half:], odd)

    def _judge(
        self, connection: Connection, indexes: Sequence[int], rows: Sequence[Row], odd: dict[int, tuple[Oddity, str]]
    ) -> None:
        """Of rows with one key the first is tried; what is there, or came first, is what the others are held against."""
        tried: dict[Key, int] = {}
        for index, row in enumerate(rows):
            tried.setdefault((row[0], row[1]), index)
        try:
            taken = self._bulk.insert_absent(connection, [rows[index] for index in sorted(tried.values(), key=rows.__getitem__)])
            held = self._bulk.existing(connection, sorted(taken)) if taken else {}
        except RowsRefused as error:
            self._halve(connection, indexes, rows, odd, error)
            return
        for place, (index, row) in enumerate(zip(indexes, rows, strict=True)):
            key, holds = (row[0], row[1]), (row[2:5], row[5])
            if key not in taken and tried[key] == place:
                continue
            first = rows[tried[key]]
            there = held.get(key, (first[2:5], first[5]))
            if same(there[0], holds[0]) and there[1] == holds[1]:
                odd[index] = (Oddity.DUPLICATE, "")
            else:
                odd[index] = (Oddity.CONFLICT, "another value of this sensor and time was stored first")

    def _insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """In the order of the series, each in that of arrival, which mostly is that of time: so near the key's order."""
        self._bulk.insert(connection, sorted(rows, key=_series))
