"""The numbers on a SIM and their coding: ICCID (ITU-T E.118), EID (GSMA SGP.29), IMSI (3GPP TS 31.102, 4.2.2)."""

from __future__ import annotations

import re

from simway_protocol.errors import LocalError, PeerError

ICCID_BYTES = 10
EID_BYTES = 16
EID_DIGITS = 32
IMSI_BYTES = 9
_DIGITS = "0123456789"
_HEXADECIMAL = _DIGITS + "ABCDEF"
_ICCID = re.compile(r"[0-9][0-9A-E]{17,19}", re.ASCII)
ICCID_WORDS = "18 to 20 digits, of which all but the first may be A to E"


def encode_iccid(iccid: str) -> bytes:
    """10 bytes, nibbles swapped, padded with F: 8988211000000000025 -> 988812010000000020F5."""
    if not is_iccid(iccid):
        raise LocalError(f"{iccid!r} is not an ICCID: {ICCID_WORDS}")
    return _swap(iccid.ljust(2 * ICCID_BYTES, "F"))


def decode_iccid(data: bytes) -> str:
    """The digits of an ICCID; empty when all is F (no profile)."""
    if len(data) != ICCID_BYTES:
        raise PeerError("bad_iccid", f"{len(data)} bytes, 10 expected")
    digits = _unswap(data).rstrip("F")
    if digits and not is_iccid(digits):
        raise PeerError("bad_iccid", f"not {ICCID_WORDS}")
    return digits


def is_iccid(text: str) -> bool:
    """18 to 20 digits 0 to 9 and A to E, in upper case, the first one decimal.

    ITU-T E.118 knows decimal digits alone, but cards with others are in the field (898600D...), as are cards without a valid
    check digit, so none is asked for. No registered AID begins with a decimal digit (ISO/IEC 7816-5): the two stay apart.
    """
    return _ICCID.fullmatch(text) is not None


def luhn_digit(digits: str) -> str:
    """The digit that makes ``digits`` valid (ISO/IEC 7812-1, annex B) when appended."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def has_luhn_digit(digits: str) -> bool:
    """True when the last digit is the Luhn digit of those before it."""
    return len(digits) > 1 and _all_digits(digits) and luhn_digit(digits[:-1]) == digits[-1]


def encode_eid(eid: str) -> bytes:
    """16 bytes, not swapped: of plain BCD, by rights."""
    if len(eid) != EID_DIGITS or not all(digit in _HEXADECIMAL for digit in eid):
        raise LocalError(f"{eid!r} is not an EID: 32 digits")
    return bytes.fromhex(eid)


def decode_eid(data: bytes) -> str:
    """The 32 digits of an EID: decimal ones (SGP.29), but a card that has others tells them, too, in upper case."""
    if len(data) != EID_BYTES:
        raise PeerError("bad_eid", f"{len(data)} bytes, {EID_BYTES} expected")
    return data.hex().upper()


def eid_with_check_digits(first_30: str) -> str:
    """An EID whose last two digits make the whole leave 1 when divided by 97 (ISO 7064, MOD 97-10)."""
    if len(first_30) != EID_DIGITS - 2 or not _all_digits(first_30):
        raise LocalError("an EID is made from 30 digits")
    return f"{first_30}{98 - int(first_30) * 100 % 97:02d}"


def has_eid_check_digits(eid: str) -> bool:
    """True for 32 digits that leave 1 when divided by 97."""
    return len(eid) == EID_DIGITS and _all_digits(eid) and int(eid) % 97 == 1


def encode_imsi(imsi: str) -> bytes:
    """EF.IMSI: the length, then parity (9 odd, 1 even) and the digits with swapped nibbles, padded with F."""
    if not 6 <= len(imsi) <= 15 or not _all_digits(imsi):
        raise LocalError("an IMSI has 6 to 15 digits")
    nibbles = ("9" if len(imsi) % 2 else "1") + imsi
    body = _swap(nibbles + "F" * (len(nibbles) % 2))
    return (bytes((len(body),)) + body).ljust(IMSI_BYTES, b"\xff")


def decode_imsi(data: bytes) -> str:
    """The digits of EF.IMSI; empty when the file is blank."""
    if len(data) != IMSI_BYTES:
        raise PeerError("bad_imsi", f"{len(data)} bytes, 9 expected")
    length = data[0]
    if length in (0x00, 0xFF):
        return ""
    nibbles = _unswap(data[1 : 1 + length]) if length < IMSI_BYTES else ""
    digits = nibbles[1:].rstrip("F")
    if not 6 <= len(digits) <= 15 or not _all_digits(digits) or nibbles[0] not in "19":
        raise PeerError("bad_imsi", "not 6 to 15 digits with their parity")
    return digits


def _all_digits(text: str) -> bool:
    return all(character in _DIGITS for character in text)


def _swap(nibbles: str) -> bytes:
    return bytes.fromhex("".join(nibbles[at + 1] + nibbles[at] for at in range(0, len(nibbles), 2)))


def _unswap(data: bytes) -> str:
    return "".join(f"{byte & 0x0F:X}{byte >> 4:X}" for byte in data)
