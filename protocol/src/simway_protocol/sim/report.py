"""The SIM's own word: what an application on the card tells the platform through the terminal (docs/sim-speaks.md).

Up: a SenML CBOR pack (RFC 8428) with the sensors below, in one datagram of a BIP channel to ``PLATFORM_ADDRESS``. Down: a
receipt, once the terminal has it durably.

* ``sim/counter``: how often the card has reported, an integer.
* ``sim/switch``: ``{"n", "iccid", "mac"}``, one for each change of the enabled profile: the n-th in the card's life enabled this
  ICCID (empty: none is enabled). Sent until acknowledged, so at least once; n tells repetitions, and a gap in n what was lost.

MAC = HMAC-SHA-256(HKDF(K, "sim report"), "simway sim switch" 00 n(8, big-endian) iccid in ASCII digits), the first 16 bytes in
lower-case hexadecimal. Vectors: ``vectors/sim_report.json``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import cbor2

from simway_protocol import senml
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.identity import hkdf, hmac_sha256

PREFIX = "sim/"
"""What every sensor of a card begins with; the terminal takes no other name from a card."""
COUNTER = "sim/counter"
SWITCH = "sim/switch"
PLATFORM_ADDRESS = IPv4Address("0.0.0.0")
PLATFORM_PORT = 6001
"""Where a card sends to that does not know its platform's address: the terminal knows it."""
MAC_BYTES = 16
N_MAX = 2**53 - 1
"""What survives every JSON reader."""
_NAME, _VALUE, _TIME = 0, 2, 6
"""Labels of SenML in CBOR (RFC 8428, 6)."""
_LABEL = b"simway sim switch\x00"
_ICCID = re.compile(r"[0-9A-E]{0,20}", re.ASCII)


def derive_report_key(device_key: bytes) -> bytes:
    """The key of the card's reports, 32 bytes: HKDF(K, info = "sim report")."""
    return hkdf(device_key, b"sim report")


def switch_mac(device_key: bytes, n: int, iccid: str) -> str:
    """The MAC of a switch log entry, 32 hexadecimal digits. ``n`` from 1; ``LocalError`` for what no entry can hold."""
    if not 1 <= n <= N_MAX or not _is_iccid(iccid):
        raise LocalError(f"a switch log entry has n from 1 to 2^53 - 1 and an ICCID of digits, not {n} and {iccid!r}")
    return hmac_sha256(derive_report_key(device_key), _LABEL + n.to_bytes(8, "big") + iccid.encode())[:MAC_BYTES].hex()


class SwitchWord(NamedTuple):
    """The value of a ``sim/switch`` reading."""

    n: int
    iccid: str
    mac: str

    @classmethod
    def sealed(cls, device_key: bytes, n: int, iccid: str) -> SwitchWord:
        """An entry with its MAC."""
        return cls(n, iccid, switch_mac(device_key, n, iccid))

    @classmethod
    def of(cls, value: object) -> SwitchWord | None:
        """The entry in a reading's value; None when it has not that shape. Says nothing about the MAC: ``verified``."""
        if not isinstance(value, dict) or set(value) != {"n", "iccid", "mac"}:
            return None
        n, iccid, mac = value["n"], value["iccid"], value["mac"]
        if type(n) is not int or type(iccid) is not str or type(mac) is not str:
            return None
        if not 1 <= n <= N_MAX or not _is_iccid(iccid) or not mac.isascii():
            return None
        return cls(n, iccid, mac)

    def value(self) -> dict[str, Any]:
        """As a reading carries it."""
        return {"n": self.n, "iccid": self.iccid, "mac": self.mac}

    def verified(self, device_key: bytes) -> bool:
        """True when a holder of K wrote it. Constant-time."""
        return hmac.compare_digest(switch_mac(device_key, self.n, self.iccid), self.mac)


def encode_pack(counter: int, t_us: int, switches: Sequence[tuple[SwitchWord, int]]) -> bytes:
    """The SenML CBOR pack of one report: the counter, then entries with the time of each, UTC microseconds.

    A time of 0 is not known: the record has none, and whoever takes it stamps it. Only a known time makes a repetition the same
    reading as before.
    """
    values: list[tuple[str, Any, Any, int]] = [(COUNTER, _VALUE, counter, t_us)]
    values += [(SWITCH, senml.OBJECT_LABEL, word.value(), at_us) for word, at_us in switches]
    records = [{_NAME: name, label: value} | ({_TIME: at_us / 1e6} if at_us else {}) for name, label, value, at_us in values]
    return cbor2.dumps(records)


class Receipt(NamedTuple):
    """The datagram that answers a pack: how many of its records the terminal has durably, and how many it refused for good."""

    taken: int
    refused: int

    def encode(self) -> bytes:
        """CBOR ``{"taken", "refused"}``."""
        return cbor2.dumps({"taken": self.taken, "refused": self.refused}, canonical=True)

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """``PeerError`` (``bad_receipt``) when ``data`` is none."""
        try:
            items = cbor2.loads(data)
        except Exception as error:  # cbor2 raises many kinds; each means the same here
            raise PeerError("bad_receipt", str(error)) from error
        if not isinstance(items, dict) or set(items) != {"taken", "refused"}:
            raise PeerError("bad_receipt", "not the two counts")
        taken, refused = items["taken"], items["refused"]
        if type(taken) is not int or type(refused) is not int or taken < 0 or refused < 0:
            raise PeerError("bad_receipt", "a count is no count")
        return cls(taken, refused)


def _is_iccid(iccid: str) -> bool:
    return _ICCID.fullmatch(iccid) is not None
