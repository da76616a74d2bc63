"""One transaction's rows, and the books of where each came from: accounts, counts and dead letters follow from what became of it.

What is done for each reading is a series lookup and one tuple; sequence numbers and accounts are judged once an uplink.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from simway_protocol.identity import is_device_id
from simway_protocol.limits import SEQUENCE_MAX
from simway_protocol.messages import DeadLetter, Uplink, encode
from simway_protocol.readings import Reading

from simway_flask_app.store.accounts import Account, AccountKey
from simway_flask_app.store.placing import Oddity
from simway_flask_app.store.port import StoredReading
from simway_flask_app.store.ranges import count
from simway_flask_app.store.series import BadSensor, Sensors, SeriesCache
from simway_flask_app.store.values import FLOAT, Row, columns_of, value_of
from simway_flask_app.uplink_rules import wrong

SOURCE = "recorder"
Source: TypeAlias = tuple[Uplink, Account, int | None]
"""Where a run of rows stems from: uplink, account, and the number of its first row where there are numbers."""
REFUSED = "refused_by_store"
"""The reason of a rejection that the database itself made."""
_READINGS_MAX = 100_000
_FIRST_MAX = SEQUENCE_MAX - _READINGS_MAX


@dataclass(slots=True)
class StoredReadings:
    """The readings that one transaction added, as cheap to make as can be: they become objects only when iterated."""

    rows: Sequence[Row]
    names: Mapping[int, tuple[str, str]]
    """Device and sensor by series: of these rows, and maybe of many more."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[StoredReading]:
        for series_id, t_us, num, kind, detail, unit in self.rows:
            device, sensor = self.names[series_id]
            yield StoredReading(device, sensor, t_us, value_of(num, kind, detail), unit)


@dataclass(slots=True)
class Outcome:
    """What a transaction did, for metrics and the live view."""

    readings: StoredReadings
    duplicates: int = 0
    conflicts: int = 0
    redelivered: int = 0
    refused: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    """Dead letters by reason."""


class Batch:
    """Builds one transaction's rows, and keeps the books of where each came from."""

    def __init__(self, series: SeriesCache, known: dict[AccountKey, Account], letters: list[DeadLetter], now_us: int) -> None:
        self.rows: list[Row] = []
        self.refusals: Counter[tuple[str, str, str]] = Counter()
        self.touched: set[AccountKey] = set()
        self._series, self._known, self._letters, self._now_us = series, known, letters, now_us
        self._begins: list[int] = []
        self._sources: list[Source] = []
        self._doubtful: set[int] = set()
        """Rows whose numbers lie below the floor: they came for the first time only if the table does not know them."""
        self._duplicates = self._conflicts = self._redelivered = 0

    def add_usual(self, uplinks: Sequence[Uplink]) -> int:
        """Does what ``add`` does, faster, up to the first uplink that is unusual; gives how many it took.

        Usual are the next readings of an epoch and nothing else, account and sensors being known.
        """
        known, devices, touch = self._known.get, self._series.devices.get, self.touched.add
        for place, uplink in enumerate(uplinks):
            device, epoch, first, readings = uplink.device, uplink.epoch, uplink.first_seq, uplink.readings
            if not epoch or first is None or uplink.dropped or uplink.rejected or not 0 < len(readings) <= _READINGS_MAX:
                return place
            key = (device, epoch)
            account, sensors = known(key), devices(device)
            if account is None or sensors is None or first != account.sequence.highest + 1 or first > _FIRST_MAX:
                return place
            try:
                self._append_run(uplink, account, sensors, readings, first)
            except BadSensor:
                return place
            account.sequence.highest += len(readings)
            touch(key)
        return len(uplinks)

    def add(self, uplinks: Iterable[Uplink]) -> None:
        """Judges the numbers of uplinks, and makes rows of the readings that came for the first time."""
        known, devices = self._known, self._series.devices
        for uplink in uplinks:
            key = (uplink.device, uplink.epoch or "")
            account, sensors = known[key], devices[uplink.device]
            self.touched.add(key)
            sequence, first, readings = account.sequence, uplink.first_seq, uplink.readings
            if uplink.epoch is None:
                self._add_unnumbered(uplink, account, sensors)
                continue
            if first is not None and readings:
                doubtful = sequence.doubtful(first, first + len(readings) - 1)
                if doubtful:
                    self._add_doubtful(uplink, account, sensors, readings[:doubtful], first)
                fresh = sequence.take(first, first + len(readings) - 1)
                self._note_redelivered(account, len(readings) - doubtful - count(fresh))
                for low, high in fresh:
                    self._add_run(uplink, account, sensors, readings[low - first : high - first + 1], low)
            if uplink.dropped or uplink.rejected:
                self._add_ranges(uplink, account)

    def settle(self, odd: dict[int, tuple[Oddity, str]]) -> None:
        """Books those rows that were not stored after all, by index."""
        for index in self._doubtful - odd.keys():
            self._settle_doubtful(self._source_of(index)[1])
        if not odd:
            return
        for index, (oddity, detail) in odd.items():
            source = self._source_of(index)
            account = source[1]
            account.stored -= 1
            if index not in self._doubtful or (oddity is not Oddity.DUPLICATE and account.sequence.fill(1)):
                self._book(source, index, oddity, detail)
            else:
                self._note_redelivered(account, 1)
        self.rows = [row for index, row in enumerate(self.rows) if index not in odd]

    def outcome(self) -> Outcome:
        """For after the commit."""
        refused = sum(total for (_, _, reason), total in self.refusals.items() if reason == REFUSED)
        reasons = Counter(letter.reason for letter in self._letters)
        readings = StoredReadings(self.rows, self._series.names)
        return Outcome(readings, self._duplicates, self._conflicts, self._redelivered, refused, reasons)

    def _add_ranges(self, uplink: Uplink, account: Account) -> None:
        sequence = account.sequence
        for low, high in uplink.dropped:
            self._note_redelivered(account, high - low + 1 - sequence.drop(low, high))
        for low, high, reason in uplink.rejected:
            new = sequence.fill(sequence.doubtful(low, high)) + count(sequence.take(low, high))
            self._note_redelivered(account, high - low + 1 - new)
            self._refuse(uplink, account, reason, new)

    def _add_doubtful(self, uplink: Uplink, account: Account, sensors: Sensors, readings: Sequence[Reading], first: int) -> None:
        """Makes rows of readings whose numbers may have come before: the table knows which of them are new."""
        for place, reading in enumerate(readings):
            try:
                self._append_run(uplink, account, sensors, [reading], first + place)
                self._doubtful.add(len(self.rows) - 1)
            except BadSensor as error:
                if account.sequence.fill(1):
                    self._bury(uplink, reading, first + place, REFUSED, str(error))
                    self._refuse(uplink, account, REFUSED, 1)
                else:
                    self._note_redelivered(account, 1)

    def _settle_doubtful(self, account: Account) -> None:
        """A row was new to the table: one more number came, as long as any is still to come."""
        if not account.sequence.fill(1):
            account.stored -= 1
            self._note_redelivered(account, 1)

    def _add_unnumbered(self, uplink: Uplink, account: Account, sensors: Sensors) -> None:
        account.sequence.highest += len(uplink.readings)
        self._add_run(uplink, account, sensors, uplink.readings, None)
        for low, high, reason in uplink.rejected:
            account.sequence.highest += high - low + 1
            self._refuse(uplink, account, reason, high - low + 1)

    def _add_run(
        self, uplink: Uplink, account: Account, sensors: Sensors, readings: Sequence[Reading], first_seq: int | None
    ) -> None:
        try:
            self._append_run(uplink, account, sensors, readings, first_seq)
        except BadSensor as error:
            self._add_singly(uplink, account, sensors, readings, first_seq, str(error))

    def _append_run(
        self, uplink: Uplink, account: Account, sensors: Sensors, readings: Sequence[Reading], first_seq: int | None
    ) -> None:
        """Makes rows of readings. Raises ``BadSensor`` for a name that is none of ``sensors``, and has done nothing."""
        rows = self.rows
        begin, append = len(rows), rows.append
        try:
            for sensor, t_us, value, unit in readings:
                if type(value) is float:
                    append((sensors[sensor], t_us, value, FLOAT, None, unit))
                else:
                    append((sensors[sensor], t_us, *columns_of(value), unit))
        except BadSensor:
            del rows[begin:]
            raise
        self._begins.append(begin)
        self._sources.append((uplink, account, first_seq))
        account.stored += len(readings)

    def _add_singly(
        self, uplink: Uplink, account: Account, sensors: Sensors, readings: Sequence[Reading], first_seq: int | None, detail: str
    ) -> None:
        """Some of the readings cannot be stored under their names; the others are."""
        for place, reading in enumerate(readings):
            seq = None if first_seq is None else first_seq + place
            if reading[0] in sensors:
                self._add_run(uplink, account, sensors, [reading], seq)
            else:
                self._bury(uplink, reading, seq, REFUSED, detail)
                self._refuse(uplink, account, REFUSED, 1)

    def _source_of(self, index: int) -> Source:
        """Uplink and account of a row, with its own number in place of its run's first."""
        place = bisect_right(self._begins, index) - 1
        uplink, account, first_seq = self._sources[place]
        return uplink, account, None if first_seq is None else first_seq + index - self._begins[place]

    def _book(self, source: Source, index: int, oddity: Oddity, detail: str) -> None:
        uplink, account, seq = source
        if oddity is Oddity.DUPLICATE:
            account.duplicate += 1
            self._duplicates += 1
            return
        series_id, t_us, num, kind, text, unit = self.rows[index]
        reading = Reading(self._series.names[series_id][1], t_us, value_of(num, kind, text), unit)
        if oddity is Oddity.CONFLICT:
            account.conflict += 1
            self._conflicts += 1
            self._bury(uplink, reading, seq, "conflict", detail)
        else:
            self._refuse(uplink, account, REFUSED, 1)
            self._bury(uplink, reading, seq, REFUSED, detail)

    def _bury(self, uplink: Uplink, reading: Reading, seq: int | None, reason: str, detail: str) -> None:
        self._letters.append(
            DeadLetter(
                source=SOURCE, reason=reason, t_us=self._now_us, device=uplink.device, gateway=uplink.gateway, epoch=uplink.epoch,
                seq=seq, detail=detail, reading=reading,
            )
        )  # fmt: skip

    def _refuse(self, uplink: Uplink, account: Account, reason: str, total: int) -> None:
        if total:
            account.rejected += total
            self.refusals[(uplink.device, uplink.epoch or "", reason)] += total

    def _note_redelivered(self, account: Account, total: int) -> None:
        account.redelivered += total
        self._redelivered += total


def taken(uplink: Uplink, letters: list[DeadLetter], now_us: int) -> bool:
    """False, with a dead letter, for an uplink that no sender of this release makes."""
    fault = wrong(uplink)
    if fault:
        letters.append(
            DeadLetter(
                source=SOURCE, reason="bad_uplink", t_us=now_us, device=uplink.device if is_device_id(uplink.device) else "",
                gateway=uplink.gateway, detail=fault, payload=encode(uplink),  # type: ignore[arg-type]  # a struct like any other
            )
        )  # fmt: skip
    return not fault
