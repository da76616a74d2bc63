"""Bearer ``at``: a real modem. Registration is read by AT commands; datagrams go over the network interface that it provides.

A thread asks the modem every few seconds, and at once when an unsolicited result says that something changed, so ``registration``
never waits for the serial port. It carries data only while the modem's own IMSI (AT+CIMI) is the card's: one that shows another
is restarted, its radio first, then the whole modem. Where the card does not tell its IMSI there is nothing to compare: data may
pass, and an attach proves no more than the card's state.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from simway_protocol.commands import SWITCH_FLOOR_MAX_S
from simway_protocol.sim.bearer import (
    PROOF_BEARER,
    PROOF_CARD_ONLY,
    BearerUnusable,
    Connect,
    DatagramSocket,
    PathError,
    Registration,
    RegistrationState,
)

from simway_modem_client.at import answers
from simway_modem_client.at.lines import Command, is_boot
from simway_modem_client.at.port import LOST, AtPort, ModemBusy, ModemGone, NoSerial, give_back, take_port
from simway_modem_client.at.restart import restart

POLL_S = 5.0
SEARCHING_POLL_S = 1.0
NETWORK_ANSWER_S = 15.0
RESTART_EVERY_S = 30.0
RESTART_EVERY_MAX_S = 600.0
"""A modem that shows another IMSI than the card is restarted no more often than this; the wait doubles with each."""
CHANGE_S = 30.0
"""A modem that was the card's and now shows another IMSI may be in the midst of a switch: it is given this long."""
_FIRST = (
    answers.OPERATOR_IN_DIGITS, Command("AT+CREG=2"), Command("AT+CGREG=2"), Command("AT+CEREG=2"), Command("AT+C5GREG=2"),
)  # fmt: skip
_UNKNOWN = Registration(RegistrationState.SEARCHING, data=False, cause="attaching")
_NO_IDENTITY = Registration(RegistrationState.OFF, data=False, cause="no_identity")
WRONG_IDENTITY = "wrong_identity"
_GONE = Registration(RegistrationState.OFF, data=False, cause="modem_gone")

log = structlog.get_logger(__name__)


class _Identity(NamedTuple):
    iccid: str
    imsi: str


class _Shown(NamedTuple):
    """What the modem said that it is, ``imsi``, and of which ``identity`` and restart that is the answer."""

    identity: _Identity | None = None
    restarts: int = -1
    imsi: str = ""


class AtBearer:
    """One modem (``simway_protocol.sim.bearer.Bearer``).

    ``interface``: the modem's network interface or its address. Without one the host chooses the way, and then an attach does not
    prove that the new carrier carried it.
    """

    name = "at"
    has_radio = True
    switch_floor_s = SWITCH_FLOOR_MAX_S

    def __init__(self, port: AtPort, interface: str = "", *, poll_s: float = POLL_S) -> None:
        self.proof = PROOF_BEARER if interface else PROOF_CARD_ONLY
        self._port = port
        self._interface = interface
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._identity: _Identity | None = None
        self._shown = _Shown()
        self._shown_s = -math.inf
        self._matched: _Identity | None = None
        self._resets = 0
        self._reset_s = -math.inf
        self._restarts = port.restarts
        self._registration = _UNKNOWN
        self._no_quectel = False
        self._wake = threading.Event()
        self._closed = False
        port.at_start(*_FIRST)
        port.listen(self._heard)
        self._thread = threading.Thread(target=self._run, name="bearer at", daemon=True)
        self._thread.start()

    def use_identity(self, iccid: str, imsi: str) -> None:
        """As ``Bearer.use_identity``: the thread sees to it."""
        identity = _Identity(iccid, imsi)
        with self._lock:
            if identity == self._identity:
                return
            self._identity = identity
            self._resets = 0
            self._registration = _UNKNOWN if iccid else _NO_IDENTITY
        self._wake.set()

    def registration(self) -> Registration:
        """As ``Bearer.registration``: what the modem said last, at most ``POLL_S`` ago."""
        with self._lock:
            if self._port.restarts != self._restarts and self._registration.registered:
                return _UNKNOWN
            return self._registration

    def open_socket(self, connect: Connect) -> DatagramSocket:
        """As ``Bearer.open_socket``, over the modem's interface."""
        registration = self.registration()
        if not registration.data:
            raise PathError(f"the modem carries no data now ({registration.cause or registration.state})")
        return connect(self._interface)

    def close(self) -> None:
        """As ``Bearer.close``: the modem stays as it is."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        give_back(self._port)
        self._thread.join(NETWORK_ANSWER_S)

    # --- the thread ------------------------------------------------------------------------------------------------------

    def _heard(self, line: str) -> None:
        if answers.is_registration_urc(line) or is_boot(line) or line == LOST:
            self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            try:
                self._round()
            except ModemBusy as error:
                log.info("the modem is asked later", why=str(error))
            except ModemGone as error:
                self._tell(_GONE, self._identity)
                log.warning("the modem cannot be asked", error=str(error))
            except Exception:
                self._tell(_GONE, self._identity)
                log.exception("watching the modem failed; it goes on")
            self._wake.wait(self._poll_s if self.registration().registered else min(SEARCHING_POLL_S, self._poll_s))

    def _round(self) -> None:
        with self._lock:
            identity = self._identity
        with self._port.exclusively():
            self._restarts = self._port.restarts
            imsi = self._ask_imsi(identity)
            found = self._judge(identity, imsi)
        self._tell(found, identity)
        if found.cause == WRONG_IDENTITY and self._may_restart(identity):
            self._restart()

    def _ask_imsi(self, identity: _Identity | None) -> str:
        """Who the modem says it is. One whose SIM is busy is who it was, unless it or the card began anew; empty: not known."""
        answer = self._port.ask(answers.IMSI)
        if answer.ok and answer.first is not None:
            shown = _Shown(identity, self._restarts, answer.first[1])
            if shown != self._shown:
                self._shown, self._shown_s = shown, time.monotonic()
        elif self._shown[:2] != (identity, self._restarts):
            self._shown = _Shown()
        return self._shown.imsi

    def _judge(self, identity: _Identity | None, imsi: str) -> Registration:
        """The radio, unless it is another subscriber's, or nobody knows whose."""
        if identity is not None and not identity.iccid:
            return _NO_IDENTITY
        wanted = identity.imsi if identity is not None else ""
        if wanted and not imsi:
            return _UNKNOWN
        if wanted and imsi != wanted:
            return Registration(RegistrationState.OFF, data=False, cause=WRONG_IDENTITY, imsi_modem=imsi, proof=PROOF_CARD_ONLY)
        self._matched = identity if wanted else None
        return self._read()._replace(imsi_modem=imsi, proof=self.proof if wanted else PROOF_CARD_ONLY)

    def _may_restart(self, identity: _Identity | None) -> bool:
        """Not restarted lately, and perhaps not in the midst of a switch."""
        wait_s: float = min(RESTART_EVERY_S * 2.0 ** max(self._resets - 1, 0), RESTART_EVERY_MAX_S)
        changing_s = CHANGE_S if identity == self._matched else 0.0
        return time.monotonic() >= max(self._reset_s + wait_s, self._shown_s + changing_s)

    def _restart(self) -> None:
        """So that the modem takes up who the card is. The port tells that it began anew."""
        log.warning("the modem shows another IMSI than the card: it is restarted", whole=self._resets > 0, times=self._resets)
        self._resets = min(self._resets + 1, 16)
        try:
            restart(self._port, whole=self._resets > 1)
        finally:
            self._reset_s = time.monotonic()

    def _tell(self, found: Registration, identity: _Identity | None) -> None:
        with self._lock:
            if identity != self._identity:
                return
            if found.state != self._registration.state or found.data != self._registration.data:
                log.info("modem", **found.evidence())
            self._registration = found

    def _read(self) -> Registration:
        stats = []
        for question in answers.REGISTRATIONS:
            answer = self._port.ask(question)
            if answer.ok and answer.first is not None:
                stats.append(answers.stat_of(answer.first))
        attached = self._port.ask(answers.ATTACHED, NETWORK_ANSWER_S)
        operator = self._port.ask(answers.OPERATOR, NETWORK_ANSWER_S)
        return answers.registration_of(
            answers.best(stats),
            attached=not attached.ok or attached.first is None or attached.first[1] == "1",
            operator=answers.operator_of(operator.first),
            signal=self._signal(),
        )

    def _signal(self) -> answers.Signal:
        if not self._no_quectel:
            answer = self._port.ask(answers.SIGNAL_QUECTEL)
            if answer.ok and answer.first is not None:
                return answers.quectel_signal(answer.first)
            self._no_quectel = True
        answer = self._port.ask(answers.SIGNAL_EXTENDED)
        found = answers.extended_signal(answer.first) if answer.ok and answer.first is not None else answers.Signal()
        if found != answers.Signal():
            return found
        answer = self._port.ask(answers.SIGNAL_PLAIN)
        return answers.plain_signal(answer.first) if answer.ok and answer.first is not None else found


def open_bearer(settings: Mapping[str, str]) -> AtBearer:
    """The modem on ``settings["port"]``, its data over ``settings["interface"]``. Raises ``BearerUnusable``."""
    try:
        return AtBearer(take_port(settings.get("port", "")), settings.get("interface", ""))
    except NoSerial as error:
        raise BearerUnusable(f"BEARER=at: {error}") from error
