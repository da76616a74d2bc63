"""Card driver ``at``: the SIM in a modem, reached by AT commands (3GPP TS 27.007: +CCHO, +CGLA, +CCHC; else +CSIM).

An upper layer that opens a channel gets a number of this driver's; what lies behind it is decided by the first command on it:

| first command | tried in order |
|---|---|
| SELECT of an application | +CCHO with its AID; MANAGE CHANNEL by +CSIM; the basic channel by +CSIM |
| anything else (files) | +CCHO with the USIM's AID, whose channel reaches the MF too; then as above |

By +CGLA the modem puts the card's channel into the class byte (TS 27.007, 8.45). Where the session looks like a channel's number,
that number is put there beforehand, since some modems send the class byte as it is.

The modem is the terminal: it fetches proactive commands and performs REFRESH, so 91xx is shown as 9000, TERMINAL PROFILE, FETCH
and TERMINAL RESPONSE are not passed on, and ``reset`` is the modem's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import apdu, files, status
from simway_protocol.sim.apdu import Command as Apdu
from simway_protocol.sim.apdu import Ins
from simway_protocol.sim.card import CardError, CardGone

from simway_modem_client.at.answers import PIN
from simway_modem_client.at.lines import Answer, Command
from simway_modem_client.at.port import AtPort, ModemBusy, ModemGone, NoSerial, give_back, take_port
from simway_modem_client.at.restart import restart
from simway_modem_client.card import NoDriver

CARD_ANSWER_S = 30.0
"""Enabling a profile takes a card seconds."""
BUSY_TRIES = 10
BUSY_WAIT_S = 0.3
"""+CME ERROR: 14, SIM busy: the modem is using the card itself, as after a REFRESH."""
RESET_AGAIN_S = 120.0
"""A card that is taken up anew and reset again so soon was not helped by the radio's reset: the whole modem is reset."""
CLOSE_TURN_S = 1.0
"""Letting go of a card does not wait for a modem that restarts, and so closes all by itself."""
_OPENED = re.compile(r'(?:\+CCHO:\s*)?"?([0-9A-Fa-f]{1,16})"?')
_SESSION_IS_CHANNEL = re.compile(r"1?[1-9]|10")
_DUTIES_OF_THE_MODEM = frozenset({Ins.TERMINAL_PROFILE, Ins.FETCH, Ins.TERMINAL_RESPONSE})
_UNKNOWN_COMMAND = frozenset({None, 3, 4})
"""What a modem without +CCHC answers to it; anything else means that the session is over already."""
_BUSY, _PIN_WANTED, _PUK_WANTED = 14, 11, 12
_NO_CARD_NOW = frozenset({10, _PIN_WANTED, _PUK_WANTED, 13, _BUSY, 15})
_NOT_EXECUTED = frozenset({3, 4, _PIN_WANTED, _PUK_WANTED, 16, 17, 18, 50})
_HINTS = {
    3: "the modem does not let others at its SIM; look for a setting of its maker, or another firmware",
    4: "the modem knows no such command; this driver needs AT+CCHO and AT+CGLA, or AT+CSIM",
    10: "there is no SIM in the modem; put one in, and check its slot",
    _PIN_WANTED: 'the SIM wants its PIN; give it with AT+CPIN="....", or switch it off with AT+CLCK="SC",0,"...."',
    _PUK_WANTED: "the SIM wants its PUK; unblock it in a phone",
    13: "the SIM does not answer the modem; check that it sits well",
    _BUSY: "the modem is using the SIM itself; try again",
    15: "the modem finds the SIM wrong; is it locked to another network's?",
    50: "the modem's firmware may allow only applications that it knows",
}


class Route(NamedTuple):
    """What lies behind a channel number: a session of +CCHO, or a channel opened by +CSIM (0: the basic one)."""

    session: str = ""
    channel: int = 0
    aid: bytes = b""


class AtCard:
    """The SIM in a modem (``simway_protocol.sim.card.Shared``). ``close`` gives the port back."""

    def __init__(self, port: AtPort) -> None:
        self._port = port
        self._routes: dict[int, Route | None] = {}
        self._restarts = port.restarts
        self._sessions_work = False
        self._void: set[str] = set()
        self._application_on_basic = False
        self._was_reset = False
        self._closed = False

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        if self._closed:
            raise CardGone("the modem's port was closed")
        try:
            command = Apdu.decode(apdu)
        except PeerError as error:
            raise CardError(f"a command that is no APDU: {error}") from error
        with self.dialogue():
            self._forget_after_restart()
            return self._transmit(command, apdu)

    def reset(self) -> bytes:
        """As ``Card.reset``, by resetting the modem, which takes seconds. A modem does not tell the ATR: it is empty.

        The radio and the SIM first; whoever takes the card up anew within ``RESET_AGAIN_S`` resets the whole modem.
        """
        if self._closed:
            raise CardGone("the modem's port was closed")
        again = not self._was_reset and time.monotonic() - self._port.card_reset_s < RESET_AGAIN_S
        with _modem_gone_is_card_gone():
            restart(self._port, whole=again)
        self._was_reset = True
        self._port.card_reset_s = time.monotonic()
        self._forget_after_restart()
        return b""

    def close(self) -> None:
        """As ``Card.close``; the modem goes on."""
        if self._closed:
            return
        try:
            with suppress(CardError), self._port.exclusively(CLOSE_TURN_S):
                self._forget_after_restart()
                for number in list(self._routes):
                    self._close_channel(number)
        except ModemBusy:
            self._leave_open()
        self._closed = True
        give_back(self._port)

    @contextmanager
    def dialogue(self) -> Iterator[None]:
        """As ``Shared.dialogue``: the bearer neither asks nor resets meanwhile."""
        with _modem_gone_is_card_gone(), self._port.exclusively():
            yield

    # --- channels --------------------------------------------------------------------------------------------------------

    def _transmit(self, command: Apdu, raw: bytes) -> tuple[bytes, int]:
        if command.cla == 0x80 and command.ins in _DUTIES_OF_THE_MODEM and not self._application_on_basic:
            return b"", status.OK
        if command.ins == Ins.MANAGE_CHANNEL and not command.proprietary:
            return self._manage(command)
        number = command.channel
        if number == 0:
            return self._on_basic_channel(command, raw)
        if number not in self._routes:
            return b"", status.CHANNEL_NOT_SUPPORTED
        return self._on_channel(number, command, raw)

    def _manage(self, command: Apdu) -> tuple[bytes, int]:
        if command.p1 == 0x80:
            self._close_channel(command.p2)
            return b"", status.OK
        number = next(number for number in range(1, apdu.CHANNELS + 1) if number not in self._routes)
        if number >= apdu.CHANNELS or command.p2:
            return b"", status.CHANNEL_NOT_SUPPORTED
        self._routes[number] = None
        return bytes((number,)), status.OK

    def _on_basic_channel(self, command: Apdu, raw: bytes) -> tuple[bytes, int]:
        """An application selected there may have commands that look like a terminal's."""
        data, sw = self._send(Route(), raw)
        if command.ins == Ins.SELECT and not command.proprietary and (status.is_success(sw) or status.has_more(sw)):
            self._application_on_basic = command.p1 == 0x04
        return data, sw

    def _on_channel(self, number: int, command: Apdu, raw: bytes) -> tuple[bytes, int]:
        route = self._routes[number]
        application = command.data if command.ins == Ins.SELECT and command.p1 == 0x04 and not command.proprietary else b""
        if application and (route is None or route.session):
            self._release(number)
            self._routes[number] = self._open_session(application)
            if self._routes[number] is not None:
                return b"", status.OK
        elif route is None:
            self._routes[number] = self._open_session(files.USIM_RID_PIX)
        route = self._routes[number]
        return self._begin_by_csim(number, application, raw) if route is None else self._send(route, raw)

    def _begin_by_csim(self, number: int, application: bytes, raw: bytes) -> tuple[bytes, int]:
        """The first command on a channel that +CCHO did not open. Several modems pass nothing on channels opened by +CSIM."""
        channel, refusal = self._open_by_csim()
        for candidate in dict.fromkeys((channel, 0)):
            try:
                answer = self._by_csim(_with_channel(raw, candidate))
            except CardError as error:
                refusal = error
                continue
            self._routes[number] = Route(channel=candidate)
            return answer
        if application and self._sessions_work:
            return b"", status.FILE_NOT_FOUND
        assert refusal is not None
        raise refusal

    def _open_session(self, aid: bytes) -> Route | None:
        """A new channel with the application on it; None when the modem, or the card, refuses."""
        left_open = self._port.left_open.pop(aid, "")
        if left_open:
            return Route(left_open, aid=aid)
        answer = self._ask(Command(f'AT+CCHO="{aid.hex().upper()}"', _OPENED))
        if answer.ok and answer.first is not None:
            self._sessions_work = True
            return Route(answer.first[1], aid=aid)
        if answer.cme in _NO_CARD_NOW:
            raise _refusal("AT+CCHO", answer)
        return None

    def _open_by_csim(self) -> tuple[int, CardError | None]:
        """A channel of the card's, opened by ourselves; the basic one, and why, when card or modem have no other."""
        try:
            data, sw = self._by_csim(apdu.open_channel().encode())
        except CardError as error:
            return 0, error
        opened = status.is_success(sw) and len(data) == 1 and data[0] < apdu.CHANNELS
        return data[0] if opened else 0, None

    def _close_channel(self, number: int) -> None:
        self._release(number)
        self._routes.pop(number, None)

    def _release(self, number: int) -> None:
        route, self._routes[number] = self._routes.get(number), None
        if route is None:
            return
        if route.session:
            answer = self._ask(Command(f"AT+CCHC={route.session}"))
            if not answer.ok and answer.cme in _UNKNOWN_COMMAND and route.session not in self._void:
                self._port.left_open[route.aid] = route.session
        elif route.channel:
            self._by_csim(apdu.close_channel(route.channel).encode())

    def _leave_open(self) -> None:
        if self._port.restarts == self._restarts:
            self._port.left_open |= {route.aid: route.session for route in self._routes.values() if route and route.session}

    def _forget_after_restart(self) -> None:
        if self._port.restarts != self._restarts:
            self._restarts = self._port.restarts
            self._routes.clear()
            self._void.clear()
            self._application_on_basic = False

    # --- APDUs -----------------------------------------------------------------------------------------------------------

    def _send(self, route: Route, raw: bytes) -> tuple[bytes, int]:
        if not route.session:
            return self._by_csim(_with_channel(raw, route.channel))
        channel = int(route.session) if _SESSION_IS_CHANNEL.fullmatch(route.session) else 0
        try:
            return self._exchange("CGLA", f"{route.session},", _with_channel(raw, channel))
        except CardError:
            self._void.add(route.session)
            raise

    def _by_csim(self, raw: bytes) -> tuple[bytes, int]:
        return self._exchange("CSIM", "", raw)

    def _exchange(self, name: str, session: str, raw: bytes) -> tuple[bytes, int]:
        pattern = re.compile(rf'(?:\+{name}:\s*)?(\d+)\s*,\s*"?([0-9A-Fa-f]+)"?')
        answer = self._ask(Command(f'AT+{name}={session}{2 * len(raw)},"{raw.hex().upper()}"', pattern))
        if not answer.ok:
            raise _refusal(f"AT+{name}", answer)
        if answer.first is None or int(answer.first[1]) != len(answer.first[2]) or len(answer.first[2]) % 2:
            raise CardGone(f"the modem answered AT+{name} with no APDU; what the card did is unknown")
        response = bytes.fromhex(answer.first[2])
        if len(response) < 2:
            raise CardGone(f"the modem answered AT+{name} with {len(response)} bytes, no status word")
        sw = response[-2] << 8 | response[-1]
        if not status.is_proactive(sw):
            return response[:-2], sw
        self._void |= {route.session for route in self._routes.values() if route is not None}
        self._port.left_open.clear()  # a REFRESH ends every session
        return response[:-2], status.OK

    def _ask(self, command: Command) -> Answer:
        """The answer once the SIM is not busy. Raises ``CardGone``."""
        with _modem_gone_is_card_gone():
            for _ in range(BUSY_TRIES):
                answer = self._port.ask(command, CARD_ANSWER_S)
                if answer.cme != _BUSY:
                    break
                time.sleep(BUSY_WAIT_S)
        return answer


def open_card(settings: Mapping[str, str]) -> AtCard:
    """The SIM in the modem on ``settings["port"]``. Raises ``CardError`` with a text that says what to do."""
    try:
        port = take_port(settings.get("port", ""))
    except NoSerial as error:
        raise NoDriver(f"CARD=at: {error}") from error
    try:
        answer = port.ask(PIN)
        if answer.cme in _HINTS and answer.cme != _BUSY:
            raise _refusal("AT+CPIN?", answer)
    except ModemGone as error:
        give_back(port)
        raise CardGone(str(error)) from error
    except CardError:
        give_back(port)
        raise
    return AtCard(port)


@contextmanager
def _modem_gone_is_card_gone() -> Iterator[None]:
    try:
        yield
    except ModemGone as error:
        raise CardGone(str(error)) from error


def _refusal(name: str, answer: Answer) -> CardError:
    """Unless the modem says that it never asked the card, what the card did is unknown."""
    hint = _HINTS.get(-1 if answer.cme is None else answer.cme, "")
    text = f"the modem refused {name}: {answer.error}" + (f"; {hint}" if hint else "")
    return CardError(text) if answer.cme in _NOT_EXECUTED else CardGone(text)


def _with_channel(raw: bytes, channel: int) -> bytes:
    """The APDU with another channel in its class byte; secure messaging bits stay as they are on channels 0 to 3."""
    cla = raw[0]
    proprietary = bool(cla & 0x80)
    kept = 0 if cla & 0x40 or channel >= 4 else cla & 0x0C
    return bytes((apdu.class_for(channel, proprietary=proprietary) | kept,)) + raw[1:]
