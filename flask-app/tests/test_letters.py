"""Dead letters from a gateway's topic to the store and back into the log; what of them can be stored is judged by rules."""

from __future__ import annotations

from threading import Event
from typing import Any

import cbor2
import pytest
from prometheus_client import REGISTRY
from simway_flask_app import replays
from simway_flask_app.gauges import LossGauges
from simway_flask_app.letter_keeper import LetterKeeper
from simway_flask_app.replays import Facts, Refused, judge
from simway_flask_app.store import outbox
from simway_flask_app.store.schema import log_gaps
from simway_flask_app.web.present_loss import decoded
from simway_protocol.identity import partition_of
from simway_protocol.limits import FUTURE_MAX_US
from simway_protocol.messages import DeadLetter, Uplink, UplinkBatch, decode, encode
from simway_protocol.readings import Reading
from simway_testing.ledger_house import T0_US, House
from simway_testing.stores import UplinkLog
from simway_testing.waiting import wait_for
from sqlalchemy import select

READING = Reading("t", T0_US, 1.0, "Cel")
NOT_NUMBERED: Any = Uplink("demo", "udp", 1, "00ff", 0, [READING])


def letter(reading: Reading | None = READING, reason: str = "too_many", **more: Any) -> DeadLetter:
    return DeadLetter("admit", reason, T0_US, "demo", "udp", "00ff", 8, reading=reading, **more)


# --- by the topic ----------------------------------------------------------------------------------------------------------


def keeper(house: House, **more: Any) -> LetterKeeper:
    return LetterKeeper(house.log, house.store, stopping=Event(), now_us=lambda: T0_US, **more)


def write(house: House, *values: bytes) -> None:
    house.log.append("dead-letter", 0, [(None, value) for value in values]).result(60)


def kept(house: House) -> list[tuple[str, str]]:
    return [(one.letter.source, one.letter.reason) for one in house.store.dead_letters().letters]


def test_each_letter_of_the_topic_is_kept_once_across_restarts(house: House) -> None:
    write(house, encode(letter()), b"no letter", encode(letter(reason="too_old")))
    first = keeper(house)
    assert first.turn() == 3
    first.close()
    write(house, encode(letter(reason="in_future")))
    second = keeper(house)
    assert second.turn() == 1
    assert second.turn(poll_s=0.0) == 0
    assert (second.source.positions, second.source.newest_us is None) == ({0: 4}, False)
    second.close()
    words = [("admit", "in_future"), ("admit", "too_old"), ("letters", "corrupt_record"), ("admit", "too_many")]
    assert kept(house) == words
    assert house.store.dead_letters(source="letters").letters[0].letter.payload == b"no letter"


def test_two_keepers_at_once_keep_each_letter_once(house: House) -> None:
    """A dispatcher that hung goes on beside its successor."""
    one, other = keeper(house), keeper(house)
    assert one.turn(poll_s=0.0) == other.turn(poll_s=0.0) == 0
    write(house, encode(letter()))
    for each in (one, other, one, other):
        each.turn(poll_s=0.01)
    write(house, encode(letter(reason="too_old")))
    for each in (other, one, other, one):
        each.turn(poll_s=0.01)
    assert kept(house) == [("admit", "too_old"), ("admit", "too_many")]
    one.close()
    other.close()


def test_letters_that_retention_took_first_are_counted(house: House) -> None:
    missing: list[int] = []
    write(house, *(encode(letter()) for _ in range(4)))
    house.log.drop_before("dead-letter", 0, 3)  # type: ignore[attr-defined]
    one = keeper(house, on_missing=missing.append)
    wait_for(lambda: one.turn(poll_s=0.05) == 1, 60, "the last letter")
    one.close()
    assert missing == [3]
    with house.store.reading() as connection:
        [row] = connection.execute(select(log_gaps))
    assert (row.consumer, row.topic, row.first_offset, row.last_offset) == ("letters", "dead-letter", 0, 2)


def test_a_letter_of_a_gateway_is_replayed_into_the_store(house: House) -> None:
    """The dispatcher publishes it, and dies before it has noted that: stored once, counted as what it is, balanced."""
    write(house, encode(letter()))
    one = keeper(house)
    one.turn()
    one.close()
    [found] = house.store.dead_letters().letters
    house.store.replay_letter(found.letter_id, judge, actor="api", now_us=T0_US)
    with house.store.reading() as connection:
        [row] = [row for row in outbox.waiting(connection, 10) if row.topic == "uplink"]
    house.dispatcher.publisher.send([row])
    house.turn()
    published = house.log.records("uplink")  # type: ignore[attr-defined]
    assert [record.partition for record in published] == 2 * [partition_of("demo")]
    recorder = UplinkLog(house.store)
    for record in published:
        recorder.store(*decode("uplink", record.value).uplinks)
    assert [(row.t_us, row.value, row.unit) for row in house.store.readings("demo").readings] == [(T0_US, 1.0, "Cel")]
    ledger = house.store.loss_ledger("demo")
    assert (ledger.stored, ledger.duplicate, ledger.balanced) == (1, 1, True)
    LossGauges(house.store).measure()
    for outcome, count in (("sent", 2), ("stored", 1), ("duplicate", 1), ("missing", 0), ("rejected", 0)):
        assert REGISTRY.get_sample_value("simway_ledger_readings", {"outcome": outcome}) == count
    assert REGISTRY.get_sample_value("simway_ledger_devices") == 1
    assert REGISTRY.get_sample_value("simway_ledger_unbalanced_devices") == 0


# --- by the rules ----------------------------------------------------------------------------------------------------------


def facts(held: Any = None, devices: str = "demo") -> Facts:
    return Facts(T0_US, T0_US - 1_000, lambda device: device == devices, lambda device, sensor, t_us: held)


def test_a_reading_comes_back_without_its_number() -> None:
    assert judge(letter(), facts()) == [Uplink("demo", replays.GATEWAY, T0_US, readings=[READING])]


@pytest.mark.parametrize(
    ("given", "known", "reason"),
    [
        (letter(READING._replace(sensor="no name")), facts(), "bad_sensor"),
        (letter(READING._replace(value=float("inf"))), facts(), "not_finite"),
        (letter(READING._replace(t_us=T0_US - 1_001)), facts(), "too_old"),
        (letter(READING._replace(t_us=T0_US + FUTURE_MAX_US + 1)), facts(), "in_future"),
        (letter(), facts(held=(2.0, "Cel")), "conflict"),
        (letter(), facts(held=(1.0, "F")), "conflict"),
        (letter(), facts(held=(1, "Cel")), "duplicate"),
        (letter(), facts(devices="other"), "unknown_device"),
        (letter(None, payload=cbor2.dumps({0: "t"})), facts(), "no_reading"),
        (DeadLetter("dispatcher", "refused_by_store", T0_US, payload=b"{}"), facts(), "no_reading"),
        (DeadLetter("recorder", "corrupt_record", T0_US, payload=b"{"), facts(), "undecodable"),
        (DeadLetter("recorder", "bad_uplink", T0_US, payload=b"{"), facts(), "undecodable"),
        (DeadLetter("recorder", "bad_uplink", T0_US, payload=encode(NOT_NUMBERED)), facts(), "bad_uplink"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_with_the_reason(given: DeadLetter, known: Facts, reason: str) -> None:
    found = judge(given, known)
    assert isinstance(found, Refused)
    assert found.reason == reason


def test_whole_uplinks_come_back_with_their_numbers() -> None:
    uplink = Uplink("demo", "udp", T0_US, "00ff", 3, [READING], [(1, 2)])
    batch = DeadLetter("recorder", "refused_by_store", T0_US, payload=encode(UplinkBatch([uplink])))
    assert judge(batch, facts()) == [uplink]
    alone = DeadLetter("recorder", "bad_uplink", T0_US, "demo", payload=encode(uplink))  # type: ignore[arg-type]
    assert judge(alone, facts()) == [uplink]


# --- shown -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "payload", "shown"),
    [
        ("admit", cbor2.dumps({0: "t", 2: 1.5, -3: 7}), ("cbor", {"n": "t", "v": 1.5, "bt": 7})),
        ("admit", cbor2.dumps({"a": b"\x01", 1: [float("inf"), 2**70]}), ("cbor", {"a": "h'01'", "u": ["inf", str(2**70)]})),
        ("admit", cbor2.dumps(cbor2.CBORTag(35, "(a*)*b")), ("", None)),
        ("admit", b"\xa1\x00", ("", None)),
        ("recorder", b'{"uplinks": [1e999]}', ("json", {"uplinks": ["inf"]})),
        ("recorder", b"plain", ("text", "plain")),
        ("recorder", b"\xff", ("", None)),
        ("recorder", b"", ("", None)),
        ("recorder", b'{"a": "\\ud800"}', ("json", {"a": "\\ud800"})),
        ("recorder", b"[" * 40 + b"]" * 40, None),
    ],
)  # fmt: skip
def test_a_payload_is_shown_as_far_as_it_decodes(source: str, payload: bytes, shown: Any) -> None:
    found = decoded(DeadLetter(source, "bad_value", T0_US, payload=payload))
    if shown is None:
        assert found[0] == "json"
        assert "..." in repr(found[1])
    else:
        assert found == shown
