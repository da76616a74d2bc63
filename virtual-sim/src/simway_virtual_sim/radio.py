"""Bearer ``virtual``: a simulated modem. Whether it is registered, and whether datagrams pass, follows from profile and coverage.

The datagrams themselves go over this machine's network; every one is let through or lost by what the radio is at that moment. A
socket opened as one subscriber carries nothing once the modem is another: a new bearer has a new address.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from simway_protocol.sim.bearer import PROOF_BEARER, BearerUnusable, Connect, DatagramSocket, PathError, Registration

from simway_virtual_sim.radio_coverage import Coverage, Identity, decode, registration_at

log = logging.getLogger(__name__)


class VirtualRadio:
    """A modem (``simway_protocol.sim.bearer.Bearer``). Every method may be called from any thread.

    ``coverage``: asked at each look, so that it can change. ``clock_s``: any steady clock.
    """

    name = "virtual"
    proof = PROOF_BEARER
    has_radio = True
    switch_floor_s = 0

    def __init__(
        self,
        coverage: Callable[[], Coverage],
        *,
        clock_s: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._coverage = coverage
        self._clock_s = clock_s
        now = coverage()
        self._rng = rng or random.Random(now.seed)
        self._identity = Identity()
        self._carrier = now.carrier_of(self._identity)
        self._since_s = clock_s()
        self._lock = threading.Lock()

    def use_identity(self, iccid: str, imsi: str) -> None:
        """As ``Bearer.use_identity``; another identity than before begins to register now."""
        identity = Identity(iccid, imsi)
        with self._lock:
            if identity != self._identity:
                self._identity = identity
                self._carrier = self._coverage().carrier_of(identity)
                self._since_s = self._clock_s()

    def registration(self) -> Registration:
        """As ``Bearer.registration``."""
        with self._lock:
            return self._look()

    def open_socket(self, connect: Connect) -> RadioSocket:
        """As ``Bearer.open_socket``."""
        passes = self.open_gate()
        return RadioSocket(connect(""), passes)

    def open_gate(self) -> Callable[[], bool]:
        """Whether a datagram of a socket that is opened now gets through, asked for each one. Raises ``PathError``."""
        with self._lock:
            identity, registration = self._identity, self._look()
        if not registration.data:
            raise PathError(f"the virtual radio carries no data now ({registration.cause}); see COVERAGE_FILE")
        return lambda: self._passes(identity)

    def close(self) -> None:
        """As ``Bearer.close``: the modem is switched off."""
        self.use_identity("", "")

    def _passes(self, identity: Identity) -> bool:
        """Whether a datagram of this subscriber's socket gets through now."""
        with self._lock:
            if identity != self._identity or not self._look().data:
                return False
            return self._carrier.loss == 0 or self._rng.random() >= self._carrier.loss

    def _look(self) -> Registration:
        coverage, now_s = self._coverage(), self._clock_s()
        home_plmn = coverage.home_plmn_of(self._identity)
        carrier = coverage.carrier_of(self._identity)
        if carrier != self._carrier:
            before = registration_at(self._carrier, self._identity, home_plmn, now_s - self._since_s)
            if not before.registered or carrier.flapping != self._carrier.flapping:
                self._since_s = now_s
            self._carrier = carrier
        return registration_at(carrier, self._identity, home_plmn, now_s - self._since_s)


class RadioSocket:
    """A UDP socket behind the radio (``simway_protocol.sim.bearer.DatagramSocket``)."""

    def __init__(self, inner: DatagramSocket, passes: Callable[[], bool]) -> None:
        self._inner = inner
        self._passes = passes

    def fileno(self) -> int:
        """As ``DatagramSocket.fileno``."""
        return self._inner.fileno()

    def send(self, datagram: bytes, /) -> int:
        """As ``DatagramSocket.send``; what the radio loses counts as sent."""
        return self._inner.send(datagram) if self._passes() else len(datagram)

    def recv(self, room_bytes: int, /) -> bytes:
        """As ``DatagramSocket.recv``; a datagram that came but that the radio loses is taken off the socket."""
        datagram = self._inner.recv(room_bytes)
        if not self._passes():
            raise BlockingIOError("the radio lost the datagram")
        return datagram

    def close(self) -> None:
        """As ``DatagramSocket.close``."""
        self._inner.close()


class CoverageFile:
    """A coverage file, read again whenever it changes. One that cannot be read, later, changes nothing and is logged once."""

    def __init__(self, path: Path) -> None:
        """Raises ``BearerUnusable`` when the file cannot be used."""
        self._path = path
        self._seen = self._signature()
        try:
            self._last = decode(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BearerUnusable(f"{path} (COVERAGE_FILE) cannot be used: {error}; docs/radio.md shows one") from error

    def __call__(self) -> Coverage:
        """The coverage as of now."""
        seen = self._signature()
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        return self._last

    def _read_again(self) -> None:
        try:
            self._last = decode(self._path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("%s (COVERAGE_FILE) cannot be used now, coverage stays as it was: %s", self._path, error)

    def _signature(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino


def open_bearer(settings: Mapping[str, str]) -> VirtualRadio:
    """A modem in the coverage of ``settings["coverage_file"]``; without one every carrier is good, at once.

    Raises ``BearerUnusable``.
    """
    path = settings.get("coverage_file", "")
    if path:
        return VirtualRadio(CoverageFile(Path(path)))
    everywhere = Coverage()
    return VirtualRadio(lambda: everywhere)
