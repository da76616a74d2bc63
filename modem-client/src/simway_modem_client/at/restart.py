"""Resets a modem so that it reads its SIM anew: radio and SIM off and on, or, when that does not help, the whole modem."""

from __future__ import annotations

import time

import structlog

from simway_modem_client.at.answers import PIN
from simway_modem_client.at.lines import Command
from simway_modem_client.at.port import AtPort, ModemGone

OFF_S = 15.0
"""Leaving the network takes a modem this long at most."""
SIM_READY_S = 20.0
REBOOT_S = 60.0
LOOK_S = 0.25
_PIN_OR_PUK_WANTED = frozenset({11, 12})
_OFF = (Command("AT+CFUN=0"), Command("AT+CFUN=4"))
"""Minimum functionality, which takes the power from the SIM; where a modem refuses that, flight mode."""
_ON = Command("AT+CFUN=1")
_REBOOT = Command("AT+CFUN=1,1")

log = structlog.get_logger(__name__)


def restart(port: AtPort, *, whole: bool = False) -> None:
    """Until the SIM answers again; what was open on it is lost. ``whole``: reboots the modem at once.

    Blocks for seconds, up to a minute and a half. Raises ``ModemGone`` with a text that says what to do.
    """
    with port.exclusively():
        if not whole and _off_and_on(port) and _sim_answers(port, SIM_READY_S):
            return
        _reboot(port)


def _off_and_on(port: AtPort) -> bool:
    try:
        if not any(port.ask(command, OFF_S).ok for command in _OFF):
            return False
        port.began_anew()
        return port.ask(_ON, OFF_S).ok
    except ModemGone as error:
        log.warning("the modem did not take a reset of its radio", error=str(error))
        return False


def _reboot(port: AtPort) -> None:
    log.info("the modem is rebooted", port=port.name)
    try:
        port.ask(_REBOOT, OFF_S)
    except ModemGone as error:
        log.info("the modem went away while it reboots", error=str(error))
    port.began_anew()
    if not _sim_answers(port, REBOOT_S):
        raise ModemGone(
            f"the modem on {port.name} has no working SIM after its reboot; check that the SIM sits well, and look at AT+CPIN?"
        )


def _sim_answers(port: AtPort, within_s: float) -> bool:
    """A SIM that asks for its PIN answers, too."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            answer = port.ask(PIN)
            if (answer.ok and answer.first) or answer.cme in _PIN_OR_PUK_WANTED:
                return True
        except ModemGone as error:
            log.debug("the modem is not back yet", error=str(error))
        if port.closed or time.monotonic() >= deadline_s:
            return False
        time.sleep(LOOK_S)
