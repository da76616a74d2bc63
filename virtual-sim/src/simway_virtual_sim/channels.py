"""Logical channels (ETSI TS 102 221, 8.7 and 11.1.17): what each has selected, and what waits on it for GET RESPONSE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simway_protocol.sim import status
from simway_protocol.sim.apdu import CHANNELS, Command

from simway_virtual_sim.filesystem import Directory, Elementary
from simway_virtual_sim.replies import Refusal, wrong_length


class Session(Protocol):
    """An application selected on one channel; it keeps what it needs between two commands."""

    aid: bytes

    def fci(self) -> bytes:
        """What SELECT answers."""

    def process(self, command: Command) -> bytes:
        """One command of the proprietary class; its data, or ``Refusal``."""


@dataclass
class Channel:
    """One open channel. ``directory`` and ``file``: what is selected of the file system. ``waiting``: for GET RESPONSE.

    ``application``: the ADF that 7FFF names. ``record``: the current record of the file, 0 for none yet.
    """

    directory: Directory
    file: Elementary | None = None
    application: Directory | None = None
    record: int = 0
    session: Session | None = None
    waiting: bytes = b""


class Channels:
    """The open channels by number; the basic channel 0 always is."""

    def __init__(self, mf: Directory) -> None:
        self._open: dict[int, Channel] = {}
        self.reset(mf)

    def reset(self, mf: Directory) -> None:
        """Power-on: the basic channel alone, with the MF selected."""
        self._mf = mf
        self._open = {0: Channel(mf)}

    def get(self, number: int) -> Channel:
        """An open channel; 6881 for another."""
        if number not in self._open:
            raise Refusal(status.CHANNEL_NOT_SUPPORTED)
        return self._open[number]

    def manage(self, command: Command) -> bytes:
        """MANAGE CHANNEL."""
        if command.p1 == 0x00:
            return self._open_channel(command)
        if command.p1 == 0x80:
            return self._close_channel(command.p2 or command.channel)
        raise Refusal(status.WRONG_P1_P2)

    def _open_channel(self, command: Command) -> bytes:
        if command.p2 == 0 and command.le != 1:
            raise wrong_length(1)
        free = (number for number in range(1, CHANNELS) if number not in self._open)
        number = command.p2 or next(free, CHANNELS)
        if number >= CHANNELS or number in self._open:
            raise Refusal(status.FUNCTION_NOT_SUPPORTED)
        self._open[number] = Channel(self._mf)
        return b"" if command.p2 else bytes((number,))

    def _close_channel(self, number: int) -> bytes:
        if number == 0 or number not in self._open:
            raise Refusal(status.CHANNEL_NOT_SUPPORTED)
        del self._open[number]
        return b""
