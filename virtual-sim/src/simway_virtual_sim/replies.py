"""How a part of the card refuses a command."""

from __future__ import annotations


class Refusal(Exception):
    """The command ends with this status word and no data."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw


def wrong_length(right: int) -> Refusal:
    """6Cxx: the same again with this Le. Nothing has happened."""
    return Refusal(0x6C00 | right & 0xFF)
