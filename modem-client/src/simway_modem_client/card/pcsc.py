"""Card driver ``pcsc``: a card in a reader, through PC/SC and pyscard (an extra: it compiles against libpcsclite).

The card is held in shared mode, inside one transaction for as long as it is open, so that a sequence of APDUs is not torn apart
and an LPA that wants the card for itself gets it when this device lets go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simway_protocol.sim.card import CardError, CardGone

from simway_modem_client.card import NoDriver

INSTALL_LINE = "apt install pcscd libpcsclite-dev swig gcc python3-dev && pip install 'simway-modem-client[pcsc]'"


def open_card(settings: Mapping[str, str]) -> PcscCard:
    """Opens the first reader whose name holds ``settings["reader"]`` (any reader when empty) and has a card in it."""
    scard = _scard()
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if code != scard.SCARD_S_SUCCESS:
        raise CardError(
            f"the PC/SC service does not answer ({_words(scard, code)}); start it: systemctl start pcscd, or pcscd -f"
        )
    readers = _readers(scard, context)
    wanted = settings.get("reader", "")
    fitting = [name for name in readers if wanted.lower() in name.lower()]
    if not fitting:
        scard.SCardReleaseContext(context)
        seen = "; ".join(readers) or "none"
        raise CardError(
            f"no reader whose name holds {wanted!r} (CARD_READER); readers seen: {seen}; plug one in or correct the name"
        )
    trouble = ""
    for reader in fitting:
        card = PcscCard(scard, context, reader)
        try:
            card.connect()
        except CardError as error:
            trouble = str(error)
            continue
        return card
    scard.SCardReleaseContext(context)
    raise CardGone(trouble)


def reader_names() -> list[str]:
    """The readers that PC/SC knows now. Raises ``CardError``."""
    scard = _scard()
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if code != scard.SCARD_S_SUCCESS:
        raise CardError(
            f"the PC/SC service does not answer ({_words(scard, code)}); start it: systemctl start pcscd, or pcscd -f"
        )
    try:
        return _readers(scard, context)
    finally:
        scard.SCardReleaseContext(context)


class PcscCard:
    """A powered card in one reader (``simway_protocol.sim.card.Card``)."""

    def __init__(self, scard: Any, context: Any, reader: str) -> None:
        self._scard = scard
        self._context = context
        self._reader = reader
        self._card: Any = None
        self._protocol = 0

    def connect(self) -> None:
        """Connects in shared mode and begins a transaction."""
        scard = self._scard
        code, self._card, self._protocol = scard.SCardConnect(
            self._context, self._reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        )
        if code != scard.SCARD_S_SUCCESS:
            self._card = None
            raise CardGone(f"no card could be opened in {self._reader}: {_words(scard, code)}")
        self._begin()

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        scard = self._scard
        if self._card is None:
            raise CardGone("the card is closed")
        code, answer = scard.SCardTransmit(self._card, self._pci(), list(apdu))
        if code != scard.SCARD_S_SUCCESS:
            raise CardGone(f"the card in {self._reader} gave no answer: {_words(scard, code)}")
        if len(answer) < 2:
            raise CardError(f"the card in {self._reader} gave {len(answer)} bytes, no status word")
        return bytes(answer[:-2]), answer[-2] << 8 | answer[-1]

    def reset(self) -> bytes:
        """Power off and on; afterwards a fresh transaction. Works on a card that was pulled and put back, too."""
        scard = self._scard
        if self._card is None:
            self.connect()
        scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD)
        code, self._protocol = scard.SCardReconnect(
            self._card, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1, scard.SCARD_UNPOWER_CARD
        )
        if code != scard.SCARD_S_SUCCESS:
            self._disconnect()
            self.connect()
        else:
            self._begin()
        code, _reader, _state, _protocol, atr = scard.SCardStatus(self._card)
        if code != scard.SCARD_S_SUCCESS:
            raise CardGone(f"the card in {self._reader} did not come back after its reset: {_words(scard, code)}")
        return bytes(atr)

    def close(self) -> None:
        """Lets go of the card, which stays powered as it is."""
        if self._context is None:
            return
        self._disconnect()
        self._scard.SCardReleaseContext(self._context)
        self._context = None

    def _begin(self) -> None:
        scard = self._scard
        code = scard.SCardBeginTransaction(self._card)
        if code != scard.SCARD_S_SUCCESS:
            self._disconnect()
            raise CardGone(f"the card in {self._reader} is held by another program: {_words(scard, code)}")

    def _disconnect(self) -> None:
        if self._card is not None:
            self._scard.SCardEndTransaction(self._card, self._scard.SCARD_LEAVE_CARD)
            self._scard.SCardDisconnect(self._card, self._scard.SCARD_LEAVE_CARD)
            self._card = None

    def _pci(self) -> Any:
        scard = self._scard
        return scard.SCARD_PCI_T0 if self._protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1


def _scard() -> Any:
    try:
        from smartcard import scard
    except ImportError as error:
        raise NoDriver(f"CARD=pcsc needs pyscard, which is not installed; install it: {INSTALL_LINE}") from error
    return scard


def _readers(scard: Any, context: Any) -> list[str]:
    code, readers = scard.SCardListReaders(context, [])
    return list(readers) if code == scard.SCARD_S_SUCCESS else []


def _words(scard: Any, code: int) -> str:
    return str(scard.SCardGetErrorMessage(code)).strip()
