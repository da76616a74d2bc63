"""Bearer ``at``: a real modem. Registration is read by AT commands; datagrams go over the network interface that it provides.

A thread asks the modem every few seconds, and at once when an unsolicited result says that something changed, so ``registration``
never waits for the serial port. After a switch the modem must show the card's new IMSI (AT+CIMI); one that keeps the old identity
is reset, its radio first, then the whole modem.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from simway_protocol.sim.bearer import (
    PROOF_BEARER,
    PROOF_CARD_ONLY,
    BearerUnusable,
    PathError,
    Registration,
    RegistrationState,
)

from simway_modem_client.at import answers
from simway_modem_client.at.lines import Command, is_boot
from simway_modem_client.at.port import LOST, AtPort, ModemGone, NoSerial, give_back, take_port
from simway_modem_client.at.restart import restart
from simway_modem_client.bearers import sockets

POLL_S = 5.0
SEARCHING_POLL_S = 1.0
NETWORK_ANSWER_S = 15.0
RESETS_MAX = 2
"""An identity that the modem does not take up after so many resets is gone on with, and told."""
_FIRST = (
    answers.OPERATOR_IN_DIGITS, Command("AT+CREG=2"), Command("AT+CGREG=2"), Command("AT+CEREG=2"), Command("AT+C5GREG=2"),
)  # fmt: skip
_UNKNOWN = Registration(RegistrationState.SEARCHING, data=False, cause="attaching")
_NO_IDENTITY = Registration(RegistrationState.OFF, data=False, cause="no_identity")
_GONE = Registration(RegistrationState.OFF, data=False, cause="modem_gone")

log = structlog.get_logger(__name__)


class _Identity(NamedTuple):
    iccid: str
    imsi: str


class AtBearer:
    """One modem (``simway_protocol.sim.bearer.Bearer``).

    ``interface``: the modem's network interface or its address. Without one the host chooses the way, and then an attach does not
    prove that the new carrier carried it.
    """

    name = "at"
    has_radio = True

    def __init__(self, port: AtPort, interface: str = "", *, poll_s: float = POLL_S) -> None:
        self.proof = PROOF_BEARER if interface else PROOF_CARD_ONLY
        self._port = port
        self._interface = interface
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._identity: _Identity | None = None
        self._checked: _Identity | None = None
        self._resets = 0
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

    def open_socket(self, host: str, port: int, local_port: int) -> socket.socket:
        """As ``Bearer.open_socket``, over the modem's interface."""
        registration = self.registration()
        if not registration.data:
            raise PathError(f"the modem carries no data now ({registration.cause or registration.state})")
        return sockets.connect(host, port, local_port, self._interface)

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
            except ModemGone as error:
                self._tell(_GONE, self._identity)
                log.warning("the modem cannot be asked", error=str(error))
            self._wake.wait(self._poll_s if self.registration().registered else min(SEARCHING_POLL_S, self._poll_s))

    def _round(self) -> None:
        with self._lock:
            identity = self._identity
        if identity is not None and identity.iccid and identity != self._checked:
            self._check(identity)
        with self._port.exclusively():
            self._restarts = self._port.restarts
            found = self._read()
        if identity is None or (identity.iccid and identity == self._checked):
            self._tell(found, identity)

    def _check(self, identity: _Identity) -> None:
        """Whether the modem is who the card is; resets it when not."""
        answer = self._port.ask(answers.IMSI)
        shown = answer.first[1] if answer.ok and answer.first else ""
        if shown == identity.imsi or not identity.imsi:
            self._checked = identity
            return
        if self._resets >= RESETS_MAX:
            log.error("the modem still shows another IMSI than the card; going on as it is", resets=self._resets)
            self._checked = identity
            return
        log.warning("the modem shows another IMSI than the card: it is reset", whole=self._resets > 0)
        self._resets += 1
        restart(self._port, whole=self._resets > 1)

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
