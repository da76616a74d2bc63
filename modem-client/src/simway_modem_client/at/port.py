"""The serial port of a modem: one command at a time from any thread, unsolicited lines to whoever listens.

A thread reads. Commands wait for their final result with a deadline; after a missed one the port comes into step again before
the next, so that no late answer is taken for another's. A port that vanished (a modem that reboots on USB) is opened anew.
"""

from __future__ import annotations

import math
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import structlog

from simway_modem_client.at.lines import Answer, Command, Dialogue, Splitter, is_boot, is_final

BAUD = 115_200
ANSWER_S = 5.0
"""Most commands are answered within 300 ms; card and network commands are given more."""
WRITE_S = 5.0
QUIET_S = 0.1
"""So long nothing is written by a modem that has answered all it was asked."""
LOST_S = 1.0
"""After so long a silence an answer that is still owed is lost."""
STEP_S = 1.0
STEP_WITHIN_S = 6.0
"""Each try to come into step waits ``STEP_S`` for OK; a modem that never does is given up after ``STEP_WITHIN_S``."""
REOPEN_S = 0.5
LET_GO_S = 1.0
"""So long closing waits for the thread that reads, which may be telling a line to somebody. A device that is closed under a read
stays open and locked until that returns: nobody could open it again."""
TURN_S = 10.0
"""So long a thread waits for another one's command to be over; a restart takes longer."""
PORT_ERRORS = (OSError, termios.error, TypeError)
"""What a device that vanishes raises: ``termios.error`` is no ``OSError``; TypeError: pyserial, when it is closed meanwhile."""
LOST = "(port lost)"
"""What listeners get when the port vanished; no modem writes it."""
AT = Command("AT")
FIRST_COMMANDS = (Command("ATE0"), Command("AT+CMEE=1"))

INSTALL_LINE = "pip install 'simway-modem-client[at]'"

log = structlog.get_logger(__name__)


class ModemGone(Exception):
    """The modem gave no answer: the port is not there, or it is silent. Whether it did what was asked is unknown."""


class ModemBusy(ModemGone):
    """Another thread has the modem, perhaps to restart it. Nothing was asked."""


class NoSerial(Exception):
    """This machine cannot open serial ports at all: the operator's fault. The text says what to install or set."""


class Serial(Protocol):
    """The part of ``serial.Serial`` that is used. Raises ``PORT_ERRORS``."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""

    def read(self, size: int = 1, /) -> bytes:
        """Blocks until there is a byte, or ``cancel_read``."""

    def write(self, data: bytes, /) -> Any:
        """Writes all."""

    def cancel_read(self) -> None:
        """Ends a ``read`` of another thread."""

    def close(self) -> None:
        """Closes."""


class AtPort:
    """One modem. Thread-safe. ``open_serial`` opens the device; raises ``PORT_ERRORS``."""

    def __init__(self, open_serial: Callable[[], Serial], name: str) -> None:
        self.name = name
        self.restarts = 0
        """How often the modem began anew, and with it its registration."""
        self.left_open: dict[bytes, str] = {}
        """Card sessions that the modem would not close, by application, for whoever wants that application next."""
        self.card_reset_s = -math.inf
        """When the card was last reset, by the monotonic clock."""
        self._closed = threading.Event()
        self._open_serial = open_serial
        self._turn = threading.RLock()
        self._news = threading.Condition()
        self._serial: Serial | None = None
        self._reader: threading.Thread | None = None
        self._dialogue: Dialogue | None = None
        self._heard_s = 0.0
        self._trouble = "not opened yet"
        self._listeners: list[Callable[[str], None]] = []
        self._first: list[Command] = list(FIRST_COMMANDS)
        self._fresh = True
        self._in_step = False
        self._owed = 0
        self._tried_s = -REOPEN_S

    # --- for users -------------------------------------------------------------------------------------------------------

    def ask(self, command: Command, timeout_s: float | None = None) -> Answer:
        """Sends a command and waits for its final result, by default ``ANSWER_S``. Raises ``ModemGone``."""
        with self.exclusively():
            self._prepare()
            return self._exchange(command, ANSWER_S if timeout_s is None else timeout_s)

    @property
    def closed(self) -> bool:
        """Nobody uses it any more."""
        return self._closed.is_set()

    @contextmanager
    def exclusively(self, wait_s: float | None = None) -> Iterator[None]:
        """Inside the ``with`` only this thread asks; nested ones count as one.

        Waits for other threads, by default ``TURN_S``, then raises ``ModemBusy``.
        """
        if not self._turn.acquire(timeout=TURN_S if wait_s is None else wait_s):
            raise ModemBusy(f"the modem on {self.name} is busy, perhaps it restarts; try again")
        try:
            yield
        finally:
            self._turn.release()

    def listen(self, listener: Callable[[str], None]) -> None:
        """``listener`` gets every unsolicited line, in the reading thread: it must not ask."""
        self._listeners.append(listener)

    def at_start(self, *commands: Command) -> None:
        """Commands that are sent whenever the modem began anew. What it answers does not matter."""
        with self._turn:
            self._first += [command for command in commands if command not in self._first]
            self._fresh = True

    def began_anew(self) -> None:
        """The modem was reset: what it was told, and its registration, are void."""
        with self._news:
            self._forget()

    def close(self) -> None:
        """Lets go of the port, also under a command of another thread; that one and later calls raise ``ModemGone``."""
        self._closed.set()
        self._drop("closed")

    # --- inside ----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self._serial is None:
            self._open()
        if not self._in_step:
            self._come_into_step()
        if self._fresh:
            self._fresh = False
            try:
                for command in self._first:
                    self._exchange(command, ANSWER_S)
            except ModemGone:
                self._fresh = True
                raise

    def _open(self) -> None:
        wait_s = self._tried_s + REOPEN_S - time.monotonic()
        if self._closed.is_set() or wait_s > 0:
            raise ModemGone(f"the modem on {self.name} is gone ({self._trouble}); check MODEM_PORT and its power")
        self._tried_s = time.monotonic()
        try:
            opened = self._open_serial()
        except PORT_ERRORS as error:
            self._trouble = str(error)
            raise ModemGone(
                f"{self.name} cannot be opened ({error}); check MODEM_PORT, and that no other program (ModemManager?) holds it"
            ) from error
        self._in_step, self._fresh, self._owed = False, True, 0
        with self._news:
            self._serial = opened
            self._reader = threading.Thread(target=self._read, args=[opened], name=f"modem {self.name}", daemon=True)
            self._reader.start()
        if self._closed.is_set():
            self._drop("closed")

    def _come_into_step(self) -> None:
        """Until AT is answered, no other answer is owed, and nothing more comes."""
        give_up_s = time.monotonic() + STEP_WITHIN_S
        while time.monotonic() < give_up_s:
            try:
                answer = self._exchange(AT, STEP_S)
            except ModemGone:
                if self._serial is None:
                    raise
                continue
            if answer.ok and ((self._stays_quiet(QUIET_S) and not self._owed) or self._stays_quiet(LOST_S)):
                self._owed = 0
                self._in_step = True
                return
        raise ModemGone(
            f"the modem on {self.name} does not answer AT; check that MODEM_PORT is its port for AT commands, not for data"
        )

    def _stays_quiet(self, quiet_s: float) -> bool:
        with self._news:
            before_s = self._heard_s
            return not self._news.wait_for(lambda: self._heard_s != before_s, quiet_s)

    def _exchange(self, command: Command, timeout_s: float) -> Answer:
        serial = self._serial
        if serial is None:
            raise ModemGone(f"the modem on {self.name} is gone ({self._trouble}); check MODEM_PORT and its power")
        dialogue = Dialogue(command)
        with self._news:
            restarts = self.restarts
            self._dialogue = dialogue
            self._owed += 1
        try:
            serial.write(f"{command.text}\r".encode("ascii"))
        except PORT_ERRORS as error:
            self._drop(str(error))
            raise ModemGone(f"the modem on {self.name} cannot be written to: {error}") from error
        with self._news:
            self._news.wait_for(lambda: dialogue.over or self._serial is not serial or self.restarts != restarts, timeout_s)
            self._dialogue = None
        if dialogue.over:
            return dialogue.answer
        self._in_step = False
        verb = command.text.split("=")[0]
        if self.restarts != restarts:
            raise ModemGone(f"the modem on {self.name} rebooted before it answered {verb}")
        raise ModemGone(f"the modem on {self.name} did not answer {verb} within {timeout_s:g} s ({self._trouble or 'silent'})")

    def _drop(self, why: str) -> None:
        with self._news:
            serial, self._serial = self._serial, None
            reader = self._reader
            self._trouble = why
            self._news.notify_all()
        if serial is not None:
            with suppress(*PORT_ERRORS):
                serial.cancel_read()
            if reader is not None and reader is not threading.current_thread():
                reader.join(LET_GO_S)
            with suppress(*PORT_ERRORS):
                serial.close()

    # --- the reading thread ----------------------------------------------------------------------------------------------

    def _read(self, serial: Serial) -> None:
        self._trouble = ""
        why = "the port was closed"
        try:
            self._read_lines(serial)
        except PORT_ERRORS as error:
            why = str(error)
        except Exception as error:
            why = repr(error)
            log.exception("reading the modem failed", port=self.name)
        if self._serial is serial:
            log.warning("the modem's port is gone", port=self.name, why=why)
            self._drop(why)
            self._tell(LOST)

    def _read_lines(self, serial: Serial) -> None:
        splitter = Splitter()
        while self._serial is serial:
            for line in splitter.feed(serial.read(max(1, serial.in_waiting))):
                self._sort(line)

    def _sort(self, line: str) -> None:
        with self._news:
            self._heard_s = time.monotonic()
            mine = self._dialogue is not None and self._dialogue.take(line)
            if is_final(line):
                self._owed = max(0, self._owed - 1)
                self._in_step = self._in_step and mine
            if not mine and is_boot(line):
                self._forget()
            self._news.notify_all()
        if not mine:
            self._tell(line)

    def _forget(self) -> None:
        self._fresh = True
        self._owed = 0
        self.restarts += 1
        self.left_open.clear()

    def _tell(self, line: str) -> None:
        for listener in self._listeners:
            listener(line)


# --- one port for all that use it ----------------------------------------------------------------------------------------------


_shared: dict[str, tuple[AtPort, int]] = {}
_shared_lock = threading.Lock()


def take_port(path: str) -> AtPort:
    """The port of this path, the same one for everybody in this process until ``give_back``. Opens nothing yet.

    Raises ``NoSerial``.
    """
    if not path:
        raise NoSerial("a modem needs MODEM_PORT, its serial port for AT commands, as in /dev/serial/by-id/...-if02-port0")
    try:
        import serial
    except ImportError as error:
        raise NoSerial(f"a modem on {path} needs pyserial, which is not installed; install it: {INSTALL_LINE}") from error

    def open_serial() -> Serial:
        opened: Serial = serial.Serial(path, BAUD, timeout=None, write_timeout=WRITE_S, exclusive=True)
        return opened

    with _shared_lock:
        port, users = _shared.get(path) or (AtPort(open_serial, path), 0)
        _shared[path] = (port, users + 1)
        return port


def give_back(port: AtPort) -> None:
    """One user less; the last one closes the port."""
    with _shared_lock:
        _port, users = _shared.get(port.name, (port, 0))
        if users > 1:
            _shared[port.name] = (port, users - 1)
            return
        _shared.pop(port.name, None)
    port.close()
