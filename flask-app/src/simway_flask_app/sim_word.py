"""The SIM's own word on a switch: its entry in the card's switch log, held to the device key. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simway_protocol.identity import derive_device_key
from simway_protocol.sim import report


class SimWord(NamedTuple):
    """What the SIM says: its ``n``-th change of profile, at ``t_us`` by the device's clock, enabled ``iccid`` (empty: none).

    ``verified``: whoever wrote it holds the device key.
    """

    n: int
    iccid: str
    t_us: int
    verified: bool


def read(master_secret: bytes, device: str, key_versions: Iterable[int], value: object, t_us: int) -> SimWord | None:
    """The word in the value of a ``sim/switch`` reading; None when it has another shape."""
    entry = report.SwitchWord.of(value)
    if entry is None:
        return None
    keys = (derive_device_key(master_secret, device, version) for version in sorted(set(key_versions), reverse=True))
    return SimWord(entry.n, entry.iccid, t_us, any(entry.verified(key) for key in keys))


def newest(words: Iterable[SimWord]) -> SimWord | None:
    """The last change: a verified word before one that is not, then the highest ``n``."""
    return max(words, key=lambda word: (word.verified, word.n), default=None)
