"""The simulated card in a reader of pcscd, through vpcd (vsmartcard): the card connects to the reader by TCP.

A message is a 2-byte big-endian length and a body. One-byte bodies from the reader are 00 power off, 01 power on, 02 reset (no
answer to these) and 04 (answer: the ATR); any other body is a command APDU, and exactly one response APDU goes back.
"""

from __future__ import annotations

import socket
from typing import Protocol

from simway_protocol.sim.card import CardGone

PORT = 35963
"""vpcd's first reader; the second one listens on the next port."""
_POWER_OFF, _POWER_ON, _RESET, _ATR = b"\x00", b"\x01", b"\x02", b"\x04"


class Powered(Protocol):
    """What is put into the reader: ``uicc.Uicc``."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """One command; data and status word."""

    def reset(self) -> bytes:
        """Power off and on; the ATR."""


class Inserted:
    """A card in a reader: what each message does to it. No socket here."""

    def __init__(self, card: Powered) -> None:
        self._card = card
        self._atr = card.reset()
        self._on = False

    def handle(self, message: bytes) -> bytes | None:
        """The answer to one message, None where none is due. ``CardGone``: it has no power, and is mute."""
        if message == _ATR:
            return self._atr
        if message == _POWER_OFF:
            self._on = False
            return None
        if message in (_POWER_ON, _RESET):
            self._atr = self._card.reset()
            self._on = True
            return None
        if not self._on:
            raise CardGone("a command came before the power")
        data, sw = self._card.transmit(message)
        return data + sw.to_bytes(2, "big")


def serve(card: Powered, connection: socket.socket) -> None:
    """Serves one connection until the reader closes it, or the card is gone (``CardGone``): then as one that was pulled. Blocks.

    TCP_QUICKACK is set anew before every ``recv``: vpcd sends length and body in two segments, and without it Nagle's algorithm
    at its end would wait 40 ms for our delayed acknowledgement, each time.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        inserted = Inserted(card)
        while (message := _receive(connection)) is not None:
            answer = inserted.handle(message)
            if answer is not None:
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
    except CardGone:
        return


def _receive(connection: socket.socket) -> bytes | None:
    header = _receive_exactly(connection, 2)
    return None if header is None else _receive_exactly(connection, int.from_bytes(header, "big"))


def _receive_exactly(connection: socket.socket, length: int) -> bytes | None:
    data = b""
    while len(data) < length:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        try:
            part = connection.recv(length - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return data
