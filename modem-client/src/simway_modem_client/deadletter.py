"""The device's own dead letters: readings that the server refused for good, with the reason, as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DEAD_LETTER_MAX_BYTES = 8 * 1024 * 1024
"""At this size the file is set aside as ``.1`` (whose forerunner goes), so that both together stay under twice this."""


class DeadLetterFile:
    """Appends records to ``path`` (mode 0600), durably. One writer at a time: the outbox appends within its transaction."""

    def __init__(self, path: Path, max_bytes: int = DEAD_LETTER_MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes one line a record and returns when all are on the disk. Raises ``OSError``; the file is then as it was."""
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        if not lines:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _append_whole(descriptor, lines)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size >= self._max_bytes:
            self.path.replace(self.path.with_name(self.path.name + ".1"))


def _append_whole(descriptor: int, data: bytes) -> None:
    """All of ``data``, or none of it: a disk that is full may take a part before it refuses."""
    before_bytes = os.fstat(descriptor).st_size
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before_bytes)
        raise
