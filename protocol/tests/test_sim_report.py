"""The SIM's own word: its MAC and receipts by the golden vectors, its pack, and what is none of them."""

import contextlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol import senml, vectors
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.readings import Reading
from simway_protocol.sim import report
from simway_protocol.sim.report import Receipt, SwitchWord

VECTORS = vectors.load("sim_report")
KEY = bytes(range(32))
ICCID = "8999901146044119424"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['n']} {case['iccid']}")
def test_macs(case):
    key = bytes.fromhex(case["device_key"])
    assert report.derive_report_key(key).hex() == case["report_key"]
    word = SwitchWord.sealed(key, case["n"], case["iccid"])
    assert word == (case["n"], case["iccid"], case["mac"])
    assert SwitchWord.of(word.value()) == word
    assert word.verified(key)
    assert not word.verified(KEY)
    for other in (word._replace(n=word.n % 1000 + 1), word._replace(iccid="1234")):
        assert not other.verified(key)


@pytest.mark.parametrize("case", VECTORS["receipts"], ids=lambda case: f"{case['taken']} {case['refused']}")
def test_receipts(case):
    receipt, data = Receipt(case["taken"], case["refused"]), bytes.fromhex(case["bytes"])
    assert receipt.encode() == data
    assert Receipt.decode(data) == receipt
    for at in range(len(data)):
        with pytest.raises(PeerError):
            Receipt.decode(data[:at])


@pytest.mark.parametrize("value", [
    None, 7, "n", {}, {"n": 1, "iccid": ICCID}, {"n": 0, "iccid": ICCID, "mac": ""}, {"n": True, "iccid": ICCID, "mac": ""},
    {"n": 1, "iccid": "12a", "mac": ""}, {"n": 1, "iccid": ICCID, "mac": "é"}, {"n": 1, "iccid": ICCID, "mac": "", "more": 1},
    {"n": 2**53, "iccid": ICCID, "mac": ""}, {"n": 1.0, "iccid": ICCID, "mac": ""}, {"n": 1, "iccid": "1" * 21, "mac": ""},
    {"n": 1, "iccid": "١", "mac": ""},
])  # fmt: skip
def test_what_is_no_switch_word(value):
    assert SwitchWord.of(value) is None


@pytest.mark.parametrize(("n", "iccid"), [(0, ICCID), (2**53, ICCID), (1, "x")])
def test_what_no_entry_can_hold(n, iccid):
    with pytest.raises(LocalError):
        report.switch_mac(KEY, n, iccid)


def test_a_pack_is_read_as_it_was_meant():
    word = SwitchWord.sealed(KEY, 3, ICCID)
    now_us, then_us = 1_790_000_000_000_007, 1_780_000_000_000_003
    pack = report.encode_pack(7, now_us, [(word, then_us), (word._replace(n=4), 0)])
    assert senml.decode_cbor(pack, now_us + 5) == [
        Reading("sim/counter", now_us, 7), Reading("sim/switch", then_us, word.value()),
        Reading("sim/switch", now_us + 5, word._replace(n=4).value()),
    ]  # fmt: skip


_count = st.none() | st.integers() | st.text(max_size=3)


@given(st.binary(max_size=64) | st.dictionaries(st.sampled_from(["taken", "refused", "n"]), _count).map(cbor2.dumps))
def test_any_bytes_are_a_receipt_or_a_peer_error(data):
    with contextlib.suppress(PeerError):
        taken, refused = Receipt.decode(data)
        assert taken >= 0
        assert refused >= 0


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(
    st.sampled_from(["n", "iccid", "mac"]), inner)))  # fmt: skip
def test_any_value_is_a_word_or_none(value):
    word = SwitchWord.of(value)
    assert word is None or not word.verified(KEY)
