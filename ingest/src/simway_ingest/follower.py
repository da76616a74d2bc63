"""A thread that reads one topic on and on, from given offsets, through outages and gaps of the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from simway_backbone import metrics
from simway_backbone.log import PATIENCE_S, Log, LogUnavailable, OffsetGone, Reader, Record

POLL_S = 0.5
RETRY_S = 0.5
PROBE_S = 5.0


class Follower(threading.Thread):
    """Hands the records of a one-partition topic to ``handle``, in order, in this thread.

    It starts at the offset that ``start`` gives (None: the earliest that is there), asked for in this thread once the log
    answers. ``caught_up`` is set when all records have been handled that were there at the start. ``missed`` counts the gaps
    that retention made before they were read. ``error`` says what is wrong with the log now, or None.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        handle: Callable[[Sequence[Record]], None],
        *,
        start: Callable[[], int | None] = lambda: None,
        retry_s: float = RETRY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(name=f"follow {topic}", daemon=True)
        self._log, self._topic, self._apply, self._start_at, self._retry_s = log, topic, handle, start, retry_s
        self._patience_s = patience_s
        self._ended = threading.Event()
        self.caught_up = threading.Event()
        self.missed = 0
        self.error: str | None = "not read yet"

    def ask_to_stop(self) -> None:
        """The thread will end within about half a second."""
        self._ended.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the thread, waiting at most ``timeout_s``."""
        self.ask_to_stop()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        """Follows until ``stop``. An exception of ``handle`` ends it for good, and stays in ``error``."""
        try:
            self._run()
        except Exception as failure:
            self.error = f"stopped by {type(failure).__name__}: {failure}"
            raise

    def _run(self) -> None:
        position: int | None = None
        while not self._ended.is_set():
            try:
                if position is None:
                    position = self._first()
                end = self._log.bounds(self._topic)[0][1]
                reader = self._log.reader(self._topic, {0: position}, patience_s=self._patience_s)
            except LogUnavailable as error:
                self._wait_after(error)
                continue
            try:
                self._read(reader, position, end)
            finally:
                reader.close()

    def _first(self) -> int:
        start = self._start_at()
        return self._log.bounds(self._topic)[0][0] if start is None else start

    def _read(self, reader: Reader, position: int, end: int) -> None:
        while not self._ended.is_set():
            if position >= end:
                self.caught_up.set()
            try:
                records = reader.poll(POLL_S)
            except LogUnavailable as error:
                self._wait_after(error)
                continue
            except OffsetGone as gone:
                self.missed += 1
                metrics.RECORDS_GONE.labels("gateway", self._topic).inc(max(0, gone.earliest - position))
                position = gone.earliest
                reader.seek(0, position)
                continue
            self.error = None
            if records:
                self._apply(records)
                position = records[-1].offset + 1

    def _wait_after(self, error: LogUnavailable) -> None:
        self.error = str(error)
        self._ended.wait(self._retry_s)


def offset_before(log: Log, topic: str, t_us: int) -> int:
    """An offset of a one-partition topic such that every record appended at ``t_us`` or later lies at or after it. Blocks.

    Searches by halves, since the log keeps no index of times; clocks of producers may differ by less than the caller's margin.
    """
    low, high = log.bounds(topic)[0]
    while low < high:
        middle = (low + high) // 2
        record = _first_at(log, topic, middle)
        if record is None or record.appended_us >= t_us:
            high = middle
        else:
            low = record.offset + 1
    return low


def _first_at(log: Log, topic: str, offset: int) -> Record | None:
    reader = log.reader(topic, {0: offset})
    try:
        records = reader.poll(PROBE_S, max_records=1)
    except OffsetGone:
        return None
    finally:
        reader.close()
    return records[0] if records else None
