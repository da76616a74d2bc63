"""The bearer port: what carries a device's datagrams, and whether its network lets it. Found by name in ``simway.bearers``.

A bearer is made by a function ``open_bearer(settings: Mapping[str, str]) -> Bearer``; it raises ``BearerUnusable`` with a text
that says what to do next. Registration states are those of 3GPP TS 27.007, 10.1.20 (+CREG), in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

from simway_protocol.errors import ProtocolError

BEARER_GROUP = "simway.bearers"
PROOF_BEARER = "bearer"
"""The new carrier carried the attach."""
PROOF_CARD_ONLY = "card-only"
"""The card's state was read, and nothing more can be proved."""


class BearerUnusable(ProtocolError):
    """This machine, or its settings, have no such bearer: the operator's fault; waiting does not help."""


class PathError(OSError):
    """The way to the server cannot be opened now; the text says what to check. Waiting may help."""


class RegistrationState(StrEnum):
    """Where a modem stands with its network."""

    OFF = "off"
    """No identity, the radio is switched off, or the modem has given up searching."""
    SEARCHING = "searching"
    DENIED = "denied"
    HOME = "home"
    ROAMING = "roaming"


class Registration(NamedTuple):
    """One look at the radio. What is not known is empty or None.

    ``data``: datagrams can pass. ``plmn``: MCC and MNC of the network registered on. ``rat``: as people write it (``LTE``).
    ``rsrp_dbm``, ``rsrq_db``, ``rssi_dbm``: of the serving cell. ``cause``: why there is no registration or no data:
    ``no_identity``, ``no_coverage``, ``attaching``, ``denied``, ``no_data``, ``modem_gone``, ``wrong_identity`` (the modem is
    another subscriber than the card). ``imsi_modem``: what the modem itself says it is. ``proof``:
    what an attach proves as long as this stands, where that is not always the same.
    """

    state: str
    data: bool
    plmn: str = ""
    rat: str = ""
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    cause: str = ""
    rssi_dbm: float | None = None
    imsi_modem: str = ""
    proof: str = ""

    @property
    def registered(self) -> bool:
        """At home or roaming, with data or without."""
        return self.state in (RegistrationState.HOME, RegistrationState.ROAMING)

    def evidence(self) -> dict[str, Any]:
        """Plain values for RESULT, status and log; what is not known is left out."""
        shown = {name: value for name, value in self._asdict().items() if value is not None and value != ""}
        return shown | {"state": str(self.state)}


class DatagramSocket(Protocol):
    """The part of a connected, non-blocking UDP socket that is used. ``send`` and ``recv`` raise ``OSError``."""

    def fileno(self) -> int:
        """For ``select``. Readable may still mean that ``recv`` raises ``BlockingIOError``."""

    def send(self, datagram: bytes, /) -> int:
        """Sends one datagram, or loses it, as a network does."""

    def recv(self, room_bytes: int, /) -> bytes:
        """One datagram; ``BlockingIOError`` when there is none."""

    def close(self) -> None:
        """Closes it; again is harmless."""


Connect: TypeAlias = Callable[[str], DatagramSocket]
"""Makes a socket to the server over a network interface, by its name or address; empty: the host chooses. ``PathError``."""


class Bearer(Protocol):
    """One way to the network. ``registration`` may be called from any thread, the rest from one.

    ``proof``: what an attach over it proves after a switch, ``PROOF_BEARER`` or ``PROOF_CARD_ONLY``. ``has_radio``: whether
    ``registration`` tells of a radio (then it is telemetry) or is always the same. ``switch_floor_s``: how long it may take at
    worst until the radio is registered after a switch, at most ``commands.SWITCH_FLOOR_MAX_S``; no deadline is shorter.
    """

    name: str
    proof: str
    has_radio: bool
    switch_floor_s: int

    def use_identity(self, iccid: str, imsi: str) -> None:
        """Registers as this subscriber, after the card was reset or read. The same identity again changes nothing.

        Does not wait for the radio: ``registration`` tells how it went. ``iccid`` empty: no profile is enabled. ``imsi`` may be
        empty where the card keeps it behind a PIN.
        """

    def registration(self) -> Registration:
        """As it is now. Quick."""

    def open_socket(self, connect: Connect) -> DatagramSocket:
        """A socket to the server, made by ``connect`` over the interface that the bearer chooses; blocks as that does.

        ``PathError`` when nothing carries data now. What it sends and receives passes only while the bearer carries data.
        """

    def close(self) -> None:
        """Lets go of the device; again is harmless."""


BearerOpener: TypeAlias = Callable[[Mapping[str, str]], Bearer]
