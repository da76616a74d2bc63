"""The use case of bulk import: a CSV file of one device's past into the store, part by part as it arrives.

Each part is a transaction. What was stored once comes again as duplicates, so a file that was sent half can be sent anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from simway_protocol.readings import Reading

from simway_flask_app.csv_history import Bad, CsvHistory, Item, Shape
from simway_flask_app.store.questions import Imported, Questions

BATCH_READINGS = 5_000


@dataclass(slots=True)
class Report:
    """What became of a file. ``rejected``: bad records and cells by reason; ``bad``: the first of them."""

    lines: int = 0
    empty: int = 0
    readings: int = 0
    imported: Imported = field(default_factory=Imported)
    rejected: Counter[str] = field(default_factory=Counter)
    bad: list[Bad] = field(default_factory=list)


class _Import:
    def __init__(self, store: Questions, device: str, now_us: Callable[[], int], listed_max: int) -> None:
        self.report = Report()
        self._store, self._device, self._now_us, self._listed_max = store, device, now_us, listed_max
        self._waiting: list[Reading] = []

    def take(self, items: Iterable[Item]) -> None:
        report, waiting = self.report, self._waiting
        for item in items:
            if not isinstance(item, Bad):
                waiting.append(item.reading)
                if len(waiting) >= BATCH_READINGS:
                    self.store()
                continue
            report.rejected[item.reason] += 1
            if len(report.bad) < self._listed_max:
                report.bad.append(item)

    def store(self) -> None:
        if self._waiting:
            self.report.imported.add(self._store.import_history(self._device, self._waiting, now_us=self._now_us()))
            self.report.readings += len(self._waiting)
            self._waiting.clear()


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
    work.report.lines, work.report.empty = history.lines, history.empty
    return work.report
