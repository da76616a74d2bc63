"""A reader that can be woken: for who waits for records and for something else, whichever comes first.

kafka-python's ``poll`` cannot be ended by another thread. So a thread of its own polls the log, one batch ahead.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from simway_backbone.log import Reader, Record

SLICE_S = 0.25
"""One poll of the log. ``close`` may take as long."""
CLOSE_S = 5.0


class ReadAhead:
    """Keeps ``Reader``, but for ``seek``, which is for after an error alone. ``wake`` may be called from any thread.

    Takes ``reader`` over: its own thread polls and closes it. ``records_max``: of one batch.
    """

    def __init__(self, reader: Reader, records_max: int) -> None:
        self._reader, self._records_max = reader, records_max
        self._changed = threading.Condition()
        self._found: Sequence[Record] | Exception | None = None
        self._failed = self._woken = self._closing = False
        self._quiet = False
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
        self._thread.start()

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:  # noqa: ARG002 (the port's)
        """See ``Reader``. Empty before the time is over when it was woken, since the last call or during this one."""
        with self._changed:
            if not isinstance(self._found, Exception):
                self._failed = False
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._found is not None or self._woken, timeout_s)
            found, self._found, self._woken = self._found, None, False
            self._changed.notify_all()
        if isinstance(found, Exception):
            raise found
        return list(found or ())

    @property
    def is_quiet(self) -> bool:
        """Whether the newest poll of the log found nothing, though it waited for it."""
        return self._quiet

    def wake(self) -> None:
        """Ends the poll under way, or else the next one, at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def seek(self, partition: int, offset: int) -> None:
        """See ``Reader``. Only after ``poll`` raised: the thread rests until it is called again."""
        with self._changed:
            if not self._failed:
                raise RuntimeError("seek while the log is being read ahead")
            self._reader.seek(partition, offset)

    def close(self) -> None:
        """See ``Reader``. Blocks until the thread has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while self._may_go_on():
                self._hand_over(self._poll())
        finally:
            self._reader.close()

    def _may_go_on(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (self._found is None and not self._failed))
            return not self._closing

    def _poll(self) -> Sequence[Record] | Exception:
        try:
            return self._reader.poll(SLICE_S, self._records_max)
        except Exception as error:  # raised where somebody polls
            return error

    def _hand_over(self, found: Sequence[Record] | Exception) -> None:
        with self._changed:
            self._failed = isinstance(found, Exception)
            self._quiet = not (self._failed or found)
            if self._failed or found:
                self._found = found
                self._changed.notify_all()
