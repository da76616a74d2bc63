"""BIP channels that end here (ETSI TS 102 223, 6.6.27 to 6.6.31): pure, bytes of the card in, answers and packs out.

The only peer is the platform, and the modem client stands in for it: a datagram that a card sends is a SenML CBOR pack whose
readings go into the outbox, and what it receives is the receipt for them. So no channel depends on the radio, and what a card
has said is kept, encrypted and repeated like every other reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from simway_protocol import senml
from simway_protocol.errors import PeerError
from simway_protocol.readings import Reading, Refusal
from simway_protocol.sim import report
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import BipCause, Result
from simway_protocol.sim.proactive_commands import (
    RECEIVE_DATA_MAX_BYTES,
    CloseChannel,
    OpenChannel,
    ReceiveData,
    SendData,
)
from simway_protocol.sim.proactive_objects import (
    Address,
    BearerType,
    ChannelStatus,
    Tag,
    TransportProtocol,
    buffer_size_item,
    data_length_item,
)
from simway_protocol.udp.limiter import Limiter

from simway_modem_client.entries import Entry, ReadingRefused, entry_of

CHANNELS_MAX = 2
"""Open at once."""
BUFFER_MAX_BYTES = 1_500
"""A larger buffer is granted at this size: a datagram of a card is no larger than one of a network."""
PACKS_PER_S = 1
PACKS_BURST = 10
"""A card that sends more often is told to come again: it must not crowd other readings out of the outbox."""
RECORDS_MAX = 64
"""Of one pack; further ones are refused."""
_BEARERS = frozenset(BearerType)

IsPlatform: TypeAlias = Callable[[Address, int], bool]


class Pack(NamedTuple):
    """A datagram that decoded. ``refused``: records that never can be readings; ``buffered``: its bytes before the last part."""

    channel: int
    buffered: bytes
    entries: list[Entry]
    refused: int


class Answer(NamedTuple):
    """What goes into TERMINAL RESPONSE. With a ``pack`` it holds only once that is stored: ``Channels.stored``."""

    result: int
    additional: bytes = b""
    items: tuple[Item, ...] = ()
    pack: Pack | None = None


@dataclass
class Counts:
    """What became of what the card sent, since the start."""

    packs: int = 0
    readings: int = 0
    refused_packs: int = 0
    refused_readings: int = 0
    refused_channels: int = 0
    too_often: int = 0
    not_stored: int = 0


@dataclass
class _Channel:
    buffer_bytes: int
    waiting: bytes = b""
    received: deque[bytes] = field(default_factory=deque)
    told: bool = False

    @property
    def room_bytes(self) -> int:
        return self.buffer_bytes - len(self.waiting)

    @property
    def readable_bytes(self) -> int:
        return len(self.received[0]) if self.received else 0


class Channels:
    """The open channels. ``is_platform``: whether an address and port are the platform's."""

    def __init__(self, is_platform: IsPlatform) -> None:
        self._is_platform = is_platform
        self._open: dict[int, _Channel] = {}
        self._limit = Limiter(PACKS_PER_S, PACKS_BURST)
        self.counts = Counts()

    def reset(self) -> None:
        """The card was reset: all are closed. Receipts not yet fetched are void; what they were for is stored."""
        self._open.clear()

    def open(self, command: OpenChannel) -> Answer:
        """The lowest free channel; its buffer may be smaller than asked for (07)."""
        size = min(command.buffer_bytes, BUFFER_MAX_BYTES)
        described = (command.bearer.item(), buffer_size_item(size))
        refusal = self._refusal(command)
        if refusal is not None:
            self.counts.refused_channels += 1
            return refusal._replace(items=described)
        number = next(number for number in range(1, CHANNELS_MAX + 1) if number not in self._open)
        self._open[number] = _Channel(size)
        result = Result.PERFORMED if size == command.buffer_bytes else Result.MODIFIED
        return Answer(result, b"", (ChannelStatus(number, True).item(), *described))

    def _refusal(self, command: OpenChannel) -> Answer | None:
        if command.bearer.type not in _BEARERS:
            return Answer(Result.BEYOND_CAPABILITIES)
        if command.transport is None or command.destination is None:
            return Answer(Result.VALUES_MISSING)
        if command.transport.protocol != TransportProtocol.UDP_REMOTE:
            return _bip_error(BipCause.TRANSPORT_NOT_AVAILABLE)
        if not self._is_platform(command.destination, command.transport.port):
            return _bip_error(BipCause.NOT_REACHABLE)
        if not command.buffer_bytes:
            return _bip_error(BipCause.BUFFER_SIZE)
        return _bip_error(BipCause.NO_CHANNEL) if len(self._open) >= CHANNELS_MAX else None

    def close(self, command: CloseChannel) -> Answer:
        """What was stored and never sent is gone, as with any socket."""
        return Answer(Result.PERFORMED) if self._open.pop(command.channel, None) else _bip_error(BipCause.CHANNEL_ID_NOT_VALID)

    def send(self, command: SendData, now_us: int) -> Answer:
        """Adds to the buffer; ``immediately`` makes one datagram of it. The length in the answer is what the buffer has left."""
        channel = self._open.get(command.channel)
        if channel is None:
            return _bip_error(BipCause.CHANNEL_ID_NOT_VALID)
        if len(command.data) > channel.room_bytes:
            return _bip_error(BipCause.BUFFER_SIZE)
        if not command.immediately:
            channel.waiting += command.data
            return Answer(Result.PERFORMED, b"", (data_length_item(channel.room_bytes),))
        return self._send_datagram(command, channel, now_us)

    def _send_datagram(self, command: SendData, channel: _Channel, now_us: int) -> Answer:
        if not self._limit.take(now_us):
            self.counts.too_often += 1
            return Answer(Result.TERMINAL_UNABLE, bytes((0,)))
        if now_us < senml.RELATIVE_BELOW_US:
            self.counts.not_stored += 1
            return Answer(Result.TERMINAL_UNABLE, bytes((0,)))
        buffered, channel.waiting = channel.waiting, b""
        room = (data_length_item(channel.room_bytes),)
        try:
            return Answer(Result.PERFORMED, b"", room, _pack(command, buffered, now_us))
        except PeerError:
            self.counts.refused_packs += 1
            return Answer(Result.DATA_NOT_UNDERSTOOD)

    def stored(self, answer: Answer) -> Answer:
        """The pack of this answer is durably in the outbox: counts it, and has its receipt ready."""
        if answer.pack is None:
            return answer
        pack = answer.pack
        self.counts.packs += 1
        self.counts.readings += len(pack.entries)
        self.counts.refused_readings += pack.refused
        if pack.channel in self._open:
            channel = self._open[pack.channel]
            channel.told = channel.told and bool(channel.received)
            channel.received.append(report.Receipt(len(pack.entries), pack.refused).encode())
        return answer._replace(pack=None)

    def not_stored(self, answer: Answer) -> Answer:
        """The disk refused: nothing is acknowledged, the buffer is as before, the card is to come again with the last part."""
        self.counts.not_stored += 1
        if answer.pack is not None and answer.pack.channel in self._open:
            self._open[answer.pack.channel].waiting = answer.pack.buffered
        return Answer(Result.TERMINAL_UNABLE, bytes((0,)))

    def receive(self, command: ReceiveData) -> Answer:
        """Of the oldest datagram, up to what is asked for; 02 when that is more than there is."""
        channel = self._open.get(command.channel)
        if channel is None:
            return _bip_error(BipCause.CHANNEL_ID_NOT_VALID)
        datagram = channel.received.popleft() if channel.received else b""
        length = min(command.length, RECEIVE_DATA_MAX_BYTES)
        data, rest = datagram[:length], datagram[length:]
        if rest:
            channel.received.appendleft(rest)
        result = Result.PERFORMED if len(data) == command.length else Result.MISSING_INFORMATION
        return Answer(result, b"", (Item(Tag.CHANNEL_DATA, data), data_length_item(channel.readable_bytes)))

    def status(self) -> Answer:
        """One channel status each; channel 0 when none is open."""
        found = [ChannelStatus(number, True).item() for number in sorted(self._open)]
        return Answer(Result.PERFORMED, b"", tuple(found or [ChannelStatus(0, False).item()]))

    def untold(self) -> tuple[ChannelStatus, int] | None:
        """A channel whose buffer was empty and is no more, and what it holds: news for the card until ``tell``."""
        for number, channel in sorted(self._open.items()):
            if channel.received and not channel.told:
                return ChannelStatus(number, True), channel.readable_bytes
        return None

    def tell(self, number: int) -> None:
        """The card was told of this channel's data."""
        if number in self._open:
            self._open[number].told = True


def _bip_error(cause: BipCause) -> Answer:
    return Answer(Result.BIP_ERROR, bytes((cause,)))


def _pack(command: SendData, buffered: bytes, now_us: int) -> Pack:
    """The readings of a datagram; ``PeerError`` when it is no pack."""
    found = senml.decode_cbor(buffered + command.data, now_us)
    entries: dict[tuple[str, int], Entry] = {}
    for item in found[:RECORDS_MAX]:
        entry = _entry(item, entries)
        if entry is not None:
            entries[entry.sensor, entry.t_us] = entry
    return Pack(command.channel, buffered, list(entries.values()), len(found) - len(entries))


def _entry(item: Reading | Refusal, taken: dict[tuple[str, int], Entry]) -> Entry | None:
    """A card speaks for its own sensors alone. Two values of one sensor in one microsecond lie a microsecond apart."""
    if isinstance(item, Refusal) or not item.sensor.startswith(report.PREFIX):
        return None
    while (item.sensor, item.t_us) in taken:
        item = item._replace(t_us=item.t_us + 1)
    try:
        return entry_of(item)
    except ReadingRefused:
        return None
