"""Readings as line protocol: whatever a reading holds, an independent strict parser reads it back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.grafana.line_protocol import channel_path, encode
from simway_flask_app.store.port import StoredReading
from simway_testing.line_protocol import BadLine, parse

T_US = st.integers(-(2**63) // 1000 + 1, (2**63 - 1) // 1000)
DEVICES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1) | st.booleans()


@given(DEVICES, TEXT, NUMBERS, T_US)
def test_a_number_is_one_float_whatever_it_was(device: str, sensor: str, value: float | int | bool, t_us: int) -> None:
    [point] = parse(encode([StoredReading(device, sensor, t_us, value, "V")]))
    assert point.measurement == device.replace(":", "=") + "/volt"
    assert point.fields == {"volt": float(value)}
    assert point.t_ns == t_us * 1000
    assert list(point.tags) == ["sensor"]


@given(DEVICES, TEXT, T_US)
def test_text_is_read_back_but_for_control_characters(device: str, text: str, t_us: int) -> None:
    [point] = parse(encode([StoredReading(device, "s", t_us, text, None)]))
    assert point.measurement == device.replace(":", "=") + "/text"
    printable = "".join(" " if ord(character) < 0x20 or ord(character) == 0x7F else character for character in text)
    assert point.fields == {"text": printable}


@given(st.dictionaries(TEXT, NUMBERS | TEXT, max_size=4))
def test_an_object_is_its_json(value: dict[str, object]) -> None:
    [point] = parse(encode([StoredReading("d", "s", 0, value, None)]))
    assert json.loads(str(point.fields["text"]).replace("\x7f", " ")) == json.loads(
        json.dumps(value).replace("\\u007f", " ").replace("\x7f", " ")
    )


@given(TEXT)
def test_a_sensor_is_read_back_but_for_backslashes_and_control_characters(sensor: str) -> None:
    [point] = parse(encode([StoredReading("d", sensor, 0, 1.0, None)]))
    plain = "".join("_" if ord(character) < 0x20 or ord(character) == 0x7F else character for character in sensor)
    assert point.tags["sensor"] == plain.replace("\\", "/")


@given(DEVICES, DEVICES)
def test_two_devices_never_share_a_channel(one: str, other: str) -> None:
    assert (channel_path(one) == channel_path(other)) == (one == other)


def test_golden_lines() -> None:
    readings = [
        StoredReading("demo", "cpu.percent", 1_767_225_600_123_456, 12.5, "%"),
        StoredReading("imei:35", "door, left=open", 1, True, None),
        StoredReading("demo", "n", -1, 3, None),
        StoredReading("demo", "fw", 2, 'say "hi" \\ bye', None),
        StoredReading("demo", "pos", 3, {"lat": 1.5}, None),
        StoredReading("demo", "beyond", 2**63 - 1, 1.0, None),
    ]
    assert encode(readings).decode().splitlines() == [
        "demo/percent,sensor=cpu.percent percent=12.5 1767225600123456000",
        r"imei=35/value,sensor=door\,\ left\=open value=1.0 1000",
        "demo/value,sensor=n value=3.0 -1000",
        r'demo/text,sensor=fw text="say \"hi\" \\ bye" 2000',
        r'demo/text,sensor=pos text="{\"lat\":1.5}" 3000',
    ]
    assert encode([]) == b""


@pytest.mark.parametrize(
    "line",
    [
        "", "m", "m value=1", "m,t=a value=1", "m, value=1 1", "m,t= value=1 1", "m,t=a  1", "m,t=a value= 1",
        "m,t=a value=nan 1", "m,t=a value=1e999 1", "m,t=a value=1 1.5", "m,t=a b value=1 1", 'm,t=a value="x 1',
        "m,t=a\\ value=1 1", "m,t=a,t=b v=1 1", "_m,t=a value=1 1",
        'm,t=a value="a\\n" 1', "m,t=a value=1u 1", "m,t=a value=1 99999999999999999999",
    ],
)  # fmt: skip
def test_the_parser_of_these_tests_is_strict(line: str) -> None:
    with pytest.raises(BadLine):
        parse(f"{line}\n".encode())


def test_the_parser_of_these_tests_reads_what_the_specification_shows() -> None:
    text = 'my\\ m,tag\\ one=a\\,b,two=c\\=d f=1i,g=t,h="a \\"b\\" \\\\",i=-1.5e3 1556813561098000000\n'
    [point] = parse(text.encode())
    assert point.measurement == "my m"
    assert point.tags == {"tag one": "a,b", "two": "c=d"}
    assert point.fields == {"f": 1, "g": True, "h": 'a "b" \\', "i": -1500.0}
    assert math.isclose(point.t_ns, 1556813561098000000)
