"""ICCID, IMSI and EID: what is built parses to the same, check digits find errors, and what is no number is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.errors import LocalError
from simway_protocol.sim import numbering

DIGITS = "0123456789"
ICCIDS = st.text(DIGITS, min_size=18, max_size=20) | st.text(DIGITS + "ABCDE", min_size=14, max_size=16).map("8986".__add__)


@given(ICCIDS)
def test_iccids(iccid):
    assert numbering.decode_iccid(numbering.encode_iccid(iccid)) == iccid
    assert len(numbering.encode_iccid(iccid)) == numbering.ICCID_BYTES


@given(st.text(DIGITS, min_size=6, max_size=15))
def test_imsis(imsi):
    assert numbering.decode_imsi(numbering.encode_imsi(imsi)) == imsi


@given(st.text(DIGITS, min_size=30, max_size=30), st.integers(0, 31), st.integers(1, 9))
def test_eids_and_their_check_digits(first_30, place, change):
    eid = numbering.eid_with_check_digits(first_30)
    assert numbering.has_eid_check_digits(eid)
    assert numbering.decode_eid(numbering.encode_eid(eid)) == eid
    wrong = eid[:place] + str((int(eid[place]) + change) % 10) + eid[place + 1 :]
    assert not numbering.has_eid_check_digits(wrong)


@given(st.text(DIGITS, min_size=1, max_size=19), st.integers(0, 19), st.integers(1, 9))
def test_luhn_finds_every_single_wrong_digit(digits, place, change):
    whole = digits + numbering.luhn_digit(digits)
    assert numbering.has_luhn_digit(whole)
    place %= len(whole)
    wrong = whole[:place] + str((int(whole[place]) + change) % 10) + whole[place + 1 :]
    assert not numbering.has_luhn_digit(wrong)


@pytest.mark.parametrize(("number", "digit"), [("7992739871", "3"), ("890141032111185107", "2")])
def test_luhn_as_published(number, digit):
    assert numbering.luhn_digit(number) == digit


@pytest.mark.parametrize("build", [
    lambda: numbering.encode_iccid("123"), lambda: numbering.encode_eid("1" * 31), lambda: numbering.encode_imsi("12345"),
    lambda: numbering.encode_imsi("1" * 16), lambda: numbering.eid_with_check_digits("12"),
    lambda: numbering.encode_iccid("٨" * 19), lambda: numbering.encode_iccid("A0000005591010000000"),
    lambda: numbering.encode_iccid("898600d0a11e45678901"), lambda: numbering.encode_iccid("8986F0D0A11E4567890"),
])  # fmt: skip
def test_what_is_no_number(build):
    with pytest.raises(LocalError):
        build()
