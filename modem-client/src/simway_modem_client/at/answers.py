"""Commands about network and signal, and what their answers mean (3GPP TS 27.007; AT+QCSQ: Quectel). Pure."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from simway_protocol.sim.bearer import Registration, RegistrationState

from simway_modem_client.at.lines import Command


def _registration(name: str) -> Command:
    """The read answer has the mode and then the bare state; the URC of the same name has the state first."""
    field = r'(?:,(?:"([^"]*)"|([^,"]*)))?'
    pattern = rf"\+{name}:\s*[0-5]\s*,\s*(\d{{1,2}})\s*{field}{field}{field}(?:,.*)?"
    return Command(f"AT+{name}?", re.compile(pattern))


REGISTRATIONS = tuple(_registration(name) for name in ("CEREG", "C5GREG", "CGREG", "CREG"))
"""EPS, 5GS, packet and circuit domain: the best one counts."""
OPERATOR = Command("AT+COPS?", re.compile(r'\+COPS:\s*(\d)(?:,(\d)(?:,"([^"]*)"(?:,(\d+))?)?)?'))
OPERATOR_IN_DIGITS = Command("AT+COPS=3,2")
ATTACHED = Command("AT+CGATT?", re.compile(r"\+CGATT:\s*([01])"))
IMSI = Command("AT+CIMI", re.compile(r'(?:\+CIMI:\s*)?"?(\d{6,15})"?'))
PIN = Command("AT+CPIN?", re.compile(r"\+CPIN:\s*(.*)"))
SIGNAL_QUECTEL = Command("AT+QCSQ", re.compile(r'\+QCSQ:\s*"([^"]+)"((?:\s*,\s*-?\d+)*)'))
SIGNAL_EXTENDED = Command("AT+CESQ", re.compile(r"\+CESQ:\s*(\d+(?:\s*,\s*\d+){5,8})"))
SIGNAL_PLAIN = Command("AT+CSQ", re.compile(r"\+CSQ:\s*(\d+)\s*,\s*(\d+)"))
_URC = re.compile(r"\+(?:CE|CG|C5G|C)REG:")

_RATS = {
    0: "GSM", 1: "GSM", 2: "UMTS", 3: "GSM", 4: "UMTS", 5: "UMTS", 6: "UMTS", 7: "LTE", 8: "EC-GSM-IoT", 9: "NB-IoT", 10: "LTE",
    11: "NR", 12: "NR", 13: "LTE",
}  # fmt: skip
"""<AcT> (TS 27.007, 7.3). Some LTE-M modems say 8 for LTE-M; where AT+QCSQ names it, that counts."""
_QUECTEL_RATS = {
    "GSM": "GSM", "WCDMA": "UMTS", "TDSCDMA": "UMTS", "LTE": "LTE", "CAT-M1": "LTE-M", "EMTC": "LTE-M", "CAT-NB1": "NB-IoT",
    "NBIOT": "NB-IoT", "NR5G-SA": "NR", "NR5G-NSA": "LTE",
}  # fmt: skip


class Stat(IntEnum):
    """<stat> of +CREG, +CGREG, +CEREG, +C5GREG (TS 27.007, 7.2 and 10.1.20)."""

    NOT_SEARCHING = 0
    HOME = 1
    SEARCHING = 2
    DENIED = 3
    UNKNOWN = 4
    ROAMING = 5
    HOME_SMS_ONLY = 6
    ROAMING_SMS_ONLY = 7
    EMERGENCY_ONLY = 8
    HOME_NO_CSFB = 9
    ROAMING_NO_CSFB = 10


_HOME = frozenset({Stat.HOME, Stat.HOME_SMS_ONLY, Stat.HOME_NO_CSFB})
_ROAMING = frozenset({Stat.ROAMING, Stat.ROAMING_SMS_ONLY, Stat.ROAMING_NO_CSFB})
_CARRIES_DATA = frozenset({Stat.HOME, Stat.ROAMING, Stat.HOME_NO_CSFB, Stat.ROAMING_NO_CSFB})
_BEST_FIRST = (
    Stat.HOME, Stat.ROAMING, Stat.HOME_NO_CSFB, Stat.ROAMING_NO_CSFB, Stat.HOME_SMS_ONLY, Stat.ROAMING_SMS_ONLY, Stat.DENIED,
    Stat.EMERGENCY_ONLY, Stat.SEARCHING, Stat.UNKNOWN, Stat.NOT_SEARCHING,
)  # fmt: skip


class Signal(NamedTuple):
    """The serving cell's levels; None where the modem does not know. ``rat``: empty where the command does not tell."""

    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    rssi_dbm: float | None = None
    rat: str = ""


class Operator(NamedTuple):
    """The network registered on. ``plmn``: empty where the modem has none, or names it otherwise than in digits."""

    plmn: str = ""
    rat: str = ""


def is_registration_urc(line: str) -> bool:
    """True for an unsolicited line that tells that the registration changed."""
    return bool(_URC.match(line))


def stat_of(match: re.Match[str]) -> Stat:
    """The state in a read answer; what the standard does not know is UNKNOWN."""
    number = int(match[1])
    return Stat(number) if number in Stat._value2member_map_ else Stat.UNKNOWN


def best(stats: list[Stat]) -> Stat:
    """What a modem with several domains amounts to."""
    return min(stats, key=_BEST_FIRST.index, default=Stat.UNKNOWN)


def operator_of(match: re.Match[str] | None) -> Operator:
    """From +COPS."""
    if match is None:
        return Operator()
    plmn = match[3] or ""
    digits = plmn if len(plmn) in (5, 6) and plmn.isascii() and plmn.isdigit() else ""
    return Operator(digits, _RATS.get(int(match[4]), "") if match[4] else "")


def quectel_signal(match: re.Match[str]) -> Signal:
    """From +QCSQ: dBm and dB as they are. LTE kinds: RSSI, RSRP, SINR, RSRQ; 5G alone: RSRP, SINR, RSRQ; else RSSI first."""
    mode = match[1].upper()
    values = [float(value) for value in match[2].split(",") if value.strip()]
    rat = _QUECTEL_RATS.get(mode, "")
    if mode == "NR5G-SA":
        return Signal(_at(values, 0), _at(values, 2), None, rat)
    if rat in ("LTE", "LTE-M", "NB-IoT"):
        return Signal(_at(values, 1), _at(values, 3), _at(values, 0), rat)
    return Signal(None, None, _at(values, 0), rat)


def extended_signal(match: re.Match[str]) -> Signal:
    """From +CESQ (TS 27.007, 8.69): the lower edge of each step; 99 and 255 are unknown."""
    levels = [int(value) for value in match[1].split(",")]
    rxlev, rscp, rsrq, rsrp = levels[0], levels[2], levels[4], levels[5]
    ss_rsrq, ss_rsrp = (levels[6], levels[7]) if len(levels) >= 8 else (255, 255)
    power = _step(rsrp, 97, -141, 1) if rsrp <= 97 else _step(ss_rsrp, 126, -157, 1)
    quality = _step(rsrq, 34, -20, 0.5) if rsrq <= 34 else _step(ss_rsrq, 126, -43.5, 0.5)
    strength = _step(rxlev, 63, -111, 1) if rxlev <= 63 else _step(rscp, 96, -121, 1)
    return Signal(power, quality, strength)


def plain_signal(match: re.Match[str]) -> Signal:
    """From +CSQ (TS 27.007, 8.5): RSSI alone."""
    return Signal(rssi_dbm=_step(int(match[1]), 31, -113, 2))


def registration_of(stat: Stat, attached: bool, operator: Operator, signal: Signal) -> Registration:
    """All of it. ``attached``: +CGATT; a modem registered for short messages or emergencies alone carries no data."""
    registered = stat in _HOME or stat in _ROAMING
    if not registered:
        denied = stat in (Stat.DENIED, Stat.EMERGENCY_ONLY)
        off = RegistrationState.OFF if stat is Stat.NOT_SEARCHING else RegistrationState.SEARCHING
        return Registration(
            RegistrationState.DENIED if denied else off, data=False, cause="denied" if denied else "no_coverage"
        )  # fmt: skip
    data = attached and stat in _CARRIES_DATA
    return Registration(
        state=RegistrationState.HOME if stat in _HOME else RegistrationState.ROAMING,
        data=data,
        plmn=operator.plmn,
        rat=signal.rat or operator.rat,
        rsrp_dbm=signal.rsrp_dbm,
        rsrq_db=signal.rsrq_db,
        rssi_dbm=signal.rssi_dbm,
        cause="" if data else "no_data",
    )


def _step(value: int, most: int, base: float, step: float) -> float | None:
    return base + step * value if value <= most else None


def _at(values: list[float], index: int) -> float | None:
    return values[index] if index < len(values) else None
