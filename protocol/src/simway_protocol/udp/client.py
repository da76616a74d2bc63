"""The device's end of the UDP protocol, sans-IO: datagrams and calls in, events and datagrams out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simway_protocol.messages import Range
from simway_protocol.readings import Reading
from simway_protocol.udp.events import ClientEvent


class ClientEndpoint:
    """One device's session with the server. Not thread-safe; nothing blocks. ``now_us``: one clock, microseconds."""

    def __init__(self, *, device: str, key_version: int, random: Callable[[int], bytes]) -> None:
        raise NotImplementedError

    attached: bool
    session_id: bytes
    generation: int
    rtt_us: int | None

    def attach(self, *, iccid: str, boot_counter: int, epoch: str, last_counter: int, now_us: int) -> None:
        """Begins to attach; a live session goes on until the new one stands."""
        raise NotImplementedError

    def answer(self, response: bytes, session_key: bytes, now_us: int) -> None:
        """What the key's holder computed for ``Challenged.challenge``."""
        raise NotImplementedError

    def receive(self, datagram: bytes, now_us: int) -> list[ClientEvent]:
        """Takes one datagram; never raises, whatever the bytes."""
        raise NotImplementedError

    def window(self) -> int:
        """How many further DATA frames may be in flight now; 0 when not attached or asked to wait."""
        raise NotImplementedError

    def send_data(self, first_seq: int, readings: Sequence[Reading], dropped: Sequence[Range], now_us: int) -> int:
        """Makes one DATA frame; how many of the readings it took. Retransmitted until every sequence has an outcome."""
        raise NotImplementedError

    def send_receipt(self, command_id: bytes, counter: int, now_us: int) -> None:
        """Says that a command is in the journal; sent again by itself when the command is repeated."""
        raise NotImplementedError

    def send_result(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any], now_us: int) -> None:
        """Repeated, over new sessions too, until ``Settled``."""
        raise NotImplementedError

    def send_closed(self, command_id: bytes, outcome: str, now_us: int) -> None:
        """Repeated, over new sessions too, until ``Settled``."""
        raise NotImplementedError

    def tick(self, now_us: int) -> list[ClientEvent]:
        """Does what is due by time."""
        raise NotImplementedError

    def next_deadline_us(self) -> int | None:
        """When ``tick`` is wanted next."""
        raise NotImplementedError

    def take_output(self, now_us: int) -> list[bytes]:
        """The datagrams to send now."""
        raise NotImplementedError
