"""The answer to reset (ISO/IEC 7816-3, 8.2; ETSI TS 102 221, 6.3): what a card says of itself when it gets power."""

from __future__ import annotations

from typing import NamedTuple

from simway_protocol.errors import PeerError

_DIRECT, _INVERSE = 0x3B, 0x3F
_GLOBAL = 15
_CLASSES = ((0x01, "5 V"), (0x02, "3 V"), (0x04, "1.8 V"))


class Atr(NamedTuple):
    """``protocols``: T= numbers offered, in order. ``voltages``: classes of supply; empty when not said. ``historical``: raw."""

    protocols: tuple[int, ...]
    voltages: tuple[str, ...]
    historical: bytes


def decode_atr(data: bytes) -> Atr:
    """Parses an answer to reset; ``PeerError`` (``bad_atr``) for one that is cut, goes on, or has a wrong check byte."""
    if len(data) < 2 or data[0] not in (_DIRECT, _INVERSE):
        raise PeerError("bad_atr", "no answer to reset: it begins with 3B or 3F")
    at, follow, protocols, voltages, interface = 2, data[1] >> 4, list[int](), 0, 0
    historical_bytes = data[1] & 0x0F
    while follow:
        group = {}
        for bit, name in ((1, "A"), (2, "B"), (4, "C"), (8, "D")):
            if follow & bit:
                group[name] = _byte(data, at)
                at += 1
        if interface == _GLOBAL and "A" in group:
            voltages = group["A"] & 0x3F
        if "D" not in group:
            break
        interface, follow = group["D"] & 0x0F, group["D"] >> 4
        protocols.append(interface)
    offered = tuple(dict.fromkeys(number for number in protocols if number != _GLOBAL)) or (0,)
    historical, rest = data[at : at + historical_bytes], data[at + historical_bytes :]
    _check(data, rest, historical, historical_bytes, has_check=bool(set(protocols) - {0}))
    return Atr(offered, tuple(name for bit, name in _CLASSES if voltages & bit), historical)


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise PeerError("bad_atr", "it is cut")
    return data[at]


def _check(data: bytes, rest: bytes, historical: bytes, historical_bytes: int, *, has_check: bool) -> None:
    if len(historical) != historical_bytes or len(rest) != has_check:
        raise PeerError("bad_atr", "its length is not what it says")
    total = 0
    for byte in data[1:]:
        total ^= byte
    if has_check and total:
        raise PeerError("bad_atr", "its check byte is wrong")
