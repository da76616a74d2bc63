"""Recorders in processes of their own that are stopped amid their work, and wake: they write nothing by what they held."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from simway_flask_app.rights import Refusal
from simway_testing.recorders import PARTITIONS, WAIT_S, House
from simway_testing.stores import ON_POSTGRES, ON_SQLITE
from simway_testing.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

SILENT = 5
"""A partition that nobody sends into."""


@pytest.fixture
def house(url: str, tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, url)
    yield house
    house.close()


@contextmanager
def load(house: House, partitions: frozenset[int] = PARTITIONS, every_s: float = 0.05) -> Iterator[None]:
    """Uplinks on every one of ``partitions`` until the end of the block."""
    ending = threading.Event()

    def send() -> None:
        while not ending.wait(every_s):
            house.send(partitions)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    yield
    ending.set()
    sending.join(WAIT_S)


@ON_SQLITE
def test_a_recorder_that_wakes_writes_nothing_by_what_it_held(house: House) -> None:
    sleeper, other = house.process("sleeper"), house.process("other")
    wait_for(lambda: len(sleeper.rights) == len(other.rights) == 12, WAIT_S, "an even share")
    with load(house):
        wait_for(lambda: min(house.sent.values()) > 5, WAIT_S, "some load")
        sleeper.freeze()
        stale = sleeper.rights
        assert len(stale) == 12
        wait_for(lambda: other.rights.keys() == PARTITIONS, WAIT_S, "the other to take over")
        for right in stale.values():
            assert house.store.verify_right(right, partition=None, writer=None) == Refusal.SUPERSEDED
            assert other.rights[right.partition].number > right.number
        before = dict(house.sent)
        wait_for(lambda: all(house.sent[p] > before[p] + 5 for p in PARTITIONS), WAIT_S, "further load")
        sleeper.wake()
        wait_for(lambda: len(sleeper.rights) == len(other.rights) == 12, WAIT_S, "an even share again")
    house.await_stored()
    house.assert_each_once()
    told = sleeper.process.tail()
    assert "rights or positions are lost" in told or "no longer recording" in told
    assert sleeper.process.stop() == 0


@ON_POSTGRES
def test_20_recorders_with_a_silent_one_and_a_silent_source_keep_moving(house: House) -> None:
    """One of 20 is stopped amid its work, and one partition has no data: neither keeps anything else from being stored."""
    sleeper = house.process("sleeper")
    wait_for(lambda: sleeper.rights.keys() == PARTITIONS, WAIT_S, "the first to record everything")
    threads = [house.thread() for _ in range(19)]
    wait_for(lambda: len(sleeper.rights) in (1, 2) and all(recorder.partitions for recorder in threads), WAIT_S, "shares")
    talking = PARTITIONS - {SILENT}
    with load(house, talking, every_s=0.25):
        wait_for(lambda: house.sent[min(talking)] > 5, WAIT_S, "some load")
        sleeper.freeze()
        stale = sleeper.rights
        others = talking - stale.keys()
        for _ in range(5):
            house.await_stored(others)
    house.await_stored(talking)
    for right in stale.values():
        assert house.store.verify_right(right, partition=None, writer=None) == Refusal.SUPERSEDED
    assert house.rights(lambda pid: pid == os.getpid()).keys() == PARTITIONS
    sleeper.wake()
    wait_for(lambda: 0 < len(sleeper.rights) <= 2, WAIT_S, "the sleeper to be given a share again")
    house.send(talking)
    house.await_stored(talking)
    house.assert_each_once()
    assert sleeper.process.stop() == 0
