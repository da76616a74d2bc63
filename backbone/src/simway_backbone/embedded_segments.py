"""The files of the embedded log: one folder, a catalog, and for each topic a row of segment files (SQLite, WAL).

``log.db`` is the catalog: the log's identity, and each topic with its partitions as they were fixed when it was made.
``<topic>-00000001.db`` and so on are segments. A segment holds ``records``, in order of ``seq``, and ``bases``: for each
partition the offset that its first record here has. The newest segment takes appends; it is closed for good (``state.closed``)
in the transaction that lets the next one begin. Numbers and offsets never come again. Retention removes whole closed files, the
oldest first.

Making the next segment: holding the write lock of the last one, make the file with its bases, sync it, then commit ``closed``.
A crash between leaves a file that nobody used, for its predecessor is not closed: it is made anew. So the newest segment *in
use* is the first that is not closed.
"""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw
from simway_protocol.topics import Topic

from simway_backbone import sqlite
from simway_backbone.log import LogDamaged, LogUnavailable

CATALOG = "log.db"
LEFT_OVER_MAX_BYTES = 65_536
ROOM_MIN_BYTES = 65_536
"""Less than this is a full disk: readers alone need 32 KiB."""
FORMAT = 1
"""``user_version`` of catalog and segments."""

_CATALOG_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, made_us INTEGER NOT NULL) WITHOUT ROWID;
"""
_SEGMENT_SCHEMA = """
CREATE TABLE state (closed INTEGER NOT NULL, made_us INTEGER NOT NULL);
CREATE TABLE bases (partition INTEGER PRIMARY KEY, "offset" INTEGER NOT NULL);
CREATE TABLE records (seq INTEGER PRIMARY KEY AUTOINCREMENT, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
                      appended_us INTEGER NOT NULL, key BLOB, value BLOB NOT NULL);
CREATE UNIQUE INDEX records_by_offset ON records (partition, "offset");
"""
_BY_KEY = "CREATE INDEX records_by_key ON records (key)"
_HEADS = """SELECT partition, coalesce((SELECT max("offset") + 1 FROM records WHERE partition = bases.partition), "offset")
            FROM bases ORDER BY partition"""

Offsets = dict[int, int]
"""Partition to offset."""


class SegmentMissing(Exception):
    """A segment file is not there (retention took it, or it was not made yet)."""


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into the log's, naming the file and what to do."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise LogDamaged(
            f"{path} is damaged ({error}); stop the services, then restore it from a backup, or move it away to lose what it held"
        ) from error
    except apsw.FullError as error:
        raise _full(path, error) from error
    except apsw.BusyError as error:
        raise LogUnavailable(f"{path} stayed locked by another process ({error})") from error
    except sqlite.SqliteUnusable as error:
        raise (LogDamaged if "not an SQLite database" in str(error) else LogUnavailable)(str(error)) from error
    except (apsw.Error, OSError) as error:
        if _has_no_room(path):
            raise _full(path, error) from error
        raise LogUnavailable(f"{path}: {error}; check the disk and the file's permissions") from error


def _full(path: Path, error: Exception) -> LogUnavailable:
    return LogUnavailable(f"the disk with {path} is full ({error}); make room, or lower the retention of the log")


def _has_no_room(path: Path) -> bool:
    """SQLite tells a full disk as an I/O error where it cannot even make the file that its readers share."""
    try:
        return shutil.disk_usage(path.parent).free < ROOM_MIN_BYTES
    except OSError:
        return False


class Segment:
    """One open segment file. One thread uses it at a time."""

    def __init__(self, path: Path, number: int) -> None:
        """Opens what is there; ``SegmentMissing`` when it is not."""
        self.path, self.wal_path, self.number = path, f"{path}-wal", number
        if not path.exists():
            raise SegmentMissing(path.name)
        with readable_errors(path):
            try:
                self.db = sqlite.connect(path, create=False)
            except sqlite.SqliteUnusable:
                if not path.exists():
                    raise SegmentMissing(path.name) from None
                raise
            if self.db.pragma("user_version") != FORMAT:
                raise LogDamaged(f"{path} has format {self.db.pragma('user_version')}, not {FORMAT}: restore it from a backup")
            self.bases: Offsets = dict(sqlite.rows(self.db, 'SELECT partition, "offset" FROM bases'))

    def closed(self) -> bool:
        """True when no further record will ever come into this segment."""
        return bool(sqlite.value(self.db, "SELECT closed FROM state"))

    def heads(self) -> Offsets:
        """The offset that the next record of each partition gets."""
        return dict(sqlite.rows(self.db, _HEADS))

    def close(self) -> None:
        """Closes the file. SQLite may write on closing: that a failing disk refuses this changes nothing."""
        with suppress(apsw.Error, OSError):
            self.db.close(True)


class TopicFiles:
    """The segments of one topic in one folder."""

    def __init__(self, folder: Path, topic: str) -> None:
        self.folder, self.topic = folder, topic
        self._pattern = re.compile(re.escape(topic) + r"-(\d{8,})\.db")

    def numbers(self) -> list[int]:
        """The numbers of the segment files that are there, ascending."""
        found = (self._pattern.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, number: int) -> Path:
        """Where a segment lies."""
        return self.folder / f"{self.topic}-{number:08d}.db"

    def open(self, number: int) -> Segment:
        """Opens one segment; ``SegmentMissing`` when it is not there."""
        return Segment(self.path(number), number)

    def open_newest(self) -> Segment:
        """Opens the segment that takes appends: the first that is not closed."""
        numbers = self.numbers()
        while numbers:
            for number in numbers[-2:]:
                try:
                    segment = self.open(number)
                except SegmentMissing:
                    continue
                if not segment.closed():
                    return segment
                segment.close()
            if (again := self.numbers()) == numbers:
                break
            numbers = again  # another process rolled while we looked
        name = self.path(numbers[-1] + 1 if numbers else 1)
        raise LogDamaged(f"{name} is missing: restore it from a backup, or move the whole folder away to begin a new log")

    def make(self, number: int, bases: Offsets, compacted: bool) -> None:
        """Makes a segment; it is durable when this returns. A file of this number was never in use: it is replaced."""
        path = self.path(number)
        remove_database(path)
        with readable_errors(path):
            db = sqlite.connect(path)
            try:
                with sqlite.immediate(db):
                    db.execute(_SEGMENT_SCHEMA)
                    if compacted:
                        db.execute(_BY_KEY)
                    db.execute("INSERT INTO state VALUES (0, ?)", (now_us(),))
                    db.executemany("INSERT INTO bases VALUES (?, ?)", bases.items())
                    db.pragma("user_version", FORMAT)
            finally:
                db.close()
            sqlite.sync_folder(self.folder)

    def roll(self, segment: Segment) -> bool:
        """Closes the newest segment and makes the next; False when another process was first."""
        with readable_errors(segment.path), sqlite.immediate(segment.db):
            if segment.closed():
                return False
            self.make(segment.number + 1, segment.heads(), compacted=False)
            segment.db.execute("UPDATE state SET closed = 1")
        return True

    def drop_expired(self, retention_s: float) -> list[int]:
        """Removes closed segments whose newest record is older than ``retention_s``, the oldest first; returns their numbers."""
        oldest_kept_us = now_us() - int(retention_s * 1e6)
        dropped: list[int] = []
        for number in self.numbers():
            try:
                segment = self.open(number)
            except SegmentMissing:
                continue
            with readable_errors(segment.path):
                closed = segment.closed()
                newest_us = sqlite.value(segment.db, "SELECT appended_us FROM records ORDER BY seq DESC LIMIT 1")
            segment.close()
            if not closed or (newest_us or 0) >= oldest_kept_us:
                break
            remove_database(self.path(number))
            dropped.append(number)
        return dropped

    def used_bytes(self, segment: Segment) -> int:
        """How large a segment is, without its WAL."""
        pages, size = segment.db.pragma("page_count"), segment.db.pragma("page_size")
        return int(pages) * int(size)


class Catalog:
    """``log.db``. Opened for each use: the uses are few, and no connection is left to hinder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / CATALOG

    def ensure(self, topics: dict[str, Topic]) -> None:
        """Makes the log, and the topics that it lacks. What is there stays as it is, its partitions too."""
        with readable_errors(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            db = sqlite.connect(self.path)
            try:
                with sqlite.immediate(db):
                    db.execute(_CATALOG_SCHEMA)
                    if not sqlite.rows(db, "SELECT id FROM log"):
                        db.execute("INSERT INTO log VALUES (?)", (uuid.uuid4().hex,))
                        db.pragma("user_version", FORMAT)
                    known = {name for (name,) in sqlite.rows(db, "SELECT name FROM topics")}
                    for name in topics.keys() - known:
                        self._refuse_to_overwrite(name)
                        bases = dict.fromkeys(range(topics[name].partitions), 0)
                        TopicFiles(self.folder, name).make(1, bases, topics[name].compacted)
                        db.execute("INSERT INTO topics VALUES (?, ?, ?)", (name, topics[name].partitions, now_us()))
            finally:
                db.close(True)

    def _refuse_to_overwrite(self, topic: str) -> None:
        """A segment of a topic that the catalog lacks is left over from a crash, and empty; else the catalog was lost."""
        files = TopicFiles(self.folder, topic)
        for number in files.numbers():
            path = files.path(number)
            try:
                with closing(files.open(number)) as segment:
                    is_left_over = number == 1 and not any(segment.heads().values())
            except LogDamaged:
                is_left_over = path.stat().st_size < LEFT_OVER_MAX_BYTES
            if not is_left_over:
                raise LogDamaged(f"{path} holds records, but {self.path} does not know {topic}: restore {self.path.name}")

    def read(self) -> tuple[str, dict[str, int]]:
        """The log's identity, and the partitions of each topic."""
        if not self.path.exists():
            raise LogUnavailable(f"there is no log in {self.folder} yet; start `init`, or call ensure_topics")
        with readable_errors(self.path):
            db = sqlite.connect(self.path, create=False)
            try:
                return sqlite.value(db, "SELECT id FROM log"), dict(sqlite.rows(db, "SELECT name, partitions FROM topics"))
            finally:
                db.close(True)


def remove_database(path: Path) -> None:
    """Removes a database file with its WAL. Who has it open reads on to its end; nobody can open it any more."""
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)


def now_us() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000
