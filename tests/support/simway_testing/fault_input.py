"""Bad input that no gateway would let through, put into the log itself: it is named in the dead letters and stops nothing else.

Appends go on in a thread of their own until the log takes them: it may be away just then.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from simway_backbone import open_log
from simway_backbone.log import Log, LogError
from simway_flask_app.store.sql import open_store
from simway_protocol.identity import partition_of
from simway_protocol.messages import DeadLetter, Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading
from sqlalchemy import text

from simway_testing.waiting import wait_for

if TYPE_CHECKING:
    from simway_testing.fault_house import House

DEVICE = "bad-input"
EPOCH = "bad0bad0bad0bad0"
REFUSED_T_US = 2**63
"""A time that fits no column of 64 bits."""
GOOD_BESIDE = 2
RETRY_S = 0.5
NEWER_SCHEMA = "9999"
START_WITHIN_S = 60.0
_SCHEMA = text("UPDATE alembic_version SET version_num = :version")


@dataclass
class BadInput:
    """``corrupt``: the bytes of records that do not decode; ``refused``: the values of readings that no database takes."""

    house: House
    corrupt: list[bytes] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        self._open = 0
        self._log: Log | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bad-input", daemon=True)
        self._thread.start()

    def add_corrupt(self) -> None:
        """A record that is no JSON, in some partition that devices use."""
        record = b'{"uplinks": [{"device": ' + secrets.token_bytes(16)
        self.corrupt.append(record)
        device = self.house.plan.load.devices[len(self.corrupt) % len(self.house.plan.load.devices)]
        self._put(partition_of(device), record)

    def add_refused(self) -> None:
        """An uplink of which every database refuses one reading, with good ones beside it."""
        at = len(self.refused)
        first, now_us = at * (GOOD_BESIDE + 1) + 1, time.time_ns() // 1000
        readings = [Reading("good", now_us, first), Reading("bad", REFUSED_T_US, first), Reading("good", now_us + 1, first + 2)]
        self.refused.append(first)
        batch = UplinkBatch([Uplink(DEVICE, "udp", now_us, EPOCH, first, readings)])
        self._put(partition_of(DEVICE), encode(batch))

    def settled(self) -> bool:
        """Whether the log has taken all."""
        return self._open == 0

    def close(self) -> None:
        """Gives up what the log did not take."""
        self._ending.set()
        self._waiting.put(None)
        self._thread.join()

    def complaints(self, letters: list[DeadLetter], stored: int) -> list[str]:
        """What of it is not named as it must be. ``stored``: rows of its device."""
        wrong = []
        corrupt = {letter.payload: letter for letter in letters if letter.reason == "corrupt_record"}
        refused = {letter.reading[2]: letter for letter in letters if letter.reason == "refused_by_store" and letter.reading}
        for record in self.corrupt:
            letter = corrupt.get(record)
            if letter is None or "uplink/" not in letter.detail or "offset" not in letter.detail:
                wrong.append(f"a corrupt record is not named in the dead letters: {record!r}, {letter}")
        for value in self.refused:
            letter = refused.get(value)
            if letter is None or (letter.device, letter.seq) != (DEVICE, value + 1) or not letter.detail:
                wrong.append(f"a refused reading is not named in the dead letters: {value}, {letter}")
        if stored != GOOD_BESIDE * len(self.refused):
            wrong.append(f"beside {len(self.refused)} refused readings {stored} were stored, not {GOOD_BESIDE} each")
        return wrong

    def _put(self, partition: int, record: bytes) -> None:
        self._open += 1
        self._waiting.put((partition, record))

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            partition, record = item
            while not self._append(partition, record):
                if self._ending.wait(RETRY_S):
                    return
            self._open -= 1

    def _append(self, partition: int, record: bytes) -> bool:
        """Kafka may have taken what it did not acknowledge: then it is there twice, and counts once."""
        try:
            self._log = self._log or open_log(self.house.log_url, client_id="faults")
            self._log.append("uplink", partition, [(None, record)]).result(60)
        except (LogError, TimeoutError):
            return False
        return True


def meet_newer_schema(house: House, recorder: str) -> list[str]:
    """Starts a recorder on a schema newer than its code, then on its own again; what was not said, or did not go on meanwhile."""
    process, wrong = house.processes[recorder], []
    process.stop()
    store = open_store(house.store_url)
    try:
        with store.transaction() as connection:
            own = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
            connection.execute(_SCHEMA, {"version": NEWER_SCHEMA})
        process.start()
        wait_for(lambda: not process.running, START_WITHIN_S, lambda: f"{recorder} refuses a newer schema:\n{process.tail()}")
        if process.returncode != 2 or NEWER_SCHEMA not in process.tail()[-600:]:
            wrong.append(f"a newer schema is not named: status {process.returncode}, {process.tail()[-600:]}")
        wrong += [
            f"{name} ended with {recorder}" for name, one in house.processes.items() if name != recorder and not one.running
        ]
        with store.transaction() as connection:
            connection.execute(_SCHEMA, {"version": own})
    finally:
        store.close()
    process.start()
    process.wait_ready()
    return wrong
