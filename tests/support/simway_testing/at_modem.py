"""A modem on a pseudo terminal that answers as real ones do, with a real (virtual) card in it.

It echoes, puts unsolicited results between any two lines, cuts its output anywhere, fetches what the card wants and performs its
REFRESH, and reboots with garbage on the line. ``Style`` holds what makers do differently.
"""

from __future__ import annotations

import os
import random
import re
import select
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from simway_protocol.sim import apdu, numbering
from simway_protocol.sim.card import Card, CardError

WAIT_S = 0.05
GARBAGE = b"\x00\xff\xfe\x80RY\x00\r\n\x1b[\r\n"
SIM_ERRORS = {10: "SIM not inserted", 11: "SIM PIN required", 13: "SIM failure", 14: "SIM busy"}


@dataclass(frozen=True)
class Style:
    """One maker's ways. ``open_channel``: how +CCHO answers, or why not. ``reads_sim_on``: what makes it read the SIM anew."""

    name: str
    open_channel: str = "prefixed"  # prefixed | bare | handle | missing
    close_channel: bool = True
    csim: str = "all"  # all | basic (nothing passes on a channel above 0) | missing
    quoted: bool = True
    spaced: bool = True
    signal: str = "+CESQ: 99,99,255,255,20,46"
    quectel: bool = False
    reads_sim_on: str = "refresh"  # refresh | radio | reboot
    flight_mode_only: bool = False
    vanishes: bool = False
    boot: tuple[str, ...] = ("RDY", "+CFUN: 1", "+CPIN: READY", "APP RDY")


QUECTEL = Style("quectel", quectel=True, csim="basic", signal='+QCSQ: "LTE",-60,-95,142,-11')
PLAIN = Style("plain 27.007", open_channel="missing", quoted=False, reads_sim_on="radio", boot=("+CPIN: READY",))
SIERRA = Style("sierra", open_channel="handle", close_channel=False, csim="missing", reads_sim_on="reboot", boot=("START",))
FIBOCOM = Style("fibocom", open_channel="bare", csim="missing", flight_mode_only=True, reads_sim_on="radio", vanishes=True)
SIMCOM = Style("simcom", spaced=False)
STYLES = (QUECTEL, PLAIN, SIERRA, FIBOCOM, SIMCOM)

Networks = dict[str, tuple[int, str]]
"""IMSI prefix -> <stat> of +CEREG and the PLMN registered on."""


@dataclass
class Faults:
    """What goes wrong: set in a test at any time."""

    silent: int = 0
    """So many further commands are swallowed."""
    late: int = 0
    """So many further answers come only with the next command."""
    sim_error: int = 0
    """+CME ERROR for all that needs the SIM."""
    busy: int = 0
    """So many further SIM commands find it busy."""
    cimi_error: int = 0
    """+CME ERROR for AT+CIMI alone: the SIM is busy (14), or does not answer yet (13)."""
    no_data: bool = False
    lose_card_answer: bool = False
    """The next success of the card that comes with a REFRESH is told as a SIM failure."""
    reboot_at: str = ""
    """The modem loses its power at the next command that begins so."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Command -> its whole answer, instead of the usual one; lines separated by newlines."""


class AtModem:
    """Runs until ``close``. ``port``: the path to give to the client; it stays the same when the device vanishes and returns."""

    def __init__(
        self, folder: Path, card: Card, style: Style = QUECTEL, *, networks: Networks | None = None, seed: int = 1
    ) -> None:
        self.style = style
        self.card = card
        self.networks = networks or {}
        self.faults = Faults()
        self.commands: list[str] = []
        self.reboots = 0
        self.radio = 1
        self.port = folder / f"modem-{style.name.split()[0]}"
        self._rng = random.Random(seed)
        self._sessions: dict[str, int] = {}
        self._held_back: list[bytes] = []
        self._echo, self._digits = True, False
        self._inbox = bytearray()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._plug()
        self.imsi = self._read_imsi()
        self._stat = self._network()[0]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        self._unplug()
        self.card.close()

    def say(self, line: str) -> None:
        """An unsolicited result, now."""
        with self._lock:
            self._write(f"\r\n{line}\r\n".encode())

    def move(self, networks: Networks) -> None:
        """Other coverage; the modem tells when its registration changes."""
        with self._lock:
            self.networks = networks
            self._look_for_network()

    def reboot(self) -> None:
        """As by a power cut."""
        with self._lock:
            self._reboot()

    # --- the device ------------------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        fresh = self.port.with_suffix(".new")
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.port)

    def _unplug(self) -> None:
        os.close(self._master)
        os.close(self._slave)

    def _write(self, data: bytes) -> None:
        while data:
            size = self._rng.randint(1, max(1, len(data)))
            os.write(self._master, data[:size])
            data = data[size:]

    def _run(self) -> None:
        while not self._over.is_set():
            readable, _, _ = select.select([self._master], [], [], WAIT_S)
            if not readable:
                continue
            with self._lock:
                try:
                    self._inbox += os.read(self._master, 4_096)
                except OSError:
                    continue
                while b"\r" in self._inbox:
                    line, _, rest = bytes(self._inbox).partition(b"\r")
                    self._inbox = bytearray(rest)
                    self._command(line.decode("ascii", "replace").strip("\n"))

    def _command(self, text: str) -> None:
        self.commands.append(text)
        if self._echo:
            self._write(text.encode() + b"\r")
        if self.faults.silent:
            self.faults.silent -= 1
            return
        if self.faults.reboot_at and text.startswith(self.faults.reboot_at):
            self.faults.reboot_at = ""
            self._reboot()
            return
        lines = self._answer(text)
        out = [f"\r\n{line}\r\n".encode() for line in self._with_noise(lines)]
        if self.faults.late:
            self.faults.late -= 1
            self._held_back += out
            return
        for part in [*self._held_back, *out]:
            self._write(part)
        self._held_back.clear()
        if text == "AT+CFUN=1,1":
            self._reboot()

    def _with_noise(self, lines: list[str]) -> list[str]:
        noise = ['+QIND: "csq",20,99', "+CREG: 1", '+CEREG: 1,"1A2B","0145A1F0",7', "+CTZV: +8", "^RSSI: 21"]
        mixed: list[str] = []
        for line in lines:
            if self._rng.random() < 0.3:
                mixed.append(self._rng.choice(noise))
            mixed.append(line)
        return mixed

    # --- commands --------------------------------------------------------------------------------------------------------

    def _answer(self, text: str) -> list[str]:
        given = self.faults.attributes.get(text)
        if given is not None:
            return given.split("\n")
        name, _, value = text.partition("=")
        found: Callable[[str], list[str]] | None = {
            "AT": lambda _v: ["OK"], "ATE0": self._no_echo, "AT+CMEE": self._cmee, "AT+CFUN": self._cfun, "AT+CPIN?": self._cpin,
            "AT+CIMI": self._cimi, "AT+CCHO": self._ccho, "AT+CCHC": self._cchc, "AT+CGLA": self._cgla, "AT+CSIM": self._csim,
            "AT+CEREG?": lambda _v: self._registered("CEREG"), "AT+CREG?": lambda _v: self._registered("CREG"),
            "AT+COPS?": self._cops, "AT+CGATT?": self._cgatt, "AT+CSQ": lambda _v: ["+CSQ: 21,99", "OK"],
            "AT+QCSQ" if self.style.quectel else "AT+CESQ": self._signal,
            "AT+COPS=3,2": lambda _v: ["OK"], "AT+CREG": lambda _v: ["OK"], "AT+CEREG": lambda _v: ["OK"],
        }.get(text if text == "AT+COPS=3,2" else name)  # fmt: skip
        return found(value) if found else ["ERROR"]

    def _no_echo(self, _value: str) -> list[str]:
        self._echo = False
        return ["OK"]

    def _cmee(self, value: str) -> list[str]:
        self._digits = value == "1"
        return ["OK"]

    def _cme(self, code: int) -> list[str]:
        return [f"+CME ERROR: {code if self._digits else SIM_ERRORS.get(code, 'unknown')}"]

    def _sim_trouble(self) -> list[str]:
        if self.faults.busy:
            self.faults.busy -= 1
            return self._cme(14)
        return self._cme(self.faults.sim_error) if self.faults.sim_error else []

    def _cpin(self, _value: str) -> list[str]:
        return self._sim_trouble() or ["+CPIN: READY", "OK"]

    def _cimi(self, _value: str) -> list[str]:
        if not self.imsi or not self.radio:
            return self._cme(13)
        if self.faults.cimi_error:
            return self._cme(self.faults.cimi_error)
        return self._sim_trouble() or [self.imsi, "OK"]

    def _cfun(self, value: str) -> list[str]:
        if value == "0" and self.style.flight_mode_only:
            return self._cme(4)
        if value == "1,1":
            return ["OK"]
        self.radio = int(value)
        if value == "1" and self.style.reads_sim_on in ("radio", "refresh"):
            self._take_up_identity()
        self._look_for_network()
        return ["OK"]

    def _cops(self, _value: str) -> list[str]:
        plmn = self._network()[1] if self._stat in (1, 5) else ""
        return [f'+COPS: 0,2,"{plmn}",7' if plmn else "+COPS: 0", "OK"]

    def _cgatt(self, _value: str) -> list[str]:
        return [f"+CGATT: {int(self._stat in (1, 5) and not self.faults.no_data)}", "OK"]

    def _signal(self, _value: str) -> list[str]:
        return [self.style.signal, "OK"] if self.style.signal else ["ERROR"]

    def _registered(self, name: str) -> list[str]:
        cell = ',"1A2B","0145A1F0",7' if self._stat in (1, 5) and name == "CEREG" else ""
        stat = self._stat if name == "CEREG" or self._stat != 1 else 1
        return [f"+{name}: 2,{stat}{cell}", "OK"]

    # --- the SIM ---------------------------------------------------------------------------------------------------------

    def _ccho(self, value: str) -> list[str]:
        if self.style.open_channel == "missing":
            return ["ERROR"]
        if trouble := self._sim_trouble():
            return trouble
        channel = self._open_on_card(bytes.fromhex(value.strip('"')))
        if channel is None:
            return self._cme(22 if self.style.quectel else 100)
        session = f"{0x385A7C0 + channel:016x}" if self.style.open_channel == "handle" else str(channel)
        self._sessions[session] = channel
        return [session if self.style.open_channel == "bare" else f"+CCHO: {session}", "OK"]

    def _open_on_card(self, aid: bytes) -> int | None:
        data, sw = self.card.transmit(apdu.open_channel().encode())
        if sw != 0x9000:
            return None
        _fcp, sw = self.card.transmit(apdu.select_application(aid, data[0]).encode())
        if sw >> 8 not in (0x90, 0x61):
            self.card.transmit(apdu.close_channel(data[0]).encode())
            return None
        return data[0]

    def _cchc(self, value: str) -> list[str]:
        if not self.style.close_channel:
            return ["ERROR"]
        channel = self._sessions.pop(value, None)
        if channel is None:
            return self._cme(50)
        self.card.transmit(apdu.close_channel(channel).encode())
        return ["OK"]

    def _cgla(self, value: str) -> list[str]:
        session, _, rest = value.partition(",")
        channel = self._sessions.get(session)
        if channel is None or self.style.open_channel == "missing":
            return self._cme(50)
        raw = _apdu_of(rest)
        cla = apdu.class_for(channel, proprietary=bool(raw[0] & 0x80))
        return self._sim_trouble() or self._through("CGLA", bytes((cla,)) + raw[1:])

    def _csim(self, value: str) -> list[str]:
        raw = _apdu_of(value)
        if self.style.csim == "missing":
            return ["ERROR"]
        if self.style.csim == "basic" and raw[0] & 0x03 and raw[1] != apdu.Ins.MANAGE_CHANNEL:
            return ["ERROR"]
        return self._sim_trouble() or self._through("CSIM", raw)

    def _through(self, name: str, raw: bytes) -> list[str]:
        try:
            data, sw = self.card.transmit(raw)
        except CardError:
            return self._cme(13)
        response = f"{data.hex().upper()}{sw:04X}"
        space, quote = " " if self.style.spaced else "", '"' if self.style.quoted else ""
        lines = [f"+{name}:{space}{len(response)},{quote}{response}{quote}", "OK"]
        if sw >> 8 != 0x91:
            return lines
        after = self._refresh(sw & 0xFF)
        if self.faults.lose_card_answer:
            self.faults.lose_card_answer = False
            return self._cme(13)
        return [*lines, *after]

    def _refresh(self, size: int) -> list[str]:
        """What the card wants, as the terminal that the modem is: FETCH, TERMINAL RESPONSE, and the card's reset."""
        command, _sw = self.card.transmit(apdu.fetch(size).encode())
        details = command[command.index(0x81) : command.index(0x81) + 5]
        self.card.transmit(apdu.terminal_response(details + bytes.fromhex("82028281830100")).encode())
        self.card.reset()
        self._sessions.clear()
        if self.style.reads_sim_on == "refresh":
            self._take_up_identity()
            self._look_for_network()
        return ["+CPIN: READY"]

    def _take_up_identity(self) -> None:
        self.card.reset()
        self._sessions.clear()
        self.imsi = self._read_imsi()

    def _read_imsi(self) -> str:
        usim = self._open_on_card(bytes.fromhex("A0000000871002"))
        if usim is None:
            return ""
        self.card.transmit(apdu.select_file(0x6F07, usim).encode())
        data, sw = self.card.transmit(apdu.read_binary(numbering.IMSI_BYTES, channel=usim).encode())
        self.card.transmit(apdu.close_channel(usim).encode())
        return numbering.decode_imsi(data) if sw == 0x9000 else ""

    # --- network and power -----------------------------------------------------------------------------------------------

    def _network(self) -> tuple[int, str]:
        if self.radio != 1 or not self.imsi:
            return 0, ""
        found = [network for prefix, network in self.networks.items() if self.imsi.startswith(prefix)]
        return found[0] if found else (1, self.imsi[:5])

    def _look_for_network(self) -> None:
        before, self._stat = self._stat, self._network()[0]
        if before != self._stat:
            self._write(f"\r\n+CEREG: {self._stat}\r\n".encode())

    def _reboot(self) -> None:
        self.reboots += 1
        self.radio, self._echo, self._digits = 1, True, False
        self._inbox.clear()
        if self.style.vanishes:
            self._unplug()
            self._plug()
        self._take_up_identity()
        self._stat = self._network()[0]
        self._write(GARBAGE)
        for line in self.style.boot:
            self._write(f"\r\n{line}\r\n".encode())


def _apdu_of(value: str) -> bytes:
    match = re.fullmatch(r'(\d+),"?([0-9A-F]+)"?', value)
    assert match is not None, value
    assert int(match[1]) == len(match[2]), value
    return bytes.fromhex(match[2])
