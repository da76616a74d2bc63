"""What a terminal tells a card by ENVELOPE (ETSI TS 102 223, 7): an event that it asked to hear of, or a timer's end."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import TAG_EVENT_DOWNLOAD, TAG_TIMER_EXPIRATION, Envelope, need
from simway_protocol.sim.proactive_objects import ChannelStatus, Event, Tag

_EVENTS = frozenset((0x09, 0x0A))


class DataAvailable(NamedTuple):
    """7.5.10: data waits in a channel. ``length``: bytes, 255 for that many and more."""

    status: ChannelStatus
    length: int

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        return _event(Event.DATA_AVAILABLE, self.status.item(), objects.data_length_item(self.length))


class ChannelStatusChanged(NamedTuple):
    """7.5.11: a channel is no longer what it was."""

    status: ChannelStatus

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        return _event(Event.CHANNEL_STATUS, self.status.item())


class TimerExpired(NamedTuple):
    """7.4. ``seconds``: how long the timer ran."""

    timer: int
    seconds: int

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        items = (Item(Tag.TIMER_IDENTIFIER, bytes((self.timer,))), objects.timer_value_item(self.seconds))
        return Envelope(TAG_TIMER_EXPIRATION, items).encode()


Told: TypeAlias = DataAvailable | ChannelStatusChanged | TimerExpired


def parse_envelope(data: bytes) -> Told | None:
    """What an ENVELOPE tells; None for one that is none of these. ``PeerError`` as of ``parse``."""
    envelope = Envelope.decode(data)
    if envelope.tag == TAG_TIMER_EXPIRATION:
        timer = objects.decode_byte(need(envelope.items, Tag.TIMER_IDENTIFIER, "a timer identifier"))
        return TimerExpired(timer, objects.decode_timer_value(need(envelope.items, Tag.TIMER_VALUE, "a timer value")))
    if envelope.tag != TAG_EVENT_DOWNLOAD:
        return None
    event = objects.decode_byte(need(envelope.items, Tag.EVENT_LIST, "an event"))
    if event not in _EVENTS:
        return None
    status = ChannelStatus.decode(need(envelope.items, Tag.CHANNEL_STATUS, "a channel status"))
    if event == Event.CHANNEL_STATUS:
        return ChannelStatusChanged(status)
    return DataAvailable(status, objects.decode_byte(need(envelope.items, Tag.CHANNEL_DATA_LENGTH, "a channel data length")))


def _event(event: Event, *items: Item) -> bytes:
    return Envelope(TAG_EVENT_DOWNLOAD, (Item(Tag.EVENT_LIST, bytes((event,))), *items)).encode()
