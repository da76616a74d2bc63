"""The outbox against a model, through every order of puts, acknowledgements and restarts; and through a kill."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simway_modem_client import ranges
from simway_modem_client.deadletter import DeadLetterFile
from simway_modem_client.entries import make_entry
from simway_modem_client.outbox import Outbox, OutboxClosed
from simway_protocol.readings import Reading

T0 = 1_700_000_000_000_000


def entries(count: int, start: int = 0):
    return [make_entry("temperature", start + index, "Cel", t_us=T0 + start + index) for index in range(count)]


ENTRY_BYTES = make_entry("temperature", 5, "Cel", t_us=T0).size_bytes


def test_ids_are_given_once_and_survive_a_restart(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put(entries(3))
        assert outbox.flush()
        epoch = outbox.epoch
        assert [stored.seq for stored in outbox.read(1, 10)] == [1, 2, 3]
        outbox.acknowledge(epoch, [(1, 3)])
        assert outbox.flush()
    with Outbox(tmp_path / "outbox.db") as outbox:
        assert outbox.epoch == epoch
        outbox.put([make_entry("door", False, t_us=T0)])
        assert outbox.flush()
        assert outbox.read(1, 10) == [(4, Reading("door", T0, False, None))]
        assert outbox.acknowledged() == [(1, 3, "logged")]


def test_when_full_the_oldest_go_and_their_numbers_wait_for_acknowledgement(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db", max_bytes=5 * ENTRY_BYTES) as outbox:
        assert outbox.put(entries(5)) == 0
        assert outbox.flush()
        outbox.put(entries(3, start=5))
        assert outbox.flush()
        assert outbox.put(entries(0)) == 3, "the source is told how many went"
        assert outbox.put(entries(0)) == 0, "and told once"
        assert [stored.seq for stored in outbox.read(1, 10)] == [4, 5, 6, 7, 8]
        assert outbox.dropped() == [(1, 3)]
        outbox.acknowledge(outbox.epoch, [(1, 2), (4, 5)])
        assert outbox.flush()
        assert outbox.dropped() == [(3, 3)]
        assert outbox.acknowledged() == [(1, 2, "dropped"), (4, 5, "logged")]
        stats = outbox.stats()
        assert (stats.waiting, stats.dropped_total, stats.dropped_waiting, stats.logged_total) == (3, 3, 1, 2)


def test_a_batch_larger_than_the_outbox_keeps_its_newest(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db", max_bytes=2 * ENTRY_BYTES) as outbox:
        outbox.put(entries(6))
        assert outbox.flush()
        assert outbox.dropped() == [(1, 4)]
        assert [stored.seq for stored in outbox.read(1, 10)] == [5, 6]


def test_a_put_that_waits_for_room_drops_nothing(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db", max_bytes=2 * ENTRY_BYTES) as outbox:
        outbox.put(entries(2))
        entered = threading.Event()

        def wait_and_put() -> None:
            outbox.put(entries(1, start=2), wait_for_room=True)
            entered.set()

        source = threading.Thread(target=wait_and_put)
        source.start()
        assert outbox.flush()
        assert not entered.is_set()
        outbox.acknowledge(outbox.epoch, [(1, 1)])
        assert entered.wait(60)
        source.join()
        assert outbox.flush()
        assert outbox.dropped() == []
        assert [stored.seq for stored in outbox.read(1, 10)] == [2, 3]


def test_a_waiting_source_is_let_go_when_the_outbox_closes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=ENTRY_BYTES)
    outbox.put(entries(1))
    refused: list[Exception] = []

    def wait() -> None:
        try:
            outbox.put(entries(1), wait_for_room=True)
        except OutboxClosed as error:
            refused.append(error)

    source = threading.Thread(target=wait)
    source.start()
    outbox.interrupt()
    source.join(60)
    outbox.close()
    assert len(refused) == 1


def test_what_the_server_rejects_for_good_goes_to_the_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    with Outbox(tmp_path / "outbox.db", dead_letters=DeadLetterFile(path)) as outbox:
        outbox.put(entries(4))
        assert outbox.flush()
        outbox.acknowledge(outbox.epoch, [(1, 1)], [(2, 3, "too_old")])
        assert outbox.flush()
        assert [stored.seq for stored in outbox.read(1, 10)] == [4]
        assert outbox.acknowledged() == [(1, 1, "logged"), (2, 3, "rejected")]
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(letter["seq"], letter["reason"], letter["value"]) for letter in letters] == [(2, "too_old", 1), (3, "too_old", 2)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_dead_letter_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    letters = DeadLetterFile(path, max_bytes=1_000)
    for number in range(100):
        letters.append([{"number": number, "padding": "x" * 100}])
    files = list(tmp_path.iterdir())
    assert {file.name for file in files} <= {"dead.jsonl", "dead.jsonl.1"}
    assert sum(file.stat().st_size for file in files) < 2_500


def test_a_dead_letter_is_whole_though_the_disk_takes_it_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:7]))
    DeadLetterFile(tmp_path / "dead.jsonl").append([{"number": 1}, {"number": 2}])
    assert [json.loads(line)["number"] for line in (tmp_path / "dead.jsonl").read_text().splitlines()] == [1, 2]


def test_a_dead_letter_that_does_not_fit_raises_and_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    letters = DeadLetterFile(tmp_path / "dead.jsonl")
    letters.append([{"number": 1}])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            letters.append([{"number": 2}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    letters.append([{"number": 3}])
    assert [json.loads(line)["number"] for line in (tmp_path / "dead.jsonl").read_text().splitlines()] == [1, 3]


def test_an_acknowledgement_of_another_epoch_deletes_nothing(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put(entries(2))
        outbox.acknowledge("00" * 8, [(1, 2)], [(1, 2, "bad_value")])
        assert outbox.flush()
        assert outbox.stats().waiting == 2


def test_two_processes_may_share_one_outbox(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db") as one, Outbox(tmp_path / "outbox.db") as other:
        for start in range(0, 40, 2):
            one.put(entries(1, start))
            other.put(entries(1, start + 1))
        assert one.flush()
        assert other.flush()
        assert [stored.seq for stored in one.read(1, 100)] == list(range(1, 41))
        assert sorted(stored.reading.value for stored in other.read(1, 100)) == list(range(40))


def test_a_damaged_file_is_set_aside_and_a_new_epoch_begins(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 100)
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put(entries(1))
        assert outbox.flush()
        assert outbox.stats().next_seq == 2
    assert [path for path in tmp_path.iterdir() if ".broken-" in path.name]


def test_a_full_disk_is_waited_out_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_modem_client.outbox.WRITE_RETRY_S", 0.01)
    with Outbox(tmp_path / "outbox.db") as outbox:
        connection = outbox._store._db
        connection.pragma("max_page_count", connection.pragma("page_count") + 1)
        outbox.put(entries(2_000))
        deadline_s = time.monotonic() + 20
        while outbox.trouble is None and time.monotonic() < deadline_s:
            assert not outbox.flush(0.01)
        assert "cannot be written" in outbox.trouble
        connection.pragma("max_page_count", 1_000_000)
        assert outbox.flush()
        assert outbox.trouble is None
        assert [stored.seq for stored in outbox.read(1, 5_000)] == list(range(1, 2_001))


_CHILD = """
import sys
from pathlib import Path
from simway_modem_client.entries import make_entry
from simway_modem_client.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
number = 0
while True:
    outbox.put([make_entry("n", number + index, t_us=1_700_000_000_000_000 + number + index) for index in range(50)])
    outbox.flush()
    number += 50
    print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_flushed_and_repeats_no_number(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        flushed = 0
        for line in child.stdout:
            flushed = int(line)
            if flushed >= 500:
                break
        os.kill(child.pid, signal.SIGKILL)
        flushed = max([flushed, *(int(line) for line in child.stdout if line.endswith("\n"))])
    with Outbox(path) as outbox:
        stored = outbox.read(1, 1_000_000)
        assert len(stored) >= flushed
        assert [item.seq for item in stored] == list(range(1, len(stored) + 1))
        assert [item.reading.value for item in stored] == list(range(len(stored)))
        outbox.put(entries(1))
        assert outbox.flush()
        assert outbox.read(len(stored) + 1, 10)[0].seq == len(stored) + 1


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against a plain model: every number is waiting, dropped (unacknowledged), or journaled, and only once."""

    MAX = 12

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.outbox = self.open()
        self.next = 1
        self.waiting: list[int] = []
        self.dropped: set[int] = set()
        self.journal: dict[int, str] = {}
        self.dead: list[int] = []

    def open(self) -> Outbox:
        return Outbox(self.folder / "outbox.db", max_bytes=self.MAX * ENTRY_BYTES)

    @rule(count=st.integers(1, 20))
    def put(self, count: int) -> None:
        self.outbox.put([make_entry("temperature", 5, "Cel", t_us=T0)] * count)
        assert self.outbox.flush()
        self.waiting += range(self.next, self.next + count)
        self.next += count
        excess = max(0, len(self.waiting) - self.MAX)
        self.dropped.update(self.waiting[:excess])
        self.waiting = self.waiting[excess:]

    @precondition(lambda self: self.next > 1)
    @rule(data=st.data(), rejected=st.booleans())
    def acknowledge(self, data: st.DataObject, rejected: bool) -> None:
        first = data.draw(st.integers(1, self.next))
        last = data.draw(st.integers(first, self.next + 3))
        if rejected:
            self.outbox.acknowledge(self.outbox.epoch, [], [(first, last, "bad_value")])
        else:
            self.outbox.acknowledge(self.outbox.epoch, [(first, last)])
        assert self.outbox.flush()
        for seq in [seq for seq in self.waiting if first <= seq <= last]:
            self.waiting.remove(seq)
            self.journal[seq] = "rejected" if rejected else "logged"
            self.dead += [seq] if rejected else []
        for seq in [seq for seq in self.dropped if first <= seq <= last]:
            self.dropped.remove(seq)
            self.journal[seq] = "dropped"

    @rule()
    def restart(self) -> None:
        epoch = self.outbox.epoch
        self.outbox.close()
        self.outbox = self.open()
        assert self.outbox.epoch == epoch

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert [stored.seq for stored in self.outbox.read(1, 1_000)] == self.waiting
        assert self.outbox.dropped() == list(ranges.runs(sorted(self.dropped)))
        journal = {seq: outcome for first, last, outcome in self.outbox.acknowledged() for seq in range(first, last + 1)}
        assert journal == self.journal
        stats = self.outbox.stats()
        assert (stats.next_seq, stats.waiting, stats.waiting_bytes) == (
            self.next, len(self.waiting), len(self.waiting) * ENTRY_BYTES,
        )  # fmt: skip
        assert self.outbox.is_empty() == (not self.waiting and not self.dropped)

    def teardown(self) -> None:
        self.outbox.close()
        path = self.folder / "dead-letters.jsonl"
        assert [json.loads(line)["seq"] for line in (path.read_text().splitlines() if path.exists() else [])] == self.dead
        shutil.rmtree(self.folder)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("kept", "taken", "left"),
    [
        ([(1, 10)], [(3, 4)], [(1, 2), (5, 10)]),
        ([(1, 10)], [(1, 10)], []),
        ([(1, 3), (7, 9)], [(2, 8)], [(1, 1), (9, 9)]),
        ([(5, 6)], [], [(5, 6)]),
    ],
)
def test_ranges_subtract(kept, taken, left) -> None:
    assert ranges.subtract(kept, taken) == left
