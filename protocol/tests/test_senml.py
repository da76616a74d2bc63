"""SenML by its golden vectors, in both forms, and by properties."""

from contextlib import suppress
from decimal import Decimal

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol import senml, vectors
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.limits import INT64_MAX, INT64_MIN
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Refusal, refuse_reading, refuse_value

VECTORS = vectors.load("senml")["cases"]
NOW_US = 1_795_312_800_000_000


def plainly(entries):
    return [{"reason": entry.reason} if type(entry) is Refusal else list(entry) for entry in entries]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["note"])
def test_vectors_in_cbor(case):
    assert plainly(senml.decode_cbor(bytes.fromhex(case["cbor"]), case["now_us"])) == case["entries"]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["note"])
def test_vectors_in_json(case):
    assert plainly(senml.decode_json(msgspec.json.encode(case["json"]), case["now_us"])) == case["entries"]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["note"])
def test_a_pack_cut_anywhere_or_with_bytes_after_it_is_the_peers_fault(case):
    whole = bytes.fromhex(case["cbor"])
    for data in [whole[:cut] for cut in range(len(whole))] + [whole + b"\x00"]:
        with pytest.raises(PeerError):
            senml.decode_cbor(data, case["now_us"])


sensors = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9:./_-]{0,20}\Z")
values = (
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(INT64_MIN, INT64_MAX) | st.booleans() | st.text(max_size=40)
    | st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5), max_size=3)
).filter(lambda value: refuse_value(value) is None)  # fmt: skip
times = st.integers(2**28 * 10**6, 4 * 10**15)
readings = st.builds(Reading, sensors, times, values, st.none() | st.sampled_from(["%", "Cel", "°C"]))


@given(st.lists(readings, max_size=30))
def test_readings_come_back_as_they_went_microsecond_for_microsecond(sent):
    for received in (
        senml.resolve(senml.to_records(sent), None),
        senml.decode_cbor(senml.encode_cbor(sent), None),
        senml.decode_json(senml.encode_json(sent), None),
    ):
        assert received == sent
        assert [type(one.value) for one in received] == [type(one.value) for one in sent]


def test_a_time_that_senml_cannot_say_is_the_callers_fault():
    with pytest.raises(LocalError):
        senml.to_records([Reading("a", 2**28 * 10**6 - 1, 1)])


labels = st.sampled_from([*range(-6, 9), "vo", "x", "x_", 9, 1.5, True, None])
items = (
    sensors | st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=5) | st.decimals()
    | st.binary(max_size=3) | st.dictionaries(st.text(max_size=2), st.floats(), max_size=2) | st.lists(st.integers(), max_size=2)
)  # fmt: skip
packs = st.lists(st.dictionaries(labels, items, max_size=5) | items, max_size=6)


@given(packs, st.none() | st.just(NOW_US))
def test_whatever_the_records_are_each_gives_a_sound_reading_or_a_named_refusal(pack, now_us):
    entries = senml.resolve(pack, now_us)
    only_base = sum(type(r) is dict and bool(r) and all(isinstance(k, int) and k < 0 for k in r) for r in pack)
    assert len(pack) - only_base <= len(entries) <= len(pack)
    for entry in entries:
        if type(entry) is Reading:
            assert refuse_reading(entry) is None
        else:
            assert entry.reason in Reason
            assert entry.detail


common = st.dictionaries(
    st.sampled_from([0, 1, 2, 6, -3, -2]),
    sensors | st.floats() | st.integers() | st.sampled_from(["%", ""]) | times.map(lambda t_us: t_us / 1e6),
)


@given(st.lists(common, max_size=4))
def test_the_short_way_judges_as_the_long_way(pack):
    def by_the_long_way():
        base, entries = senml._Base(), []
        for record in pack:
            try:
                entries.append(senml._resolve_any(record, base, None))
            except senml._Bad as bad:
                if bad.poisons:
                    return entries
                entries.append(bad.reason)
        return entries

    expected = [entry for entry in by_the_long_way() if entry is not None]
    found = [entry.reason if type(entry) is Refusal else entry for entry in senml.resolve(pack, None)]
    assert found[: len(expected)] == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_a_pack_or_the_peers_fault(data):
    for decode in (senml.decode_cbor, senml.decode_json):
        with suppress(PeerError):
            decode(data, NOW_US)


@given(packs)
def test_any_cbor_array_is_decoded(pack):
    try:
        data = cbor2.dumps(pack)
    except cbor2.CBOREncodeError:
        return
    senml.decode_cbor(data, NOW_US)


def test_a_number_may_be_a_decimal_fraction():
    pack = cbor2.dumps([{0: "a", -3: 1795312799, 2: Decimal("273.15")}])
    assert senml.decode_cbor(pack, None) == [Reading("a", 1_795_312_799_000_000, 273.15)]


@pytest.mark.parametrize("tag", [0, 1, 6, 25, 28, 29, 30, 35, 36, 37, 256, 258, 261, 43000, 2**32])
@pytest.mark.parametrize("value", ["(?i)" + "[\u0100-\U0010ffff]" * 90, [0, 1], 0])
def test_a_tag_that_is_no_number_is_refused_at_once(tag, value):
    pack = cbor2.dumps([{0: "a", 6: 1795312799, "vo": {"x": cbor2.CBORTag(tag, value)}}])
    with pytest.raises(PeerError, match="bad_senml"):
        senml.decode_cbor(pack, None)


def test_shared_values_do_not_unfold():
    levels = b"".join(bytes.fromhex("d81c82") + bytes.fromhex(f"d81d{level:02x}") for level in range(20))
    with pytest.raises(PeerError, match="bad_senml"):
        senml.decode_cbor(bytes.fromhex("81a162766fa16178") + levels + b"\x00", None)


@pytest.mark.parametrize("data", [b"", b"{}", b"5", b"[", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_pack(data):
    with pytest.raises(PeerError):
        senml.decode_json(data, NOW_US)
