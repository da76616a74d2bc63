"""The use case of bulk import: a CSV file of one device's past into the store, part by part as it arrives.

Each part is a transaction. What was stored once comes again as duplicates, so a file that was sent half can be sent anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from simway_flask_app.csv_history import Bad, CsvHistory, Item, Shape, Taken
from simway_flask_app.store.questions import Questions

BATCH_READINGS = 5_000


@dataclass(slots=True)
class Report:
    """What became of a file. ``readings`` = stored + duplicate + conflict + refused (by the store).

    ``rejected``: records and cells that are no readings, by reason. ``bad``: the first of those, of conflicts and of the refused.
    """

    lines: int = 0
    empty: int = 0
    readings: int = 0
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    bad: list[Bad] = field(default_factory=list)


class _Import:
    def __init__(self, store: Questions, device: str, now_us: Callable[[], int], listed_max: int) -> None:
        self.report = Report()
        self._store, self._device, self._now_us, self._listed_max = store, device, now_us, listed_max
        self._waiting: list[Taken] = []

    def take(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Bad):
                self.report.rejected[item.reason] += 1
                self._list(item)
                continue
            self._waiting.append(item)
            if len(self._waiting) >= BATCH_READINGS:
                self.store()

    def store(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        report = self.report
        done = self._store.import_history(self._device, [item.reading for item in waiting], now_us=self._now_us())
        report.readings += len(waiting)
        report.stored += done.stored
        report.duplicate += done.duplicate
        report.conflict += done.conflict
        report.refused += done.refused
        for index, reason, detail in done.bad:
            self._list(Bad(waiting[index].line, reason, waiting[index].reading.sensor, detail))

    def _list(self, bad: Bad) -> None:
        """Keeps the first of them by line; those that the store refuses are known a batch later."""
        self.report.bad.append(bad)
        if len(self.report.bad) >= 2 * self._listed_max:
            self.finish()

    def finish(self) -> None:
        self.report.bad = sorted(self.report.bad)[: self._listed_max]


def run(
    store: Questions, device: str, parts: Iterable[bytes], shape: Shape, *, now_us: Callable[[], int], listed_max: int
) -> Report:  # fmt: skip
    """Reads ``parts`` to their end and stores what they hold. Blocks on both.

    Raises ``csv_history.BadFile``, and then nothing was stored; ``UnknownDevice``; ``StoreUnavailable``, and what ``parts``
    raises: then what came before is stored, and the file can be sent again.
    """
    history = CsvHistory(shape, device, now_us())
    work = _Import(store, device, now_us, listed_max)
    for part in parts:
        work.take(history.feed(part))
    work.take(history.end())
    work.store()
    work.finish()
    work.report.lines, work.report.empty = history.lines, history.empty
    return work.report
