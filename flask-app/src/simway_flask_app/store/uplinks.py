"""Uplinks into the store: readings, rollups, newest values, accounts, dead letters and the log position, in one transaction.

Accounts and series are cached between transactions: the position's compare-and-set tells when another process wrote, and then
nothing cached is trusted (``PositionMoved``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

from simway_protocol.messages import DeadLetter, Uplink
from sqlalchemy import Connection

from simway_flask_app.store import accounts, outbox, positions
from simway_flask_app.store.accounts import Account, AccountKey
from simway_flask_app.store.batch import Batch, Outcome, StoredReadings, taken
from simway_flask_app.store.bulk import Bulk
from simway_flask_app.store.bulk_postgres import PostgresBulk
from simway_flask_app.store.bulk_sqlite import SqliteBulk
from simway_flask_app.store.engine import Database
from simway_flask_app.store.placing import Placer
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.store.positions import Follower, Gap, Moves
from simway_flask_app.store.rollups import add_up
from simway_flask_app.store.series import SeriesCache
from simway_flask_app.store.writers import WriteRights, is_lock_timeout

__all__ = ["Outcome", "StoredReadings", "UplinkWriter"]

_ACCOUNTS_MAX = 200_000
_SERIES_MAX = 500_000
_series = itemgetter(0)


class Tables:
    """The tables that a batch of readings is written to, and how."""

    def __init__(self, database: Database) -> None:
        self.bulk: Bulk = SqliteBulk() if database.is_sqlite else PostgresBulk()
        self._placer = Placer(self.bulk)

    def write(
        self, connection: Connection, batch: Batch, known: Mapping[AccountKey, Account], letters: Sequence[DeadLetter],
        now_us: int,
    ) -> Outcome:  # fmt: skip
        """Writes what the batch holds, with all that follows from it. ``known``: the accounts that it touched, at least."""
        batch.settle(self._placer.place(connection, batch.rows))
        added = add_up(sorted(batch.rows, key=_series))
        self.bulk.merge_rollups(connection, added)
        self.bulk.raise_latest(connection, added.newest, now_us)
        if batch.touched:
            self.bulk.save_epochs(connection, [known[key].row(key) for key in batch.touched])
        if batch.refusals:
            self.bulk.add_rejections(connection, [(*key, total) for key, total in batch.refusals.items()])
        outbox.bury(connection, letters, now_us)
        return batch.outcome()


class UplinkWriter:
    """Writes uplinks. One thread uses it; several processes may, each for partitions of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = Tables(database)
        self._series = SeriesCache(self._tables.bulk)
        self._accounts: dict[AccountKey, Account] = {}

    def positions(self, follower: Follower) -> dict[int, int]:
        """Where to go on reading. Another writer may have been there meanwhile: nothing that was cached is trusted any more."""
        self._forget_all()
        with self._database.read() as connection:
            return positions.load(connection, follower)

    def take_over(self, follower: Follower, partitions: Collection[int], rights: WriteRights) -> dict[int, int]:
        """Takes the rights to write partitions; gives where to go on reading each: at what their former holder committed last.

        Nothing that was cached is trusted any more. Raises ``StoreUnavailable``: try again. (On PostgreSQL a former holder that
        hangs amid a transaction is first waited for, then its transaction is ended.)
        """
        self._forget_all()
        try:
            with self._database.write() as connection:
                granted = rights.grant(connection, follower, partitions)
                known = positions.load(connection, follower)
        except StoreUnavailable as error:
            if is_lock_timeout(error):
                rights.end_hung(follower, partitions)
            raise
        rights.keep(granted)
        return {partition: known.get(partition, 0) for partition in partitions}

    def store(
        self, uplinks: Sequence[Uplink], follower: Follower, moves: Moves, *, now_us: int, rights: WriteRights | None = None,
        letters: Sequence[DeadLetter] = (), gaps: Sequence[Gap] = (),
    ) -> Outcome:  # fmt: skip
        """Stores everything and moves the positions, or raises and has done nothing.

        ``rights``: checked for the partitions of ``moves``, and renewed where it is time; None where nobody else can write.
        ``StoreUnavailable``: try again; ``RightLost``, ``PositionMoved``: take rights and positions anew; other ``StoreError``:
        the batch holds something that the database refuses as a whole.
        """
        try:
            with self._database.write(much=True) as connection:
                renewed = rights.check(connection, follower, moves) if rights else {}
                positions.advance(connection, follower, moves)
                for gap in gaps:
                    positions.note_gap(connection, follower, gap, now_us)
                outcome = self._store(connection, uplinks, list(letters), now_us)
        except BaseException:
            self._forget_all()
            raise
        if rights:
            rights.keep(renewed)
        return outcome

    def _store(self, connection: Connection, uplinks: Sequence[Uplink], letters: list[DeadLetter], now_us: int) -> Outcome:
        self._forget()
        batch = Batch(self._series, self._accounts, letters, now_us)
        rest = uplinks[batch.add_usual(uplinks) :]
        if rest:
            good = [uplink for uplink in rest if taken(uplink, letters, now_us)]
            self._load(connection, {(uplink.device, uplink.epoch or "") for uplink in good}, now_us)
            self._series.begin(connection, good)
            batch.add(good)
        return self._tables.write(connection, batch, self._accounts, letters, now_us)

    def _forget_all(self) -> None:
        self._series.clear()
        self._accounts.clear()
        self._tables.bulk.forget()

    def _forget(self) -> None:
        """Between transactions only: what one has changed lies in these caches until it is written."""
        if len(self._accounts) > _ACCOUNTS_MAX:
            self._accounts.clear()
        if len(self._series.names) > _SERIES_MAX:
            self._series.clear()

    def _load(self, connection: Connection, keys: set[AccountKey], now_us: int) -> None:
        unknown = {key for key in keys if key not in self._accounts}
        if unknown:
            self._accounts |= {key: Account(first_us=now_us) for key in unknown} | accounts.load(connection, unknown)
