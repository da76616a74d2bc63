"""Source ``csv``: imports a file. It waits for room in the outbox instead of dropping, and shows how far it is."""

from __future__ import annotations

import csv
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from simway_modem_client.entries import Entry, ReadingRefused
from simway_modem_client.outbox import Outbox, OutboxClosed
from simway_modem_client.sources import BadLines, SourceReport
from simway_modem_client.sources.csv_format import BadCell, BadColumns, Columns, CsvFormat, entries_of

BATCH_READINGS = 500
TTY_EVERY_S = 0.5
LINE_EVERY_S = 10.0


class Progress:
    """How far an import is: one line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, total_bytes: int, out: TextIO) -> None:
        self._total_bytes = total_bytes
        self._out = out
        self._tty = out.isatty()
        self._started_s = self._shown_s = time.monotonic()

    def show(self, done_bytes: int, report: SourceReport, skipped: int) -> None:
        """Shows it when it is time."""
        now_s = time.monotonic()
        if now_s - self._shown_s < (TTY_EVERY_S if self._tty else LINE_EVERY_S):
            return
        self._shown_s = now_s
        self._print(self._text(done_bytes, report, skipped, now_s))

    def finish(self, report: SourceReport, name: str) -> None:
        """The summary."""
        took_s = max(time.monotonic() - self._started_s, 1e-6)
        rate = f"{report.entered / took_s:,.0f} readings/s"
        text = f"{name}: {report.lines:,} lines, {report.entered:,} readings entered, {report.skipped:,} lines skipped; {rate}"
        self._out.write(("\r\x1b[K" if self._tty else "") + text + (f"; stopped: {report.error}" if report.error else "") + "\n")
        self._out.flush()

    def _text(self, done_bytes: int, report: SourceReport, skipped: int, now_s: float) -> str:
        took_s = now_s - self._started_s
        share = min(done_bytes / self._total_bytes, 1.0) if self._total_bytes else 1.0
        left_s = took_s / share - took_s if share else 0.0
        return (
            f"{share:4.0%}  {report.lines:,} lines, {skipped:,} skipped, {report.entered / took_s:,.0f} readings/s, "
            f"{left_s // 60:.0f}:{left_s % 60:02.0f} left"
        )

    def _print(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}" if self._tty else f"{text}\n")
        self._out.flush()


class CsvSource:
    """Imports one file, to its end."""

    ends = True

    def __init__(self, path: Path, form: CsvFormat, out: TextIO = sys.stderr) -> None:
        self._path = path
        self._form = form
        self._out = out

    def run(self, outbox: Outbox, stopping: threading.Event) -> SourceReport:
        """Until the end of the file or ``stopping``. A line with something wrong in it is skipped whole."""
        report = SourceReport()
        bad = BadLines(str(self._path))
        progress = Progress(0, self._out)
        try:
            with self._path.open("rb") as raw:
                raw.seek(0, 2)
                progress = Progress(raw.tell(), self._out)
                raw.seek(0)
                lines = _Lines(raw)
                self._import(lines, outbox, stopping, report, bad, progress)
        except (OSError, BadColumns) as error:
            report.error = str(error)
        except OutboxClosed:
            report.error = "stopped before the end"
        report.skipped = bad.count
        progress.finish(report, str(self._path))
        return report

    def _import(
        self, lines: _Lines, outbox: Outbox, stopping: threading.Event, report: SourceReport, bad: BadLines, progress: Progress
    ) -> None:
        rows = csv.reader(lines, delimiter=self._form.delimiter, strict=True)
        header = next(rows, None)
        if header is None:
            raise BadColumns("the file is empty; its first line must name the columns")
        columns = Columns.find(header, self._form)
        batch: list[Entry] = []
        while not stopping.is_set():
            number = rows.line_num + 1
            try:
                row = next(rows)
                report.lines += 1
                batch += entries_of(row, columns, self._form) if row else []
            except StopIteration:
                break
            except csv.Error as error:
                report.lines += 1
                bad.skip(number, str(error))
            except (BadCell, ReadingRefused) as error:
                bad.skip(number, str(error))
            if len(batch) >= BATCH_READINGS:
                batch = self._put(batch, outbox, report)
            progress.show(lines.done_bytes, report, bad.count)
        self._put(batch, outbox, report)
        if stopping.is_set():
            raise OutboxClosed

    def _put(self, batch: list[Entry], outbox: Outbox, report: SourceReport) -> list[Entry]:
        if batch:
            outbox.put(batch, wait_for_room=True)
            report.entered += len(batch)
        return []


class _Lines:
    """Text lines of a binary file, counting the bytes read. What is no UTF-8 becomes U+FFFD; a byte order mark goes."""

    def __init__(self, raw: Iterator[bytes]) -> None:
        self._raw = raw
        self.done_bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._raw)
        text = line.decode("utf-8", "replace")
        if self.done_bytes == 0:
            text = text.removeprefix("\ufeff")
        self.done_bytes += len(line)
        return text
