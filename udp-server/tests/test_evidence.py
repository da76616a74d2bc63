"""What a device says can be logged and stored, whatever it is."""

import cbor2
import msgspec
from hypothesis import given
from hypothesis import strategies as st
from simway_udp_server.evidence import ITEMS_MAX, PROFILES_MAX, TEXT_MAX_CHARS, clean, inventory_of

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.decimals() | st.dates()
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers() | st.binary(), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(anything)
def test_anything_becomes_json_that_postgresql_takes(value):
    encoded = msgspec.json.encode(clean(value))
    assert b"\\u0000" not in encoded
    msgspec.json.decode(encoded)


def test_what_is_sound_stays_as_it_is():
    evidence = {"iccid_before": "89", "apdus": [{"name": "EnableProfile", "sw": "9000", "ms": 41}], "x": [None, True, 1.5, -1]}
    assert clean(evidence) == evidence
    assert clean({"raw": b"\x01\xff", "nan": float("nan"), "big": 2**70}) == {"raw": "01ff", "nan": "nan", "big": "out of range"}


def test_everything_is_bounded():
    deep = []
    for _ in range(300):
        deep = [deep]
    assert len(msgspec.json.encode(clean(deep))) < 100
    assert len(clean(list(range(10_000)))) == ITEMS_MAX
    assert len(clean("x" * 10_000)) == TEXT_MAX_CHARS


def test_an_inventory_is_read_and_what_is_none_is_not():
    profile = {"iccid": "89", "aid": "a0", "state": "enabled", "provider": "Alpha", "unknown": 1}
    found = inventory_of({"inventory": {"eid": "89", "active_iccid": "89", "profiles": [profile] * 100}})
    assert (found.eid, found.active_iccid, len(found.profiles)) == ("89", "89", PROFILES_MAX)
    assert (found.profiles[0].iccid, found.profiles[0].provider, found.profiles[0].name) == ("89", "Alpha", "")
    for wrong in (
        {},
        {"inventory": None},
        {"inventory": {"eid": 5}},
        {"inventory": {"eid": "", "active_iccid": "", "profiles": [5]}},
        {"inventory": {"eid": "", "active_iccid": "", "profiles": [profile | {"state": "Enabled"}]}},
        {"inventory": {"eid": "", "active_iccid": "", "profiles": [profile, profile | {"state": ""}]}},
        {"inventory": {"eid": "", "active_iccid": "", "profiles": [profile | {"profile_class": "2"}]}},
    ):
        assert inventory_of(wrong) is None


@given(st.binary(max_size=80))
def test_whatever_cbor_gives_is_cleaned(data):
    try:
        value = cbor2.loads(data)
    except Exception:
        return
    msgspec.json.encode(clean(value))
