"""A chain of processors over the card port, each with one duty; each is a card itself.

``chain`` builds it: trace what crosses, repeat after 6Cxx, gather 61xx, note 91xx.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simway_protocol.sim import applet, status, trace
from simway_protocol.sim.apdu import Command, channel_of, get_response
from simway_protocol.sim.card import Card, CardError, expect_success
from simway_protocol.sim.trace import Exchange

GATHERED_MAX_BYTES = 65_536
"""A card that promises more than this in one answer is not believed."""
EXCHANGES_MAX = 512
"""Exchanges kept as evidence until they are taken; the oldest go."""


class Processor:
    """Passes everything on; the processors below change one thing each."""

    def __init__(self, inner: Card) -> None:
        self._inner = inner

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        return self._inner.transmit(apdu)

    def reset(self) -> bytes:
        """As ``Card.reset``."""
        return self._inner.reset()

    def close(self) -> None:
        """As ``Card.close``."""
        self._inner.close()


class Traced(Processor):
    """Notes each exchange by name, status word and time."""

    def __init__(self, inner: Card, clock_us: Callable[[], int]) -> None:
        super().__init__(inner)
        self._clock_us = clock_us
        self._exchanges: deque[Exchange] = deque(maxlen=EXCHANGES_MAX)
        self._selected: dict[int, bytes] = {}

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``; a lost answer is noted too."""
        channel = channel_of(apdu[0]) if apdu else 0
        name = trace.name_of(apdu, in_applet=self._selected.get(channel) == applet.AID)
        started_us, sw = self._clock_us(), None
        try:
            data, sw = self._inner.transmit(apdu)
        finally:
            self._exchanges.append(Exchange(name, sw, self._clock_us() - started_us))
        aid = trace.application_of(apdu)
        if aid is not None and (status.is_success(sw) or status.has_more(sw)):
            self._selected[channel] = aid
        return data, sw

    def reset(self) -> bytes:
        """As ``Card.reset``."""
        self._selected.clear()
        started_us = self._clock_us()
        atr = self._inner.reset()
        self._exchanges.append(Exchange("RESET", status.OK, self._clock_us() - started_us))
        return atr

    def take(self) -> list[Exchange]:
        """The exchanges since the last call, oldest first."""
        taken = list(self._exchanges)
        self._exchanges.clear()
        return taken

    def forget_since(self, taken: list[Exchange]) -> None:
        """Puts back what ``take`` gave, in place of what came after it."""
        self._exchanges.clear()
        self._exchanges.extend(taken)


class LengthCorrected(Processor):
    """6Cxx: the same command once more, with the Le that the card named."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        data, sw = self._inner.transmit(apdu)
        if not status.wants_length(sw):
            return data, sw
        return self._inner.transmit(Command.decode(apdu)._replace(le=status.count_of(sw)).encode())


class Gathered(Processor):
    """61xx: GET RESPONSE in the class of the command until all of the answer is here."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``; the data is whole, the status word the last one."""
        data, sw = self._inner.transmit(apdu)
        if not status.has_more(sw):
            return data, sw
        parts = [data]
        while status.has_more(sw):
            part, sw = self._inner.transmit(get_response(status.count_of(sw), apdu[0]).encode())
            parts.append(part)
            if len(parts) > GATHERED_MAX_BYTES // 256 or (not part and status.has_more(sw)):
                raise CardError("GET RESPONSE: the card promises more without an end", sw)
        return b"".join(parts), sw


class ProactiveNoted(Processor):
    """91xx: notes how many bytes wait for FETCH. Only the latest status word counts."""

    def __init__(self, inner: Card) -> None:
        super().__init__(inner)
        self.pending_bytes = 0

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        data, sw = self._inner.transmit(apdu)
        if status.is_proactive(sw):
            self.pending_bytes = status.count_of(sw)
        elif status.is_success(sw):
            self.pending_bytes = 0
        return data, sw

    def reset(self) -> bytes:
        """As ``Card.reset``; what was pending is void."""
        self.pending_bytes = 0
        return self._inner.reset()


class Chain:
    """The whole chain: ``card`` to send through, ``trace`` and ``proactive`` to ask."""

    def __init__(self, card: Card, clock_us: Callable[[], int]) -> None:
        self.trace = Traced(card, clock_us)
        self.proactive = ProactiveNoted(Gathered(LengthCorrected(self.trace)))
        self.card: Card = self.proactive

    def send(self, command: Command, doing: str) -> bytes:
        """The data of a command that must succeed; ``CardError`` names ``doing`` and the status word."""
        data, sw = self.card.transmit(command.encode())
        expect_success(sw, doing)
        return data
