"""Card driver ``pcsc``: a card in a reader, through PC/SC and pyscard (an extra: it compiles against libpcsclite).

The card is held in shared mode, so other tools may use it as well; each dialogue is one PC/SC transaction, so they never do so in
the middle of one. A tool that wants the card for itself (lpac, pySim) gets it when this one has let go: ``close``, when idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.uicc import Uicc

from simway_modem_client.card import NoDriver, pcsc_words
from simway_modem_client.card.bounded import StillWaits, bounded

TRANSACTION_WAIT_S = 10.0
"""How long another program's transaction is waited for. PC/SC itself would wait for ever."""
NOTICED_S = 1.5
"""pcscd looks into its readers every 0.4 s, and then powers what is new there."""


class Slot(NamedTuple):
    """A reader as PC/SC sees it now. ``flags``: SCARD_STATE; the upper 16 bits count cards put in and pulled."""

    name: str
    flags: int
    atr: bytes


class Context:
    """One way to the PC/SC service. Raises ``NoDriver`` without pyscard, ``CardGone`` without the service."""

    def __init__(self) -> None:
        try:
            from smartcard import scard
        except ImportError as error:
            raise NoDriver(pcsc_words.NOT_INSTALLED) from error
        self.scard = scard
        code, self.handle = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        if code != scard.SCARD_S_SUCCESS:
            raise CardGone(pcsc_words.service_words(code, self.told(code)))

    def told(self, code: int) -> str:
        """PC/SC's own text for a code."""
        return str(self.scard.SCardGetErrorMessage(code)).strip()

    def release(self) -> None:
        """Lets go."""
        self.scard.SCardReleaseContext(self.handle)


def slots() -> list[Slot]:
    """All readers of this machine, in PC/SC's order. Raises ``CardGone``, ``NoDriver``."""
    context = Context()
    scard = context.scard
    try:
        code, names = scard.SCardListReaders(context.handle, [])
        if pcsc_words.number(code) == pcsc_words.NO_READERS or (code == scard.SCARD_S_SUCCESS and not names):
            return []
        if code == scard.SCARD_S_SUCCESS:
            code, states = scard.SCardGetStatusChange(context.handle, 0, [(name, scard.SCARD_STATE_UNAWARE) for name in names])
        if code not in (scard.SCARD_S_SUCCESS, scard.SCARD_E_TIMEOUT):
            raise CardGone(pcsc_words.service_words(code, context.told(code)))
        return [Slot(name, flags, bytes(atr)) for name, flags, atr in states]
    finally:
        context.release()


def seen_again(context: Context, reader: str) -> bool:
    """Whether there is a card after all in a reader that PC/SC calls empty; PC/SC says so itself from then on.

    Where a card loses contact while somebody resets it, and has it again before pcscd (1.9) looks, pcscd calls the reader empty
    until somebody pulls the card: nobody is there to do so. Resetting what is not there makes it look. Blocks for ``NOTICED_S``
    where there is a card: one that was put in just now is powered anew when pcscd sees it, which must not be in a dialogue.
    """
    scard = context.scard
    code, handle, _ = scard.SCardConnect(context.handle, reader, scard.SCARD_SHARE_DIRECT, 0)
    if code != scard.SCARD_S_SUCCESS:
        return False
    try:
        code = scard.SCardBeginTransaction(handle)  # nobody else is given a card that is reset under him
        if code == scard.SCARD_S_SUCCESS and not _is_present(context, reader):
            code, _ = scard.SCardReconnect(handle, scard.SCARD_SHARE_SHARED, _protocols(scard), scard.SCARD_UNPOWER_CARD)
    finally:
        scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
    if pcsc_words.number(code) == pcsc_words.NO_SMARTCARD:
        return False
    time.sleep(NOTICED_S)
    return True


def _is_present(context: Context, reader: str) -> bool:
    scard = context.scard
    code, states = scard.SCardGetStatusChange(context.handle, 0, [(reader, scard.SCARD_STATE_UNAWARE)])
    return bool(code == scard.SCARD_S_SUCCESS and states[0][1] & scard.SCARD_STATE_PRESENT)


def open_card(settings: Mapping[str, str]) -> PcscCard:
    """Opens the first card that fits: ``reader`` is part of its reader's name, ``iccid`` is of a profile on it; empty: any.

    Raises ``CardError``, whose text says what to do; it names each reader that was tried. Blocks on the cards.
    """
    reader, iccid = settings.get("reader", ""), settings.get("iccid", "")
    seen = [slot.name for slot in slots()]
    if not seen:
        raise CardError("PC/SC sees no reader; plug one in (its lamp should light up), then look with: simway-modem sim readers")
    fitting = [name for name in seen if reader.lower() in name.lower()]
    if not fitting:
        raise CardError(f"no reader's name holds {reader!r} (CARD_READER); there are: {'; '.join(seen)}")
    troubles = []
    for name in fitting:
        card = PcscCard(name, iccid)
        try:
            card.connect()
        except CardError as error:
            troubles.append(str(error))
            continue
        return card
    wanted = f"no card here has a profile with ICCID {iccid} (CARD_ICCID): " if iccid else ""
    raise CardError(wanted + "; ".join(dict.fromkeys(troubles)))


class PcscCard:
    """The card in one reader (``simway_protocol.sim.card.Shared``).

    ``iccid``: the card must have a profile with it, or it is not the card that was meant; empty: whatever is in the reader.
    An APDU outside a ``dialogue`` begins a transaction that lasts to the end of the next dialogue, or to ``close``.
    """

    def __init__(self, reader: str, iccid: str = "", *, wait_s: float = TRANSACTION_WAIT_S) -> None:
        self._reader = reader
        self._iccid = iccid
        self._wait_s = wait_s
        self._context: Context | None = None
        self._handle: Any = None
        self._protocol = 0
        self._depth = 0
        self._held = False
        self._lost = False
        self.atr = b""
        """Answer to reset of the card that is in now."""

    # --- the port ------------------------------------------------------------------------------------------------------

    @contextmanager
    def dialogue(self) -> Iterator[None]:
        """As ``Shared.dialogue``: one transaction. Another program's is waited for, ``TRANSACTION_WAIT_S`` at most."""
        self._depth += 1
        try:
            self._begin()
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._lost = False
                self._end()

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``. Once the card is lost, ``CardGone`` to the end of the dialogue, or to ``reset``."""
        self._begin()
        scard = self._scard
        pci = scard.SCARD_PCI_T0 if self._protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
        code, answer = scard.SCardTransmit(self._handle, pci, list(apdu))
        self._check(code)
        if len(answer) < 2:  # pulled in the middle of a command
            self._check(scard.SCARD_W_REMOVED_CARD)
        return bytes(answer[:-2]), answer[-2] << 8 | answer[-1]

    def reset(self) -> bytes:
        """Power off and on. Works on a card that was pulled and put back, too."""
        self._lost = False
        with self.dialogue():
            self._reconnect(self._scard.SCARD_UNPOWER_CARD)
            return self.atr

    def close(self) -> None:
        """Lets go of the card, which stays powered as it is."""
        self._disconnect()

    # --- connection ----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connects in shared mode, and looks whether the card is the one that was meant. Raises ``CardError``, ``CardGone``."""
        context = Context()
        scard = self._scard = context.scard

        def connected() -> Any:
            found = scard.SCardConnect(context.handle, self._reader, scard.SCARD_SHARE_SHARED, _protocols(scard))
            if pcsc_words.number(found[0]) == pcsc_words.NO_SMARTCARD and seen_again(context, self._reader):
                found = scard.SCardConnect(context.handle, self._reader, scard.SCARD_SHARE_SHARED, _protocols(scard))
            return found

        def undo(result: tuple[int, Any, int]) -> None:
            scard.SCardDisconnect(result[1], scard.SCARD_LEAVE_CARD)
            context.release()

        code, handle, protocol = self._bounded(connected, undo)
        self._context = context
        if code == scard.SCARD_S_SUCCESS:
            self._handle, self._protocol = handle, protocol
        self._check(code)
        self._read_atr()
        self._look_whose()

    def _look_whose(self) -> None:
        """Any of a card's ICCIDs names it: it may have shown another one when the setting was written."""
        wanted, self._iccid = self._iccid, ""
        try:
            found = iccids_of(Uicc(self, lambda: time.monotonic_ns() // 1000)) if wanted else []
        finally:
            self._iccid = wanted
        if wanted and wanted not in found:
            self._disconnect()
            raise CardGone(f"the card in {self._reader} has {' and '.join(found) or 'no ICCID'}")

    def _begin(self) -> None:
        """Begins a transaction unless one is held, on a new connection where the old one is void."""
        if self._lost:
            raise CardGone(f"the card in {self._reader} was lost in the middle of a dialogue")
        if self._held:
            return
        if self._handle is None:
            self.connect()
        code = self._begin_transaction()
        if (
            code != self._scard.SCARD_S_SUCCESS
        ):  # nothing was sent yet, so nothing is lost: pulled, reset or powered off by others
            self._disconnect()
            self.connect()
            code = self._begin_transaction()
        self._check(code)
        self._held = True

    def _begin_transaction(self) -> int:
        handle, context, scard = self._handle, self._context, self._scard

        def undo(_code: int) -> None:
            scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
            if context is not None:
                context.release()

        try:
            return int(self._bounded(lambda: scard.SCardBeginTransaction(handle), undo))
        except CardGone:
            self._handle = self._context = None
            raise

    def _bounded(self, call: Callable[[], Any], undo: Callable[[Any], None]) -> Any:
        try:
            return bounded(self._reader, call, undo, self._wait_s)
        except StillWaits:
            raise CardGone(pcsc_words.held_words(self._reader)) from None

    def _end(self) -> None:
        if self._held:
            self._held = False
            self._scard.SCardEndTransaction(self._handle, self._scard.SCARD_LEAVE_CARD)

    def _reconnect(self, how: int) -> None:
        scard = self._scard
        code, self._protocol = scard.SCardReconnect(self._handle, scard.SCARD_SHARE_SHARED, _protocols(scard), how)
        self._check(code)
        self._read_atr()

    def _read_atr(self) -> None:
        code, _reader, _state, _protocol, atr = self._scard.SCardStatus(self._handle)
        self._check(code)
        self.atr = bytes(atr)

    def _check(self, code: int) -> None:
        """Raises ``CardGone`` for a code that is no success, and lets go of what was held: nothing of it is any good then."""
        if code != self._scard.SCARD_S_SUCCESS:
            told = "" if self._context is None else self._context.told(code)
            self._lost = self._depth > 0 and self._held
            self._disconnect()
            raise CardGone(pcsc_words.words(code, self._reader, told))

    def _disconnect(self) -> None:
        if self._handle is not None:
            self._end()
            handle, self._handle = self._handle, None
            self._scard.SCardDisconnect(handle, self._scard.SCARD_LEAVE_CARD)
        if self._context is not None:
            context, self._context = self._context, None
            context.release()


def _protocols(scard: Any) -> int:
    return int(scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1)


def iccids_of(uicc: Uicc) -> list[str]:
    """The ICCIDs of a card: the active one first, then those of its other profiles. Raises ``CardError`` for what is no SIM."""
    try:
        inventory = uicc.inventory()
    except PeerError as error:
        raise CardError(f"the card speaks, but not as a SIM does: {error}") from error
    return list(dict.fromkeys(filter(None, [inventory.active_iccid, *(profile.iccid for profile in inventory.profiles)])))
