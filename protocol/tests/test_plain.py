"""The plain form by its vectors and by properties."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol import plain, vectors
from simway_protocol.errors import PeerError
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Refusal, refuse_reading

VECTORS = vectors.load("plain")
NOW_US = 1_795_312_800_000_000


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["note"])
def test_vectors(case):
    entries = plain.decode_plain(case["body"].encode(), case["now_us"])
    assert [{"reason": e.reason} if type(e) is Refusal else list(e) for e in entries] == case["entries"]


@pytest.mark.parametrize("case", VECTORS["timestamps"], ids=lambda case: repr(case["timestamp"]))
def test_timestamps(case):
    assert plain.timestamp_us(case["timestamp"]) == case["t_us"]


@pytest.mark.parametrize("body", [b"", b"5", b'"x"', b"null", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_object_or_array_is_the_peers_fault(body):
    with pytest.raises(PeerError) as caught:
        plain.decode_plain(body, NOW_US)
    assert caught.value.reason == "bad_json"


since_1973_us = st.integers(10**14, 4 * 10**15)


@given(since_1973_us)
def test_a_moment_is_the_same_in_every_unit(t_us):
    assert plain.timestamp_us(t_us) == t_us
    assert plain.timestamp_us(t_us * 1000) == t_us
    assert plain.timestamp_us(t_us // 1000) == t_us // 1000 * 1000
    assert plain.timestamp_us(t_us // 10**6) == t_us // 10**6 * 10**6
    assert plain.timestamp_us(str(t_us)) == t_us
    assert plain.timestamp_us(t_us / 1e6) == t_us


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets))
def test_rfc_3339_agrees_with_the_calendar(moment):
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert plain.timestamp_us(moment.isoformat(timespec="microseconds")) == expected


@given(st.text(max_size=40) | st.floats() | st.integers() | st.none() | st.booleans() | st.lists(st.none(), max_size=1))
def test_any_timestamp_is_microseconds_or_nothing(timestamp):
    result = plain.timestamp_us(timestamp)
    assert result is None or type(result) is int


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(["sensor_id", "timestamp", "value", "unit", "x"]), anything) | anything)
def test_any_object_gives_a_sound_reading_or_a_named_refusal(item):
    entry = plain.resolve_plain(item, NOW_US)
    if type(entry) is Reading:
        assert refuse_reading(entry) is None
    else:
        assert entry.reason in Reason


def test_zero_and_false_are_values():
    body = b'[{"sensor_id": "a", "value": 0}, {"sensor_id": "a", "value": false}, {"sensor_id": "a", "value": 0.0}]'
    assert [entry.value for entry in plain.decode_plain(body, NOW_US)] == [0, False, 0.0]
    assert math.copysign(1, plain.decode_plain(b'{"sensor_id": "a", "value": -0.0}', NOW_US)[0].value) == -1
