"""One suite for the loss ledger on SQLite and on a real PostgreSQL: any order of deliveries against a model of plain numbers."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from simway_backbone.metrics import LEDGER_UNBALANCED
from simway_flask_app.gauges import LossGauges
from simway_flask_app.store import ranges
from simway_flask_app.store.bookkeeping import EpochLoss, LossLedger
from simway_flask_app.store.positions import Follower, Gap, PositionMoved
from simway_flask_app.store.schema import epochs
from simway_flask_app.store.sql import SqlStore
from simway_protocol.identity import partition_of
from simway_protocol.limits import SEQUENCE_MAX
from simway_protocol.messages import Range, Uplink
from simway_protocol.readings import Reading
from simway_testing.stores import T0_US, UplinkLog, letters_of, uplink
from sqlalchemy import update

EPOCHS = ("00aa", "00bb")
NUMBERS = st.integers(1, 40)
SPANS = st.tuples(NUMBERS, st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
SETTINGS = settings(
    max_examples=20, stateful_step_count=12, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def reading_of(number: int) -> Reading:
    """What a device measured under a number: some agree with another number's reading, some contradict it, some have no name."""
    sensor = "" if number % 11 == 0 else "t"
    return Reading(sensor, T0_US + number * 5 % 23, float(number % 3))


def as_ranges(numbers: set[int]) -> list[Range]:
    found: list[Range] = []
    for number in sorted(numbers):
        found = ranges.add(found, number, number)
    return found


class Model:
    """What a ledger says of one device, number by number."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[int, str]] = {epoch: {} for epoch in EPOCHS}
        self.redelivered: Counter[str] = Counter()
        self.unnumbered: Counter[str] = Counter()
        self.table: dict[tuple[str, int], Any] = {}

    def outcome_of(self, reading: Reading) -> str:
        if not reading.sensor:
            return "refused_by_store"
        held = self.table.setdefault((reading.sensor, reading.t_us), reading.value)
        if held is reading.value:
            return "stored"
        return "duplicate" if held == reading.value else "conflict"

    def take(self, message: Uplink) -> None:
        if message.epoch is None:
            self.unnumbered.update(self.outcome_of(reading) for reading in message.readings)
            self.unnumbered.update(reason for first, last, reason in message.rejected for _ in range(first, last + 1))
            return
        assert message.first_seq is not None
        for place, reading in enumerate(message.readings):
            self._note(message.epoch, message.first_seq + place, lambda reading=reading: self.outcome_of(reading))
        for first, last in message.dropped:
            for number in range(first, last + 1):
                self._drop(message.epoch, number)
        for first, last, reason in message.rejected:
            for number in range(first, last + 1):
                self._note(message.epoch, number, lambda reason=reason: reason)

    def _note(self, epoch: str, number: int, outcome: Any) -> None:
        if self.outcomes[epoch].get(number, "dropped") == "dropped":
            self.outcomes[epoch][number] = outcome()
        else:
            self.redelivered[epoch] += 1

    def _drop(self, epoch: str, number: int) -> None:
        if number in self.outcomes[epoch]:
            self.redelivered[epoch] += 1
        else:
            self.outcomes[epoch][number] = "dropped"

    def counts(self, epoch: str) -> Counter[str]:
        return Counter(self.outcomes[epoch].values())

    def numbers(self, epoch: str, outcome: str | None) -> set[int]:
        known = self.outcomes[epoch]
        return {number for number in range(1, max(known, default=0) + 1) if known.get(number) == outcome}


class Deliveries(RuleBasedStateMachine):
    """A device and what carries its readings: late, twice, out of order, dropped, refused; and a recorder that starts anew."""

    store: SqlStore

    def __init__(self) -> None:
        super().__init__()
        self.device = f"d-{uuid.uuid4().hex}"
        self.follower = Follower("recorder", uuid.uuid4().hex, "uplink")
        self.writer = self.store.uplink_writer()
        self.next = 0
        self.model = Model()
        self.sent: list[Uplink] = []

    def hand_over(self, *messages: Uplink) -> None:
        moves = {0: (self.next, self.next + 1)}
        self.writer.store([self.copy(message) for message in messages], self.follower, moves, now_us=T0_US)
        self.next += 1
        self.sent += messages
        for message in messages:
            self.model.take(message)

    def copy(self, message: Uplink) -> Uplink:
        return Uplink(
            self.device, "udp", T0_US, message.epoch, message.first_seq, message.readings, message.dropped, message.rejected
        )

    def message(self, epoch: str, span: Range, dropped: Sequence[Range] = (), rejected: Sequence[Range] = ()) -> Uplink:
        readings = [reading_of(number) for number in range(span[0], span[1] + 1)]
        refused = [(first, last, "too_old" if first % 2 else "bad_value") for first, last in rejected]
        return Uplink(self.device, "udp", T0_US, epoch, span[0], readings, list(dropped), refused)

    @rule(epoch=st.sampled_from(EPOCHS), size=st.integers(1, 6))
    def deliver_the_next(self, epoch: str, size: int) -> None:
        first = max(self.model.outcomes[epoch], default=0) + 1
        self.hand_over(self.message(epoch, (first, first + size - 1)))

    @rule(epoch=st.sampled_from(EPOCHS), spans=st.lists(SPANS, min_size=1, max_size=3))
    def deliver_in_one_transaction(self, epoch: str, spans: list[Range]) -> None:
        self.hand_over(*(self.message(epoch, span) for span in spans))

    @rule(epoch=st.sampled_from(EPOCHS), span=SPANS, dropped=st.lists(SPANS, max_size=3), rejected=st.lists(SPANS, max_size=2))
    def deliver_with_ranges(self, epoch: str, span: Range, dropped: list[Range], rejected: list[Range]) -> None:
        self.hand_over(self.message(epoch, span, dropped, rejected))

    @rule(epoch=st.sampled_from(EPOCHS), dropped=st.lists(SPANS, min_size=1, max_size=4))
    def tell_of_drops_alone(self, epoch: str, dropped: list[Range]) -> None:
        self.hand_over(Uplink(self.device, "udp", T0_US, epoch, 1, [], dropped))

    @rule(numbers=st.lists(NUMBERS, max_size=4), refused=st.booleans())
    def deliver_without_numbers(self, numbers: list[int], refused: bool) -> None:
        rejected = [(0, 1, "bad_unit")] if refused else []
        self.hand_over(Uplink(self.device, "http", T0_US, None, None, [reading_of(number) for number in numbers], [], rejected))

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        numbered = [message for message in self.sent if message.epoch is not None]
        if numbered:
            self.hand_over(data.draw(st.sampled_from(numbered)))

    @rule()
    def start_anew(self) -> None:
        self.writer = self.store.uplink_writer()
        assert self.writer.positions(self.follower).get(0, 0) == self.next

    @rule(span=SPANS)
    def fail(self, span: Range) -> None:
        """A transaction that does not come about leaves nothing, in the store or in the writer."""
        stale = {0: (self.next + 5, self.next + 6)}
        with pytest.raises(PositionMoved):
            self.writer.store([self.message(EPOCHS[0], span)], self.follower, stale, now_us=T0_US)

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        ledger = self.store.loss_ledger(self.device)
        self.check_balance(ledger)
        for epoch in EPOCHS:
            self.check_epoch(epoch, next((one for one in ledger.epochs if one.epoch == epoch), None))
        assert len(self.store.readings(self.device).readings) == len(self.model.table) == ledger.stored
        put_aside = ledger.conflict + ledger.rejected.get("refused_by_store", 0)
        assert len(letters_of(self.store, self.device)) == put_aside

    def check_balance(self, ledger: LossLedger) -> None:
        assert ledger.balanced
        assert all(one.balanced for one in ledger.epochs)

    def teardown(self) -> None:
        """The fleet's page has the same, from counts alone."""
        ledger = self.store.loss_ledger(self.device)
        fleet = self.store.fleet_loss(limit=1, after=self.device[:-1])
        assert fleet.unbalanced == 0
        assert fleet.totals.balanced
        if ledger.epochs:
            [row] = fleet.page
            names = ("device", "sent", "stored", "duplicate", "conflict", "rejected", "dropped", "missing", "redelivered")
            assert [getattr(row, name) for name in names] == [getattr(ledger, name) for name in names]
            assert (row.epochs, row.all_balanced) == (len(ledger.epochs), True)

    def check_epoch(self, epoch: str, loss: EpochLoss | None) -> None:
        counts = self.model.counts(epoch)
        if loss is None:
            assert not counts
            return
        rejected = {name: counts[name] for name in ("too_old", "bad_value", "refused_by_store") if counts[name]}
        assert loss.rejected == rejected
        for name in ("stored", "duplicate", "conflict", "dropped"):
            assert getattr(loss, name) == counts[name], name
        assert loss.sent == max(self.model.outcomes[epoch], default=0)
        assert loss.redelivered == self.model.redelivered[epoch]
        assert list(loss.missing_ranges) == as_ranges(self.model.numbers(epoch, None))
        assert list(loss.dropped_ranges) == as_ranges(self.model.numbers(epoch, "dropped"))


class ManyGaps(Deliveries):
    """The same where the oldest gaps are only counted: numbers there are no longer told apart, but nothing gets lost for it."""

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        ledger = self.store.loss_ledger(self.device)
        self.check_balance(ledger)
        held = {(row.sensor, row.t_us) for row in self.store.readings(self.device).readings}
        assert held >= set(self.model.table), "everything that was delivered is there, below the floor too"
        for one in ledger.epochs:
            assert len(one.missing_ranges) + len(one.dropped_ranges) <= ranges.GAPS_MAX
            assert one.sent == (sum(self.model.unnumbered.values()) if not one.epoch else max(self.model.outcomes[one.epoch]))
        assert ledger.stored <= len(held)

    @rule(epoch=st.sampled_from(EPOCHS))
    def skip_every_second(self, epoch: str) -> None:
        first = max(self.model.outcomes[epoch], default=0) + 2
        self.hand_over(*(self.message(epoch, (number, number)) for number in range(first, first + 10, 2)))


def test_whatever_the_order_the_ledger_says_what_happened_to_each_number(store: SqlStore) -> None:
    Deliveries.store = store
    run_state_machine_as_test(Deliveries, settings=SETTINGS)


def test_gaps_beyond_the_limit_lose_detail_and_nothing_else(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "GAPS_MAX", 3)
    Deliveries.store = store
    run_state_machine_as_test(ManyGaps, settings=SETTINGS)


# --- the fleet -----------------------------------------------------------------------------------------------------------


def test_a_sender_that_numbers_nothing_counts_what_was_accepted(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, None, ("t", T0_US, 1.0), ("t", T0_US, 1.0), rejected=[(0, 2, "bad_unit")]))
    [one] = store.loss_ledger(device).epochs
    assert (one.epoch, one.sent, one.stored, one.duplicate, one.rejected) == ("", 5, 1, 1, {"bad_unit": 3})


def test_what_still_waits_in_the_outbox_is_not_missing_until_a_later_one_comes(
    store: SqlStore, log: UplinkLog, device: str
) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0)))
    assert (store.loss_ledger(device).sent, store.loss_ledger(device).missing) == (1, 0)
    log.store(uplink(device, 5, ("t", T0_US + 5, 1.0)))
    assert (store.loss_ledger(device).sent, store.loss_ledger(device).missing) == (5, 3)


def test_the_fleet_comes_in_pages_and_by_what_is_wrong_with_it(store: SqlStore, log: UplinkLog, device: str) -> None:
    names = [f"{device}-{n}" for n in range(3)]
    before = store.fleet_loss(limit=1)
    log.store(uplink(names[0], 1, ("t", T0_US, 1.0)), uplink(names[1], 4, ("t", T0_US, 1.0), rejected=[(3, 3, "too_old")]))
    log.store(uplink(names[2], 1, ("t", T0_US, 1.0)), uplink(names[2], 9, ("t", T0_US, 2.0), epoch="00ff"))
    first = store.fleet_loss(limit=2, after=device)
    assert ([row.device for row in first.page], first.more) == (names[:2], True)
    assert [(row.sent, row.stored, row.missing, row.rejected, row.epochs) for row in first.page] == [
        (1, 1, 0, {}, 1), (4, 1, 2, {"too_old": 1}, 1),
    ]  # fmt: skip
    second = store.fleet_loss(limit=2, after=names[1])
    assert second.page[0] == store.fleet_loss(limit=1, after=names[1], only="missing").page[0]
    assert (second.page[0].device, second.page[0].epochs, second.page[0].conflict) == (names[2], 2, 1)
    missing = store.fleet_loss(limit=2, after=device, only="missing")
    assert [row.device for row in missing.page] == names[1:]
    after = store.fleet_loss(limit=1)
    assert (after.devices - before.devices, after.incomplete - before.incomplete, after.unbalanced) == (3, 2, 0)
    assert after.totals.sent - before.totals.sent == 1 + 4 + 1 + 9
    assert after.totals.balanced


def test_a_ledger_that_does_not_balance_is_found(store: SqlStore, log: UplinkLog, device: str) -> None:
    """Nothing of ours makes one: the row is changed by hand."""
    log.store(uplink(device, 1, ("t", T0_US, 1.0)))
    for stored, unbalanced in ((2, [device]), (1, [])):
        with store.transaction() as connection:
            connection.execute(update(epochs).where(epochs.c.device == device).values(stored=stored))
        assert [row.device for row in store.fleet_loss(after=device[:-1], only="unbalanced").page] == unbalanced
        assert store.fleet_loss(limit=1).unbalanced == len(unbalanced)
        LossGauges(store).measure()
        assert LEDGER_UNBALANCED._value.get() == len(unbalanced)
        assert store.loss_ledger(device).balanced == (not unbalanced)


def test_numbers_as_high_as_they_go_are_summed(store: SqlStore, log: UplinkLog, device: str) -> None:
    """1,100 epochs of 2^53 are more than 2^63."""
    before, high = store.fleet_loss(limit=1).totals, SEQUENCE_MAX - 1
    log.store(*(uplink(device, high, ("t", T0_US + n, 1.0), epoch=f"{n:016x}") for n in range(1_100)))
    [row] = store.fleet_loss(limit=1, after=device[:-1]).page
    assert (row.sent, row.missing, row.stored, row.all_balanced) == (1_100 * high, 1_100 * (high - 1), 1_100, True)
    assert store.fleet_loss(limit=1).totals.sent == before.sent + 1_100 * high


def test_what_retention_of_the_log_took_stands_beside_the_ledger(store: SqlStore, log: UplinkLog, device: str) -> None:
    mine = partition_of(device)
    log.store(gaps=[Gap(mine, 5, 9), Gap(mine + 1, 7, 7)])
    log.store(gaps=[Gap(mine, 12, 12)])
    found = [(gap.partition, gap.first_offset, gap.last_offset) for gap in store.loss_ledger(device).log_gaps]
    assert found[:2] == [(mine, 12, 12), (mine, 5, 9)]
    assert (mine + 1, 7, 7) in [(gap.partition, gap.first_offset, gap.last_offset) for gap in store.fleet_loss(limit=1).log_gaps]


def test_it_balances_at_every_moment_of_a_recorder_that_goes_on(store: SqlStore, device: str) -> None:
    """An answer is of one moment: readings, ranges and reasons that come from different ones would not add up."""
    stop, failed = threading.Event(), []

    def record() -> None:
        log, first = UplinkLog(store), 1
        while not stop.is_set() and first < 20_000:
            rejected = [(first + 3, first + 4, f"reason_{first % 5}")]
            log.store(uplink(device, first, ("t", T0_US + first, 1.0), rejected=rejected, dropped=[(first + 6, first + 6)]))
            first += 9

    thread = threading.Thread(target=record)
    thread.start()
    try:
        for _ in range(60):
            ledger, fleet = store.loss_ledger(device), store.fleet_loss(limit=1, after=device[:-1])
            failed += [one for one in (ledger, *ledger.epochs, fleet.totals, *fleet.page) if not one.balanced]
    finally:
        stop.set()
        thread.join(30)
    assert failed == []
    assert store.loss_ledger(device).sent > 0


def test_old_counts_are_made_from_the_ranges_when_the_schema_grows(store: SqlStore, log: UplinkLog, device: str) -> None:
    """As the migration does: columns at 0, ranges and reasons as they were."""
    log.store(uplink(device, 5, ("t", T0_US, 1.0), dropped=[(1, 2)], rejected=[(9, 9, "too_old")]))
    wanted = store.loss_ledger(device)
    with store.transaction() as connection:
        zeros = dict.fromkeys(("missing_count", "dropped_count", "rejected"), 0)
        connection.execute(update(epochs).where(epochs.c.device == device).values(**zeros))
    assert store.fleet_loss(limit=1).unbalanced == 1
    with store.transaction() as connection:
        import_module("simway_flask_app.store.migrations.versions.0007_books")._count(connection)
    assert store.fleet_loss(limit=1).unbalanced == 0
    assert store.loss_ledger(device) == wanted
