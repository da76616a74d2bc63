"""The outbox's tables and its one transaction. Used by the writer's thread alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import apsw
from simway_backbone import sqlite
from simway_protocol.messages import Range, RejectedRange

from simway_modem_client import ranges, rows
from simway_modem_client.deadletter import DeadLetterFile
from simway_modem_client.entries import Entry, decode_value

SCHEMA_VERSION = 1
JOURNAL_MAX_RANGES = 50_000
"""Ranges kept in the journal of what was acknowledged; in-order acknowledgement needs one."""
EPOCH_BYTES = 8

_SCHEMA = """
CREATE TABLE meta(
  epoch TEXT NOT NULL, next_seq INTEGER NOT NULL, bytes INTEGER NOT NULL,
  dropped_total INTEGER NOT NULL, rejected_total INTEGER NOT NULL, logged_total INTEGER NOT NULL);
CREATE TABLE readings(
  seq INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, sensor TEXT NOT NULL, value BLOB NOT NULL, unit TEXT, size INTEGER NOT NULL);
CREATE TABLE dropped(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE acknowledged(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, outcome TEXT NOT NULL);
"""


class OutboxStore:
    """One connection; one transaction a call of ``apply``."""

    def __init__(self, connection: apsw.Connection, random: Callable[[int], bytes], dead_letters: DeadLetterFile) -> None:
        self._db = connection
        self._dead_letters = dead_letters
        with sqlite.immediate(self._db):
            version = self._db.pragma("user_version")
            if version == 0:
                self._db.execute(_SCHEMA)
                self._db.execute("INSERT INTO meta VALUES(?, 1, 0, 0, 0, 0)", (random(EPOCH_BYTES).hex(),))
                self._db.pragma("user_version", SCHEMA_VERSION)
            elif version != SCHEMA_VERSION:
                raise sqlite.SqliteUnusable(
                    f"{connection.filename} has schema {version}, not {SCHEMA_VERSION}: use the program that wrote it"
                )
        self.epoch: str = rows.value(self._db, "SELECT epoch FROM meta")

    def waiting_bytes(self) -> int:
        """What waits, in bytes."""
        return int(rows.value(self._db, "SELECT bytes FROM meta"))

    def dropped_total(self) -> int:
        """Readings that the full outbox ever gave up."""
        return int(rows.value(self._db, "SELECT dropped_total FROM meta"))

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def apply(
        self,
        entries: Sequence[Entry],
        logged: Sequence[tuple[str, Range]],
        rejected: Sequence[tuple[str, RejectedRange]],
        *,
        max_bytes: int,
        now_us: int,
    ) -> tuple[int, int]:
        """Acknowledgements, then new readings, then the bound, in one transaction. Returns (bytes waiting, dropped ever)."""
        with sqlite.immediate(self._db):
            for epoch, window in logged:
                if epoch == self.epoch:
                    self._settle(window, "logged")
            for epoch, (first, last, reason) in rejected:
                if epoch == self.epoch:
                    self._bury((first, last), reason, now_us)
                    self._settle((first, last), "rejected")
            if entries:
                self._insert(entries)
                self._keep_bound(max_bytes)
            if logged or rejected:
                self._prune_journal()
            waiting_bytes, dropped_total = rows.first(self._db, "SELECT bytes, dropped_total FROM meta")
        return waiting_bytes, dropped_total

    def _insert(self, entries: Sequence[Entry]) -> None:
        first = int(rows.value(self._db, "SELECT next_seq FROM meta"))
        self._db.executemany(
            "INSERT INTO readings(seq, t_us, sensor, value, unit, size) VALUES(?, ?, ?, ?, ?, ?)",
            ((first + index, *entry) for index, entry in enumerate(entries)),
        )
        size = sum(entry.size_bytes for entry in entries)
        self._db.execute("UPDATE meta SET next_seq = next_seq + ?, bytes = bytes + ?", (len(entries), size))

    def _keep_bound(self, max_bytes: int) -> None:
        """Gives up the oldest readings until the rest fits; their numbers become dropped ranges."""
        excess = self.waiting_bytes() - max_bytes
        if excess <= 0:
            return
        given_up: list[int] = []
        freed = 0
        for seq, size in self._oldest():
            given_up.append(seq)
            freed += size
            if freed >= excess:
                break
        self._db.execute("DELETE FROM readings WHERE seq <= ?", (given_up[-1],))
        self._db.execute("UPDATE meta SET bytes = bytes - ?, dropped_total = dropped_total + ?", (freed, len(given_up)))
        self._replace_dropped(ranges.normalise([*self._dropped(), *ranges.runs(given_up)]))

    def _oldest(self) -> Iterator[tuple[int, int]]:
        """(sequence, size) from the oldest on, read in portions."""
        seq = 0
        while portion := rows.fetch(self._db, "SELECT seq, size FROM readings WHERE seq > ? ORDER BY seq LIMIT 1000", (seq,)):
            yield from portion
            seq = portion[-1][0]

    def _settle(self, window: Range, outcome: str) -> None:
        """Deletes what the window holds and journals it. Numbers that left before are not journaled twice."""
        settled = rows.fetch(self._db, "SELECT seq, size FROM readings WHERE seq BETWEEN ? AND ?", window)
        if settled:
            self._db.execute("DELETE FROM readings WHERE seq BETWEEN ? AND ?", window)
            self._db.execute("UPDATE meta SET bytes = bytes - ?", (sum(row[1] for row in settled),))
            column = "logged_total" if outcome == "logged" else "rejected_total"
            self._db.execute(f"UPDATE meta SET {column} = {column} + ?", (len(settled),))
            for run in ranges.runs(row[0] for row in settled):
                self._journal(run, outcome)
        dropped = self._dropped()
        gone = ranges.intersect(dropped, window)
        if gone:
            self._replace_dropped(ranges.subtract(dropped, gone))
            for run in gone:
                self._journal(run, "dropped")

    def _bury(self, window: Range, reason: str, now_us: int) -> None:
        """Before the rows go: after a crash in between a line is there twice, never not at all."""
        columns = "seq, sensor, t_us, value, unit"
        buried = rows.fetch(self._db, f"SELECT {columns} FROM readings WHERE seq BETWEEN ? AND ?", window)
        self._dead_letters.append(
            {
                "reason": reason, "rejected_us": now_us, "epoch": self.epoch, "seq": seq,
                "sensor": sensor, "t_us": t_us, "value": decode_value(value), "unit": unit,
            }
            for seq, sensor, t_us, value, unit in buried
        )  # fmt: skip

    def _journal(self, run: Range, outcome: str) -> None:
        """Adds a range, joined with neighbours of the same outcome."""
        first, last = run
        before = self._db.execute(
            "SELECT first, last, outcome FROM acknowledged WHERE first < ? ORDER BY first DESC LIMIT 1", (first,)
        ).fetchone()
        after = self._db.execute("SELECT last FROM acknowledged WHERE first = ? AND outcome = ?", (last + 1, outcome)).fetchone()
        if after:
            self._db.execute("DELETE FROM acknowledged WHERE first = ?", (last + 1,))
            last = after[0]
        if before and before[1:] == (first - 1, outcome):
            self._db.execute("UPDATE acknowledged SET last = ? WHERE first = ?", (last, before[0]))
        else:
            self._db.execute("INSERT INTO acknowledged VALUES(?, ?, ?)", (first, last, outcome))

    def _prune_journal(self) -> None:
        count = int(rows.value(self._db, "SELECT count(*) FROM acknowledged"))
        if count > JOURNAL_MAX_RANGES:
            self._db.execute(
                "DELETE FROM acknowledged WHERE first IN (SELECT first FROM acknowledged ORDER BY first LIMIT ?)",
                (count - JOURNAL_MAX_RANGES,),
            )

    def _dropped(self) -> list[Range]:
        return [(row[0], row[1]) for row in rows.fetch(self._db, "SELECT first, last FROM dropped ORDER BY first")]

    def _replace_dropped(self, kept: list[Range]) -> None:
        self._db.execute("DELETE FROM dropped")
        self._db.executemany("INSERT INTO dropped VALUES(?, ?)", kept)
