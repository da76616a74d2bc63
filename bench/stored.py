"""When what the log holds is in the store, as anybody who looks at the database sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from simway_backbone import open_log
from simway_backbone.log import Log
from simway_flask_app.recorder import CONSUMER, TOPIC
from simway_flask_app.store import positions
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.schema import epochs
from simway_flask_app.store.sql import SqlStore
from sqlalchemy import func, select

LOOK_S = 0.005
DRAINED_WITHIN_S = 300.0


def open_for_looking(log_url: str) -> Log:
    """The log, to ask it for its ends."""
    return open_log(log_url, client_id="bench-look")


def await_drained(store: SqlStore, log: Log) -> float:
    """When (monotonic seconds) the recorder had stored all that the log holds now; blocks. ``SystemExit`` when it does not."""
    ends = {partition: end for partition, (first, end) in log.bounds(TOPIC).items() if end > first}
    follower = Follower(CONSUMER, log.identity(TOPIC), TOPIC)
    deadline = time.monotonic() + DRAINED_WITHIN_S
    while time.monotonic() < deadline:
        with store.reading() as connection:
            known = positions.load(connection, follower)
        if all(known.get(partition, 0) >= end for partition, end in ends.items()):
            return time.perf_counter()
        time.sleep(LOOK_S)
    raise SystemExit(f"the recorder did not store all of the log within {DRAINED_WITHIN_S:g} s: {known} of {ends}")


def stored(store: SqlStore, epoch: str) -> int:
    """Readings in the store that came under this epoch, of all devices."""
    with store.reading() as connection:
        return int(
            connection.execute(select(func.coalesce(func.sum(epochs.c.stored), 0)).where(epochs.c.epoch == epoch)).scalar_one()
        )


class Watch:
    """Looks every ``LOOK_S`` how far the numbers of some devices' epochs have come, in a thread, until it is closed."""

    def __init__(self, store: SqlStore, epoch: str, devices: Sequence[str]) -> None:
        self._store = store
        self._query = select(epochs.c.device, epochs.c.highest).where(epochs.c.epoch == epoch, epochs.c.device.in_(devices))
        self._seen: dict[str, list[tuple[float, int]]] = {device: [] for device in devices}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> dict[str, list[tuple[float, int]]]:
        """By device: when (monotonic seconds) a new highest number was first seen."""
        self._over.set()
        self._thread.join()
        return self._seen

    def _run(self) -> None:
        while not self._over.is_set():
            with self._store.reading() as connection:
                found = connection.execute(self._query).all()
            now_s = time.perf_counter()
            for device, highest in found:
                seen = self._seen[device]
                if not seen or seen[-1][1] < highest:
                    seen.append((now_s, highest))
            self._over.wait(LOOK_S)


def delays_s(
    sent_s: Mapping[str, Sequence[float]], seen: Mapping[str, Sequence[tuple[float, int]]], per: int
) -> list[tuple[float, float]]:
    """When each uplink of ``per`` readings went out, and how long after that its last number was seen in the store.

    What was never seen is left out.
    """
    delays = []
    for device, times in sent_s.items():
        looks = iter(seen.get(device, ()))
        look = next(looks, None)
        for index, sent in enumerate(times):
            while look is not None and look[1] < (index + 1) * per:
                look = next(looks, None)
            if look is None:
                break
            delays.append((sent, look[0] - sent))
    return delays


def made(directory: Path) -> Path:
    """The folder, new."""
    directory.mkdir(parents=True)
    return directory
