"""Every reading of a frame gets one outcome, and what goes to the log says the same."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_ingest.admission import Admission, admit, admit_pack
from simway_protocol import limits, messages, senml
from simway_protocol.messages import Uplink, UplinkBatch
from simway_protocol.outcomes import Outcome, Reason
from simway_protocol.readings import Reading, Refusal

NOW_US = 1_795_312_800_000_000
EPOCH = "9f3c5a7e01b2d4c6"
HOUR_US = 3600 * 10**6


def numbered(first_seq=1, epoch=EPOCH):
    return Uplink("demo", "udp", NOW_US, epoch, first_seq)


def unnumbered():
    return Uplink("demo", "http", NOW_US)


def pack(*readings):
    return senml.to_records(readings)


def test_sound_readings_make_one_uplink_and_one_verdict():
    readings = [Reading("a", NOW_US - 5, 0), Reading("b", NOW_US, False, "%")]
    admission = admit_pack(pack(*readings), numbered(41), [(30, 40)])
    assert admission.verdicts == [(41, 42, Outcome.LOGGED, ""), (30, 40, Outcome.LOGGED, "")]
    (uplink,) = admission.uplinks
    assert (uplink.device, uplink.gateway, uplink.received_us, uplink.epoch) == ("demo", "udp", NOW_US, EPOCH)
    assert (uplink.first_seq, uplink.readings, uplink.dropped, uplink.rejected) == (41, readings, [(30, 40)], [])
    assert not admission.refusals
    assert not admission.letters


def test_a_refused_reading_splits_the_run_and_is_told_once():
    old = Reading("a", NOW_US - limits.RAW_RETENTION_US - 1, 1)
    good = Reading("a", NOW_US, 1)
    admission = admit_pack(pack(good, old, old, good), numbered(7), [])
    assert admission.verdicts == [
        (7, 7, Outcome.LOGGED, ""), (8, 9, Outcome.REJECTED, "too_old"), (10, 10, Outcome.LOGGED, ""),
    ]  # fmt: skip
    assert [(uplink.first_seq, len(uplink.readings)) for uplink in admission.uplinks] == [(7, 1), (10, 1)]
    assert [uplink.rejected for uplink in admission.uplinks] == [[(8, 9, "too_old")], []]
    assert [(letter.seq, letter.reason, letter.reading) for letter in admission.letters] == [
        (8, "too_old", old),
        (9, "too_old", old),
    ]


def test_where_all_are_refused_an_uplink_without_readings_tells_the_ledger():
    admission = admit_pack([{0: "a b", 2: 1}], numbered(3), [(1, 2)])
    (uplink,) = admission.uplinks
    assert (uplink.readings, uplink.rejected, uplink.dropped) == ([], [(3, 3, "bad_sensor")], [(1, 2)])
    assert admission.letters[0].payload == bytes.fromhex("a20063612062" + "0201")


@pytest.mark.parametrize(
    ("t_us", "reason"),
    [
        (NOW_US - limits.RAW_RETENTION_US, None), (NOW_US - limits.RAW_RETENTION_US - 1, Reason.TOO_OLD),
        (NOW_US + limits.FUTURE_MAX_US, None), (NOW_US + limits.FUTURE_MAX_US + 1, Reason.IN_FUTURE),
    ],
)  # fmt: skip
def test_the_window_of_time_is_sharp(t_us, reason):
    admission = admit([Reading("a", t_us, 1)], numbered(), [])
    assert [verdict[3] for verdict in admission.verdicts] == [reason or ""]


def test_retention_is_the_callers():
    assert admit([Reading("a", NOW_US - HOUR_US, 1)], numbered(), [], retention_us=HOUR_US - 1).letters


def test_too_many_at_once_are_refused_by_name_not_lost():
    many = [Reading("a", NOW_US + i, i) for i in range(limits.READINGS_MAX_PER_UPLINK + 2)]
    for admission in (admit(many, numbered(), []), admit_pack(pack(*many), numbered(), [])):
        assert admission.verdicts == [(1, 500, Outcome.LOGGED, ""), (501, 502, Outcome.REJECTED, "too_many")]


@pytest.mark.parametrize(
    "head",
    [
        numbered(0), numbered(-1), numbered(None), numbered(limits.SEQUENCE_MAX), numbered(2**64), numbered(1, ""),
        numbered(1, "9F3C5A7E01B2D4C6"), numbered(1, "9f3c5a7e01b2d4c\ud800"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_kept_and_not_answered(head):
    admission = admit([Reading("a", NOW_US, 1)], head, [])
    assert (admission.uplinks, admission.verdicts) == ([], [])
    assert [letter.reason for letter in admission.letters] == [Reason.BAD_SEQUENCE]
    messages.decode("dead-letter", messages.encode(admission.letters[0]))


@pytest.mark.parametrize("dropped", [[(0, 1)], [(5, 4)], [(7, 7)], [(1, 100)], [(1, 2**53)], [(1, 1)] * 33])
def test_dropped_ranges_that_cannot_be_do_not_hold_up_the_readings(dropped):
    admission = admit([Reading("a", NOW_US, 1)], numbered(7), dropped)
    assert admission.verdicts == [(7, 7, Outcome.LOGGED, "")]
    assert admission.uplinks[0].dropped == []
    assert [letter.reason for letter in admission.letters] == [Reason.BAD_SEQUENCE]


def test_dropped_ranges_alone_are_logged_and_acknowledged():
    admission = admit([], numbered(5), [(1, 4)])
    assert admission.verdicts == [(1, 4, Outcome.LOGGED, "")]
    assert admission.uplinks[0].dropped == [(1, 4)]


def test_without_readings_the_first_number_means_nothing():
    admission = admit([], numbered(3), [(1, 4), (9, 9)])
    assert admission.verdicts == [(1, 4, Outcome.LOGGED, ""), (9, 9, Outcome.LOGGED, "")]
    assert admission.letters == ()


def test_a_frame_without_anything_asks_for_nothing():
    assert admit([], numbered(5), []) == Admission([], [])


def test_a_numbered_reading_carries_its_own_time_and_an_unnumbered_one_need_not():
    records = [{0: "a", 2: 1.5}]
    assert admit_pack(records, numbered(), []).verdicts == [(1, 1, Outcome.REJECTED, "bad_time")]
    admission = admit_pack([*records, {0: "a"}], unnumbered(), [])
    assert admission.uplinks[0].readings == [Reading("a", NOW_US, 1.5)]
    assert admission.verdicts == []
    assert [(position, refusal.reason) for position, refusal in admission.refusals] == [(1, Reason.BAD_SENML)]


entries = st.lists(
    st.builds(Reading, st.just("a"), st.integers(NOW_US - 2 * limits.RAW_RETENTION_US, NOW_US + 10**12), st.integers(-5, 5))
    | st.builds(Refusal, st.sampled_from(Reason), st.just("detail"), st.integers() | st.text(st.characters()) | st.floats()),
    max_size=12,
)
ranges = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda pair: (min(pair), max(pair))), max_size=3)


@given(entries, st.integers(51, 1000), ranges)
def test_each_number_gets_one_outcome_and_the_log_says_the_same(entries, first_seq, dropped):
    admission = admit(entries, numbered(first_seq), dropped)
    told = [seq for first, last, _, _ in admission.verdicts for seq in range(first, last + 1) if seq >= first_seq]
    assert told == list(range(first_seq, first_seq + len(entries)))
    logged, rejected = [], []
    for uplink in admission.uplinks:
        logged += range(uplink.first_seq, uplink.first_seq + len(uplink.readings))
        rejected += [seq for first, last, _ in uplink.rejected for seq in range(first, last + 1)]
    assert sorted(logged + rejected) == told
    assert len(admission.letters) == len(rejected)
    assert [drop for uplink in admission.uplinks for drop in uplink.dropped] == dropped
    _survives_the_log(admission)


def _survives_the_log(admission):
    batch = UplinkBatch(admission.uplinks)
    assert messages.decode("uplink", messages.encode(batch)) == batch
    for letter in admission.letters:
        messages.decode("dead-letter", messages.encode(letter))


labels = st.sampled_from([*range(-6, 9), "vo", "x_"])
items = st.text(max_size=4) | st.floats() | st.integers() | st.booleans() | st.dictionaries(st.text(max_size=2), st.floats())


@given(st.lists(st.dictionaries(labels, items, max_size=4) | items, max_size=5), st.booleans())
def test_whatever_the_records_are_the_log_takes_what_comes_out(records, is_numbered):
    admission = admit_pack(records, numbered() if is_numbered else unnumbered(), [])
    _survives_the_log(admission)
    assert b"\\u0000" not in msgspec.json.encode([uplink.readings for uplink in admission.uplinks])
