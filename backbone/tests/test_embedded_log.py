"""What only the embedded log has: the disk below it, several processes, segments and retention."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import apsw
import msgspec
import pytest
from simway_backbone import sqlite
from simway_backbone.embedded_log import EmbeddedLog
from simway_backbone.embedded_segments import CATALOG, TopicFiles
from simway_backbone.log import LogDamaged, LogUnavailable, OffsetGone, Record
from simway_protocol.topics import TOPICS

WAIT_S = 20.0
PARTITIONS = 3
TOPIC = msgspec.structs.replace(TOPICS["uplink"], name="t", partitions=PARTITIONS, retention_s=3600)
TOPICS_HERE = MappingProxyType({"t": TOPIC})
START = dict.fromkeys(range(PARTITIONS), 0)


class Disk(apsw.VFS):
    """The file system below SQLite, watched and made to fail."""

    def __init__(self) -> None:
        super().__init__("watched", "unix", makedefault=True)
        self.syncs: list[str] = []
        self.write_error: type[Exception] | None = None
        self.sync_error: type[Exception] | None = None

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk, self._name = disk, name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:
        if self._disk.sync_error:
            raise self._disk.sync_error("made to fail")
        super().xSync(flags)
        self._disk.syncs.append(Path(self._name).name)

    def xWrite(self, data: Any, offset: int) -> None:
        if self._disk.write_error:
            raise self._disk.write_error("made to fail")
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    before = apsw.vfs_names()[0]
    disk = Disk()
    yield disk
    apsw.set_default_vfs(before)
    disk.unregister()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def open_here(folder: Path, **options: Any) -> EmbeddedLog:
    log = EmbeddedLog(folder, topics=TOPICS_HERE, **options)
    log.ensure_topics()
    return log


def read_all(log: EmbeddedLog, positions: dict[int, int] | None = None) -> list[Record]:
    reader = log.reader("t", positions or START)
    found: list[Record] = []
    while some := reader.poll(0):
        found += some
    reader.close()
    return found


def roll(log: EmbeddedLog, folder: Path) -> None:
    """Closes the newest segment, as its size or age would."""
    files = TopicFiles(folder, "t")
    segment = files.open_newest()
    assert files.roll(segment)
    segment.close()


def age(folder: Path, number: int, seconds: float) -> None:
    """Makes what a segment holds older."""
    db = sqlite.connect(TopicFiles(folder, "t").path(number))
    db.execute("UPDATE records SET appended_us = appended_us - ?", (int(seconds * 1e6),))
    db.close()


def test_each_acknowledgement_comes_after_its_sync(disk: Disk, folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"first")]).result(WAIT_S)
    for number in range(20):
        disk.syncs.clear()
        seen: list[int] = []
        future = log.append("t", number % PARTITIONS, [(None, b"x" * 3000)] * 3)
        future.add_done_callback(lambda _, seen=seen: seen.append(disk.syncs.count("t-00000001.db-wal")))
        future.result(WAIT_S)
        assert seen[0] >= 1
    log.close()


def test_appends_that_wait_together_share_one_sync(disk: Disk, folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"first")]).result(WAIT_S)
    blocker = sqlite.connect(TopicFiles(folder, "t").path(1))
    blocker.execute("BEGIN IMMEDIATE")
    futures = [log.append("t", 0, [(None, b"waits for the lock")])]
    futures += [log.append("t", number % PARTITIONS, [(None, b"%d" % number)]) for number in range(60)]
    disk.syncs.clear()
    blocker.execute("ROLLBACK")
    for future in futures:
        future.result(WAIT_S)
    assert len(disk.syncs) <= 3
    blocker.close()
    log.close()


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [("write_error", apsw.FullError, "disk .* is full .* make room"), ("sync_error", apsw.IOError, "check the disk")],
)
def test_a_failing_disk_is_unavailable_and_then_all_goes_on(
    disk: Disk, folder: Path, what: str, error: type[Exception], says: str
) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"before")]).result(WAIT_S)
    setattr(disk, what, error)
    failed = [log.append("t", 0, [(None, b"x" * 50_000)]) for _ in range(3)]
    for future in failed:
        with pytest.raises(LogUnavailable, match=says):
            future.result(WAIT_S)
    setattr(disk, what, None)
    offset = log.append("t", 0, [(None, b"after")]).result(WAIT_S)
    log.close()
    found = read_all(open_here(folder))
    assert (found[0].value, found[-1].value, found[-1].offset) == (b"before", b"after", offset)


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_embedded_log import open_here
log = open_here(Path(sys.argv[1]))
mark, number = sys.argv[3].encode(), 0
while True:
    waiting = [(number + i, log.append("t", i % 3, [(None, b"%s %d" % (mark, number + i))])) for i in range(9)]
    for number, future in waiting:
        sys.stdout.write(f"{number} {future.result(20)}\\n")
    sys.stdout.flush()
    number += 1
"""


def start_writer(folder: Path, mark: str) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(folder), here, mark], stdout=subprocess.PIPE, text=True)


def test_two_processes_append_while_one_reads_and_kill_9_loses_nothing_acknowledged(folder: Path) -> None:
    log = open_here(folder)
    reader = log.reader("t", START)
    writers = {mark: start_writer(folder, mark) for mark in ("a", "b")}
    found: list[Record] = []
    deadline_s = time.monotonic() + WAIT_S
    while min(sum(record.value.startswith(mark.encode()) for record in found) for mark in writers) < 300:
        assert time.monotonic() < deadline_s
        found += reader.poll(0.1)
    for writer in writers.values():
        writer.send_signal(signal.SIGKILL)
    acknowledged = {}
    for mark, writer in writers.items():
        out, _ = writer.communicate()
        for text in out.splitlines()[:-1]:
            number, offset = text.split()
            acknowledged[f"{mark} {number}".encode()] = int(offset)
    while some := reader.poll(0.2):
        found += some
    there = {record.value: record.offset for record in found}
    assert len(there) == len(found)
    assert acknowledged
    assert {value: there.get(value) for value in acknowledged} == acknowledged
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in found if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    reader.close()
    log.close()


def test_an_append_of_many_records_is_one_transaction(folder: Path) -> None:
    log = open_here(folder)
    for _ in range(2):
        log.append("t", 1, [(None, b"%d" % number) for number in range(1000)]).result(WAIT_S)
    found = read_all(log)
    assert [record.offset for record in found] == list(range(2000))
    assert [record.value for record in found] == [b"%d" % number for number in range(1000)] * 2
    assert len({record.appended_us for record in found[:200]}) == 1
    log.close()


def test_two_logs_on_one_folder_take_turns(folder: Path) -> None:
    one, two = open_here(folder), open_here(folder)
    offsets = [log.append("t", 0, [(None, b"x")]).result(WAIT_S) for _ in range(150) for log in (one, two)]
    assert offsets == list(range(300))
    one.close()
    two.close()


def test_a_reader_goes_through_the_segments(folder: Path) -> None:
    log = open_here(folder)
    reader = log.reader("t", START)
    for number in range(4):
        log.append("t", number % PARTITIONS, [(None, b"%d" % number)] * 2).result(WAIT_S)
        roll(log, folder)
    values = [b"%d" % number for number in range(4) for _ in range(2)]
    assert [record.value for record in read_all(log)] == values
    found: list[Record] = []
    while some := reader.poll(0, max_records=3):
        found += some
    assert [record.value for record in found] == values
    log.append("t", 1, [(None, b"new")]).result(WAIT_S)
    assert [record.value for record in reader.poll(WAIT_S)] == [b"new"]
    assert [record.value for record in read_all(log, {0: 3, 1: 2, 2: 0})] == [b"2", b"2", b"3", b"new"]
    reader.close()
    log.close()


def test_retention_drops_files_then_offsets_are_gone_and_never_come_again(folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"old")] * 5).result(WAIT_S)
    roll(log, folder)
    log.append("t", 1, [(None, b"kept")]).result(WAIT_S)
    roll(log, folder)
    log.append("t", 0, [(None, b"new")]).result(WAIT_S)
    log.close()
    age(folder, 1, 3700)
    log = open_here(folder)
    assert TopicFiles(folder, "t").numbers() == [2, 3]
    assert not list(folder.glob("t-00000001*"))
    assert log.bounds("t") == {0: (5, 6), 1: (0, 1), 2: (0, 0)}
    reader = log.reader("t", START)
    with pytest.raises(OffsetGone) as gone:
        reader.poll(0)
    assert (gone.value.partition, gone.value.wanted, gone.value.earliest, gone.value.end) == (0, 0, 5, 6)
    reader.seek(0, gone.value.earliest)
    assert sorted(record.value for record in reader.poll(WAIT_S) + reader.poll(0)) == [b"kept", b"new"]
    age(folder, 2, 3700)
    age(folder, 3, 3700)
    roll(log, folder)
    log.apply_retention()
    assert TopicFiles(folder, "t").numbers() == [4]
    assert log.bounds("t") == {0: (6, 6), 1: (1, 1), 2: (0, 0)}
    assert log.append("t", 0, [(None, b"next")]).result(WAIT_S) == 6
    reader.close()
    log.close()


def test_a_reader_at_the_end_is_not_troubled_by_retention(folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"x")]).result(WAIT_S)
    reader = log.reader("t", START)
    assert len(reader.poll(WAIT_S)) == 1
    roll(log, folder)
    age(folder, 1, 3700)
    log.apply_retention()
    log.append("t", 2, [(None, b"y")]).result(WAIT_S)
    assert [(record.partition, record.offset) for record in reader.poll(WAIT_S)] == [(2, 0)]
    reader.close()
    log.close()


def test_a_large_or_old_segment_is_closed_by_the_writer(folder: Path) -> None:
    log = open_here(folder, segment_max_bytes=200_000, maintain_every_s=0.01)
    log.append("t", 0, [(None, b"x" * 300_000)]).result(WAIT_S)
    deadline_s = time.monotonic() + WAIT_S
    while TopicFiles(folder, "t").numbers() != [1, 2]:
        assert time.monotonic() < deadline_s
        log.append("t", 0, [(None, b"y")]).result(WAIT_S)
    log.append("t", 0, [(None, b"z")]).result(WAIT_S)
    assert read_all(log)[-1].value == b"z"
    log.close()


def test_an_interrupted_roll_is_done_again(folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"x")]).result(WAIT_S)
    files = TopicFiles(folder, "t")
    files.make(2, dict.fromkeys(range(PARTITIONS), 99), compacted=False)
    log.append("t", 0, [(None, b"y")]).result(WAIT_S)
    log.close()
    log = open_here(folder)
    assert log.bounds("t")[0] == (0, 2)
    assert [record.value for record in read_all(log)] == [b"x", b"y"]
    roll(log, folder)
    assert log.append("t", 0, [(None, b"z")]).result(WAIT_S) == 2
    log.close()


def test_identity_stays_and_a_new_log_has_another(folder: Path, tmp_path: Path) -> None:
    log = open_here(folder)
    first = log.identity("t")
    log.close()
    assert open_here(folder).identity("t") == first
    assert open_here(tmp_path / "other").identity("t") != first


DAMAGES = (lambda data: os.urandom(4096) + data[4096:], lambda data: data[:4096] + bytes(len(data) - 4096), lambda data: b"")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_named(folder: Path, damage: Any) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"x" * 20_000)]).result(WAIT_S)
    log.close()
    path = TopicFiles(folder, "t").path(1)
    path.write_bytes(damage(path.read_bytes()))
    log = EmbeddedLog(folder, topics=TOPICS_HERE)
    with pytest.raises(LogUnavailable, match=r"t-00000001\.db"):
        log.append("t", 0, [(None, b"y")]).result(WAIT_S)
    with pytest.raises(LogUnavailable, match=r"t-00000001\.db"):
        log.reader("t", START).poll(0)
    log.close()


def test_a_missing_newest_segment_is_named(folder: Path) -> None:
    log = open_here(folder)
    roll(log, folder)
    TopicFiles(folder, "t").path(2).unlink()
    with pytest.raises(LogDamaged, match=r"t-00000002\.db is missing"):
        log.append("t", 0, [(None, b"x")]).result(WAIT_S)
    log.close()


def test_a_lost_catalog_does_not_cost_the_records(folder: Path) -> None:
    log = open_here(folder)
    log.append("t", 0, [(None, b"x")]).result(WAIT_S)
    log.close()
    (folder / CATALOG).unlink()
    with pytest.raises(LogDamaged, match=r"t-00000001\.db holds records.*restore log\.db"):
        open_here(folder)


def test_an_interrupted_first_start_is_done_again(folder: Path) -> None:
    folder.mkdir()
    TopicFiles(folder, "t").path(1).write_bytes(b"")
    log = open_here(folder)
    assert log.append("t", 0, [(None, b"x")]).result(WAIT_S) == 0
    log.close()


def test_a_log_that_is_not_there_says_how_to_make_it(folder: Path) -> None:
    log = EmbeddedLog(folder, topics=TOPICS_HERE)
    with pytest.raises(LogUnavailable, match="init"):
        log.identity("t")
    with pytest.raises(LogUnavailable, match="init"):
        log.append("t", 0, [(None, b"x")]).result(WAIT_S)
    assert not (folder / CATALOG).exists()


def test_partitions_stay_as_they_were_made(folder: Path) -> None:
    open_here(folder).close()
    more = MappingProxyType({"t": msgspec.structs.replace(TOPIC, partitions=9)})
    log = EmbeddedLog(folder, topics=more)
    log.ensure_topics()
    assert log.partitions("t") == PARTITIONS


def test_too_much_waiting_fails_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_backbone.embedded_log.WAITING_MAX_BYTES", 1000)
    log = open_here(folder)
    with pytest.raises(LogUnavailable, match="wait for the disk"):
        log.append("t", 0, [(None, b"x" * 2000)]).result(0)
    log.close()
