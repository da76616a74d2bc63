"""The rules of a reading, each refused by its own name."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.limits import INT64_MAX, INT64_MIN, OBJECT_MAX_DEPTH, VALUE_MAX_BYTES
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, is_sensor, is_unit, refuse_reading, refuse_value


def _nested(depth, leaf=1):
    value = leaf
    for _ in range(depth):
        value = {"d": value}
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, None), (False, None), (0.0, None), ("", None), ({}, None), (INT64_MAX, None), (INT64_MIN, None),
        (INT64_MAX + 1, Reason.OUT_OF_RANGE), (INT64_MIN - 1, Reason.OUT_OF_RANGE), (10**4000, Reason.OUT_OF_RANGE),
        (math.nan, Reason.NOT_FINITE), (math.inf, Reason.NOT_FINITE), (-math.inf, Reason.NOT_FINITE),
        ({"a": math.nan}, Reason.NOT_FINITE), ({"a": [1, {"b": math.inf}]}, Reason.NOT_FINITE),
        (None, Reason.BAD_VALUE), ([1], Reason.BAD_VALUE), (b"x", Reason.BAD_VALUE), ({1: 1}, Reason.BAD_VALUE),
        ({"a": b"x"}, Reason.BAD_VALUE), ({"a": None, "b": [None, True]}, None),
        ("a\x00b", Reason.BAD_TEXT), ("\ud800", Reason.BAD_TEXT),
        ("\udfff" * 900, Reason.BAD_TEXT), ({"\x00": 1}, Reason.BAD_TEXT),
        ({"a": "\ud800"}, Reason.BAD_TEXT), ({"\udc00": 1}, Reason.BAD_TEXT),
        ("x" * (VALUE_MAX_BYTES - 2), None), ("x" * (VALUE_MAX_BYTES - 1), Reason.TOO_LONG), ("x" * 10**6, Reason.TOO_LONG),
        ("\n" * (VALUE_MAX_BYTES // 2), Reason.TOO_LONG), ("é" * (VALUE_MAX_BYTES // 2), Reason.TOO_LONG),
        ({"a": "x" * 990}, None), ({"a": "x" * 993}, Reason.TOO_LONG), ({"a": list(range(5000))}, Reason.TOO_LONG),
        (_nested(OBJECT_MAX_DEPTH), None), (_nested(OBJECT_MAX_DEPTH + 1), Reason.TOO_DEEP), (_nested(500), Reason.TOO_DEEP),
        ({"a": [[[[[[[[[1]]]]]]]]]}, Reason.TOO_DEEP),
    ],
)  # fmt: skip
def test_each_rule_of_a_value_has_its_name(value, reason):
    assert refuse_value(value) is reason


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=4)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(anything)
def test_what_passes_survives_json_unchanged_and_fits(value):
    if refuse_value(value) is None:
        encoded = msgspec.json.encode(value)
        assert msgspec.json.decode(encoded) == value
        assert len(encoded) <= VALUE_MAX_BYTES
        assert b"\\u0000" not in encoded


@pytest.mark.parametrize("name", ["a", "A1", "7", "urn:dev:ow:10e2073a", "a-b:c.d/e_f", "x" * 128])
def test_sensor_names(name):
    assert is_sensor(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "a\n", "a\x00", "é", "x" * 129, "a%"])
def test_what_is_no_sensor_name(name):
    assert not is_sensor(name)


def test_units():
    assert all(map(is_unit, ["%", "Cel", "m/s2", "°C", "x" * 32]))
    assert not any(map(is_unit, ["", "x" * 33, "a\n", "\x00", "\ud800", "\x85"]))


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading("a", 1, 1), None),
        (Reading(None, 1, 1), Reason.BAD_SENSOR),
        (Reading("a", 1.0, 1), Reason.BAD_TIME),
        (Reading("a", True, 1), Reason.BAD_TIME),
        (Reading("a", 2**63, 1), Reason.BAD_TIME),
        (Reading("a", 1, 1, ""), Reason.BAD_UNIT),
        (Reading("a", 1, 1, 5), Reason.BAD_UNIT),
        (Reading("a", 1, None), Reason.BAD_VALUE),
    ],
)
def test_rules_of_a_reading(reading, reason):
    assert refuse_reading(reading) is reason
