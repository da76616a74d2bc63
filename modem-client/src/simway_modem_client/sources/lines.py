"""Source ``stdin``: one JSON document a line, in the plain form or as a SenML pack.

{"sensor_id": "door", "value": true}
{"sensor_id": "temperature", "timestamp": 1700000000, "value": 21.5, "unit": "Cel"}
[{"bn": "boiler/", "n": "temperature", "u": "Cel", "v": 61.5}]
"""

from __future__ import annotations

import threading
import time
from typing import BinaryIO

from simway_protocol import plain, senml
from simway_protocol.errors import PeerError
from simway_protocol.readings import Reading, Refusal

from simway_modem_client.entries import Entry, ReadingRefused, entry_of
from simway_modem_client.outbox import Outbox
from simway_modem_client.sources import BadLines, SourceReport, tell_dropped

LINE_MAX_BYTES = 65_536
_SENML_LABELS = {"bn", "bt", "bu", "bv", "bs", "bver", "n", "v", "vs", "vb", "vo", "vd", "s"}


class LinesSource:
    """Reads to the end of ``stream``. A line with something wrong in it is skipped whole."""

    ends = True

    def __init__(self, stream: BinaryIO, name: str = "stdin") -> None:
        self._stream = stream
        self._name = name

    def run(self, outbox: Outbox, stopping: threading.Event) -> SourceReport:
        """Until the end of input or ``stopping``, which is seen after the next line."""
        report = SourceReport()
        bad = BadLines(self._name)
        while not stopping.is_set() and (line := self._stream.readline(LINE_MAX_BYTES + 1)):
            report.lines += 1
            if len(line) > LINE_MAX_BYTES:
                self._skip_rest(line)
                bad.skip(report.lines, f"longer than {LINE_MAX_BYTES} bytes")
                continue
            if not line.strip():
                continue
            try:
                entries = parse_line(line)
            except (PeerError, ReadingRefused) as error:
                bad.skip(report.lines, str(error))
                continue
            tell_dropped(outbox.put(entries))
            report.entered += len(entries)
        report.skipped = bad.count
        return report

    def _skip_rest(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(LINE_MAX_BYTES)


def parse_line(line: bytes) -> list[Entry]:
    """The readings of one line; those without a time are stamped now. Raises ``PeerError`` and ``ReadingRefused``."""
    now_us = time.time_ns() // 1000
    document = senml.parse_json(line, "bad_json")
    found: list[Reading | Refusal]
    if _is_senml(document):
        found = senml.decode_json(line, now_us) if isinstance(document, list) else senml.decode_json(b"[" + line + b"]", now_us)
    else:
        found = plain.decode_plain(line, now_us)
    return [entry_of(reading) for reading in found]


def _is_senml(document: object) -> bool:
    """A SenML label and no ``sensor_id`` in the first object."""
    first = document[0] if isinstance(document, list) and document else document
    return isinstance(first, dict) and "sensor_id" not in first and not _SENML_LABELS.isdisjoint(first)
