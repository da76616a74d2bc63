"""One suite for dead letters on SQLite and on a real PostgreSQL: kept, listed, replayed once or refused with the reason."""

from __future__ import annotations

import threading

import pytest
from simway_flask_app import replays
from simway_flask_app.store import letters
from simway_flask_app.store.bookkeeping import KeptLetter
from simway_flask_app.store.port import BadCursor, LetterRefused, UnknownLetter
from simway_flask_app.store.schema import readings, series, tiers
from simway_flask_app.store.sql import SqlStore
from simway_protocol.limits import FUTURE_MAX_US, RAW_RETENTION_US
from simway_protocol.messages import DeadLetter, Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading
from simway_testing.stores import EPOCH, T0_US, UplinkLog, outbox_of, uplink
from sqlalchemy import select

AHEAD_US = T0_US + FUTURE_MAX_US + 1_000


def refused(device: str, reason: str = "in_future", t_us: int = AHEAD_US, **more: object) -> DeadLetter:
    """A reading that a gateway put aside."""
    given = {"reading": Reading("t", t_us, 1.0, "Cel"), "epoch": EPOCH, "seq": 7} | more
    return DeadLetter("admit", reason, T0_US, device, "udp", **given)  # type: ignore[arg-type]


def keep(store: SqlStore, *found: DeadLetter) -> None:
    with store.transaction() as connection:
        letters.keep(connection, found, T0_US)


def the_only(store: SqlStore, device: str) -> KeptLetter:
    [found] = store.dead_letters(device=device).letters
    return found


def replay(store: SqlStore, letter_id: int, now_us: int = T0_US + 10) -> KeptLetter:
    return store.replay_letter(letter_id, replays.judge, actor="api", now_us=now_us)


# --- kept and listed -----------------------------------------------------------------------------------------------------


def test_letters_of_gateways_and_of_the_store_stand_in_one_list(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0)), uplink(device, 2, ("t", T0_US, 2.0)))
    keep(store, refused(device), *[letter for _, letter in outbox_of(store, device)])
    found = [(one.letter.source, one.letter.reason) for one in store.dead_letters(device=device).letters]
    assert found == [("admit", "in_future"), ("recorder", "conflict")], "the store's own are not kept twice"
    assert store.dead_letter_counts(device) == {"conflict": 1, "in_future": 1}
    assert store.dead_letter_counts()["conflict"] >= 1


def test_letters_by_reason_source_and_time_in_pages(store: SqlStore, device: str) -> None:
    keep(store, *(refused(device, "too_old" if n % 2 else "bad_value", seq=n) for n in range(5)))
    with store.transaction() as connection:
        letters.keep(connection, [DeadLetter("elsewhere", "too_old", T0_US + 50, device)], T0_US)
    first = store.dead_letters(device=device, limit=4)
    rest = store.dead_letters(device=device, limit=4, cursor=first.next_cursor)
    assert [one.letter.seq for one in first.letters + rest.letters] == [None, 4, 3, 2, 1, 0]
    assert rest.next_cursor is None
    assert len(store.dead_letters(device=device, reason="too_old").letters) == 3
    assert len(store.dead_letters(device=device, reason="too_old", source="admit").letters) == 2
    assert len(store.dead_letters(device=device, from_us=T0_US, to_us=T0_US + 50).letters) == 5
    with pytest.raises(BadCursor):
        store.dead_letters(cursor="MS4y")


def test_whatever_a_gateway_writes_the_database_takes(store: SqlStore, device: str) -> None:
    keep(store, DeadLetter("a\x00b", "x" * 70 + "\x00", 2**70, device, detail="\x00", payload=b"\xff"))
    found = the_only(store, device)
    assert (found.letter.payload, found.letter.detail) == (b"\xff", "\x00")
    keep(store, DeadLetter("admit", "bad_senml", T0_US, f"{device}\x00"))
    assert len(store.dead_letters(device="", reason="bad_senml").letters) >= 1


def test_no_more_letters_are_kept_than_there_is_room_for(store: SqlStore, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, *(refused(device, seq=n) for n in range(5)))
    monkeypatch.setattr(letters, "KEPT_MAX", 3)
    keep(store, refused(device, seq=5))
    assert [one.letter.seq for one in store.dead_letters(device=device).letters] == [5, 4, 3]


# --- replayed ------------------------------------------------------------------------------------------------------------


def test_a_reading_goes_into_the_log_anew_once_and_the_audit_trail_says_so(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    keep(store, refused(device))
    letter_id = the_only(store, device).letter_id
    with pytest.raises(LetterRefused) as caught:
        replay(store, letter_id)
    assert caught.value.reason == "in_future"
    for _ in range(2):
        done = store.replay_letter(letter_id, replays.judge, actor="anna", now_us=AHEAD_US)
        assert (done.replayed_us, done.replayed_by) == (AHEAD_US, "anna")
        assert store.dead_letter(letter_id) == done
    [batch] = [message for topic, message in outbox_of(store, device) if topic == "uplink"]
    assert batch == UplinkBatch([Uplink(device, replays.GATEWAY, AHEAD_US, readings=[Reading("t", AHEAD_US, 1.0, "Cel")])])
    [entry] = store.audit(device=device, kind="letter.replayed").entries
    assert (entry.entry.actor, entry.entry.subject) == ("anna", str(letter_id))
    with pytest.raises(UnknownLetter):
        replay(store, 10**17)


def test_two_who_ask_at_once_replay_it_once(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    keep(store, refused(device, "too_many", t_us=T0_US))
    letter_id = the_only(store, device).letter_id
    threads = [threading.Thread(target=replay, args=(store, letter_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [topic for topic, _ in outbox_of(store, device)].count("uplink") == 1


@pytest.mark.parametrize(
    ("held", "reason", "text"), [(21.5, "conflict", "21.5 Cel"), (1.0, "duplicate", "already"), (1, "duplicate", "already")]
)
def test_what_the_store_has_of_that_time_stays(
    store: SqlStore, log: UplinkLog, device: str, held: float, reason: str, text: str
) -> None:
    store.add_device(device, name="", now_us=T0_US)
    log.store(uplink(device, 1, ("t", T0_US, held, "Cel")))
    keep(store, refused(device, "too_many", t_us=T0_US))
    with pytest.raises(LetterRefused, match=text) as caught:
        replay(store, the_only(store, device).letter_id)
    assert caught.value.reason == reason


def test_a_conflict_can_be_stored_once_the_other_value_is_gone(store: SqlStore, log: UplinkLog, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    log.store(uplink(device, 1, ("t", T0_US, 1.0)), uplink(device, 2, ("t", T0_US, 2.0)))
    letter_id = the_only(store, device).letter_id
    with pytest.raises(LetterRefused):
        replay(store, letter_id)
    with store.transaction() as connection:
        mine = select(series.c.series_id).where(series.c.device == device).scalar_subquery()
        connection.execute(readings.delete().where(readings.c.series_id == mine))
    assert replay(store, letter_id).replayed_us == T0_US + 10


def test_how_old_a_reading_may_be_is_what_raw_retention_says_now(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    keep(store, refused(device, "too_old", t_us=T0_US - RAW_RETENTION_US - 1))
    letter_id = the_only(store, device).letter_id
    with store.transaction() as connection:
        connection.execute(tiers.delete().where(tiers.c.tier == "raw"))
    with pytest.raises(LetterRefused, match="older than raw readings are kept") as caught:
        replay(store, letter_id)
    assert caught.value.reason == "too_old"
    with store.transaction() as connection:
        connection.execute(tiers.insert().values(tier="raw", keep_s=0, updated_us=T0_US, actor="test"))
    assert replay(store, letter_id).replayed_us is not None


def test_a_record_that_was_put_aside_whole_comes_back_as_it_was(store: SqlStore, log: UplinkLog, device: str) -> None:
    """Its numbers were never accounted for: they are now, and once."""
    store.add_device(device, name="", now_us=T0_US)
    lost = uplink(device, 1, ("t", T0_US, 1.0), ("t", T0_US + 1, 2.0))
    log.store(uplink(device, 3, ("t", T0_US + 2, 3.0)))
    log.store(letters=[DeadLetter("recorder", "refused_by_store", T0_US, device, payload=encode(UplinkBatch([lost])))])
    assert store.loss_ledger(device).missing == 2
    replay(store, the_only(store, device).letter_id)
    [batch] = [message for topic, message in outbox_of(store, device) if topic == "uplink"]
    log.store(*batch.uplinks)
    log.store(*batch.uplinks)  # the outbox may publish twice
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.missing, ledger.redelivered, ledger.balanced) == (3, 3, 0, 2, True)


def test_a_number_that_was_rejected_stays_so_when_it_is_admitted_on_a_resend(
    store: SqlStore, log: UplinkLog, device: str
) -> None:
    """The rejection's acknowledgement was lost, and by the resend the time was no longer in the future."""
    store.add_device(device, name="", now_us=T0_US)
    log.store(uplink(device, 7, rejected=[(7, 7, "in_future")]), uplink(device, 1, *(("u", T0_US + n, 1.0) for n in range(6))))
    keep(store, refused(device))
    log.store(uplink(device, 7, ("t", AHEAD_US, 1.0, "Cel")))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, dict(ledger.rejected), ledger.redelivered) == (7, 6, {"in_future": 1}, 1)
    assert {row.sensor for row in store.readings(device).readings} == {"u"}
    replay(store, the_only(store, device).letter_id, now_us=AHEAD_US)
    [batch] = [message for topic, message in outbox_of(store, device) if topic == "uplink"]
    log.store(*batch.uplinks)
    assert [row.t_us for row in store.readings(device).readings if row.sensor == "t"] == [AHEAD_US]
    assert store.loss_ledger(device).balanced


def test_a_number_that_was_stored_stays_so_when_its_resend_is_rejected(store: SqlStore, log: UplinkLog, device: str) -> None:
    """The acknowledgement was lost, and by the resend the reading had become too old."""
    log.store(uplink(device, 1, ("t", T0_US, 1.0)), uplink(device, 1, rejected=[(1, 1, "too_old")]))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, dict(ledger.rejected), ledger.redelivered) == (1, 1, {}, 1)
    assert [row.t_us for row in store.readings(device).readings] == [T0_US]


def test_a_letter_of_a_device_that_is_not_registered_waits_for_that(store: SqlStore, device: str) -> None:
    keep(store, refused(device, "too_many", t_us=T0_US))
    with pytest.raises(LetterRefused, match="Register it") as caught:
        replay(store, the_only(store, device).letter_id)
    assert caught.value.reason == "unknown_device"
    store.add_device(device, name="", now_us=T0_US)
    assert replay(store, the_only(store, device).letter_id).replayed_us is not None
