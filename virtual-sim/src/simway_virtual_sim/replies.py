"""How a part of the card refuses a command."""

from __future__ import annotations

from simway_protocol.errors import PeerError
from simway_protocol.sim import status

_WRONG_BLOCK = ("bad_p1", "bad_block")


class Refusal(Exception):
    """The command ends with this status word and no data."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw


def wrong_length(right: int) -> Refusal:
    """6Cxx: the same again with this Le. Nothing has happened."""
    return Refusal(0x6C00 | right & 0xFF)


def refusal_of(error: PeerError) -> Refusal:
    """6A86 for a block that P1 or P2 puts in the wrong place, 6A80 for data that does not parse."""
    return Refusal(status.WRONG_P1_P2 if error.reason in _WRONG_BLOCK else status.WRONG_DATA)
