"""The terminal's duty towards a card's proactive side (ETSI TS 102 223, 6; TS 102 221, 7.4.2): FETCH while 91xx, answer each
command once, bring envelopes. What the answers are is the ``Terminal``'s decision; here is only the order of things.
"""

from __future__ import annotations

from typing import Protocol

from simway_protocol.errors import PeerError
from simway_protocol.sim import apdu, status
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Result, TerminalResponse, details_of
from simway_protocol.sim.transport import Chain

COMMANDS_MAX = 32
"""So many commands and envelopes are served in one go; a card whose queue does not end then has to wait."""


class Terminal(Protocol):
    """What a device can do for its card. May block where the device does; must not raise.

    ``profile``: the data of TERMINAL PROFILE; empty sends none.
    """

    profile: bytes

    def perform(self, command: ProactiveCommand) -> TerminalResponse:
        """Carries out one command; the answer goes back to the card at once."""

    def card_reset(self) -> None:
        """The card was reset: its channels and timers are no more."""

    def envelope(self) -> bytes | None:
        """The data of the ENVELOPE that is due now, if one is; it stays due until ``envelope_delivered``."""

    def envelope_delivered(self) -> None:
        """The card took that envelope, or will never."""


class NoTerminal:
    """A client that is no device: a REFRESH counts as performed (the caller resets the card), all else is beyond it."""

    profile = b""

    def perform(self, command: ProactiveCommand) -> TerminalResponse:
        """As ``Terminal.perform``."""
        known = command.type == CommandType.REFRESH
        return TerminalResponse.to(command, Result.PERFORMED if known else Result.BEYOND_CAPABILITIES)

    def card_reset(self) -> None:
        """As ``Terminal.card_reset``."""

    def envelope(self) -> bytes | None:
        """As ``Terminal.envelope``: none."""
        return None

    def envelope_delivered(self) -> None:
        """As ``Terminal.envelope_delivered``."""


def introduce(chain: Chain, terminal: Terminal) -> None:
    """TERMINAL PROFILE, which a card without a toolkit refuses: no harm. Raises ``CardGone``."""
    if terminal.profile:
        chain.card.transmit(apdu.Command(0x80, apdu.Ins.TERMINAL_PROFILE, data=terminal.profile).encode())


def serve(chain: Chain, terminal: Terminal) -> list[ProactiveCommand]:
    """Serves the card until it wants nothing more, wants a reset, or has had ``COMMANDS_MAX``; the commands that decoded.

    Each FETCH is followed by exactly one TERMINAL RESPONSE. Raises ``CardError`` and ``CardGone`` of the card, nothing else.
    """
    fetched: list[ProactiveCommand] = []
    for _ in range(COMMANDS_MAX):
        if chain.proactive.pending_bytes:
            command = _serve_one(chain, terminal)
            fetched += [command] if command else []
            if command and command.wants_reset:
                break
        elif not _bring_envelope(chain, terminal):
            break
    return fetched


def _serve_one(chain: Chain, terminal: Terminal) -> ProactiveCommand | None:
    data = chain.send(apdu.fetch(chain.proactive.pending_bytes), "FETCH")
    command: ProactiveCommand | None = None
    try:
        command = ProactiveCommand.decode(data)
        answer = terminal.perform(command)
    except PeerError:
        answer = TerminalResponse.to(details_of(data), Result.DATA_NOT_UNDERSTOOD)
    chain.send(apdu.terminal_response(answer.encode()), "TERMINAL RESPONSE")
    return command


def _bring_envelope(chain: Chain, terminal: Terminal) -> bool:
    """False when there is none, or the card is busy and is to have it later (9300)."""
    data = terminal.envelope()
    if data is None:
        return False
    _, sw = chain.card.transmit(apdu.Command(0x80, apdu.Ins.ENVELOPE, data=data).encode())
    if sw == status.TOOLKIT_BUSY:
        return False
    terminal.envelope_delivered()
    return True
