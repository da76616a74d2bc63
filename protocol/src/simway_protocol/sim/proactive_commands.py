"""The proactive commands that Simway's cards send and its terminal carries out (ETSI TS 102 223, 6.6), as values.

``encode(number)`` makes the frame that FETCH gives, ``parse`` the value of one. What a terminal must refuse it finds here:
``PeerError`` with ``missing_object`` (result 36) or ``bad_proactive`` (32; also for a required object that is not known).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from simway_protocol.errors import PeerError
from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import (
    CHANNEL_BASE,
    NOT_UNDERSTOOD,
    CommandType,
    ProactiveCommand,
    find,
    need,
)
from simway_protocol.sim.proactive_objects import Address, Bearer, BearerType, Tag, Transport

SEND_DATA_MAX_BYTES = 230
"""Data in one SEND DATA, so that the command fits one FETCH."""
RECEIVE_DATA_MAX_BYTES = 230
"""Data in the answer to one RECEIVE DATA, so that it fits one TERMINAL RESPONSE."""
_SEND_IMMEDIATELY = 0x01
_LINK_IMMEDIATELY = 0x01
_TIMER_ACTIONS = frozenset((0x00, 0x01, 0x02))


class Info(IntEnum):
    """What PROVIDE LOCAL INFORMATION asks for (8.6)."""

    LOCATION = 0x00
    IMEI = 0x01
    NETWORK_MEASUREMENTS = 0x02
    DATE_TIME = 0x03
    ACCESS_TECHNOLOGY = 0x06


class TimerAction(IntEnum):
    """What TIMER MANAGEMENT does (8.6)."""

    START = 0x00
    DEACTIVATE = 0x01
    GET = 0x02


class MoreTime(NamedTuple):
    """6.6.4: the card needs a moment."""

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.MORE_TIME, 0)


class PollInterval(NamedTuple):
    """6.6.6: STATUS at least so often."""

    seconds: float

    def encode(self, number: int) -> ProactiveCommand:
        """The frame; whole seconds."""
        return ProactiveCommand(number, CommandType.POLL_INTERVAL, 0, (objects.duration_item(int(self.seconds)),))


class PollingOff(NamedTuple):
    """6.6.14: the effect of POLL INTERVAL ends."""

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.POLLING_OFF, 0)


class SetUpEventList(NamedTuple):
    """6.6.16: the events that the card wants to hear of from now on; none takes the list away."""

    events: tuple[int, ...]

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.SET_UP_EVENT_LIST, 0, (Item(Tag.EVENT_LIST, bytes(self.events)),))


class ProvideLocalInformation(NamedTuple):
    """6.6.15. ``info``: an ``Info`` or another qualifier."""

    info: int

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.PROVIDE_LOCAL_INFORMATION, self.info)


class TimerManagement(NamedTuple):
    """6.6.21. ``timer`` 1 to 8; ``seconds`` with START alone."""

    action: TimerAction
    timer: int
    seconds: int = 0

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        value = (objects.timer_value_item(self.seconds),) if self.action is TimerAction.START else ()
        items = (Item(Tag.TIMER_IDENTIFIER, bytes((self.timer,))), *value)
        return ProactiveCommand(number, CommandType.TIMER_MANAGEMENT, self.action, items)


class OpenChannel(NamedTuple):
    """6.6.27, packet service bearer. ``transport`` or ``destination`` None: the card names none."""

    buffer_bytes: int
    transport: Transport | None
    destination: Address | None
    bearer: Bearer = Bearer(BearerType.DEFAULT)
    immediately: bool = True

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        items = [self.bearer.item(), objects.buffer_size_item(self.buffer_bytes)]
        items += [self.transport.item()] if self.transport else []
        items += [objects.address_item(self.destination)] if self.destination else []
        return ProactiveCommand(number, CommandType.OPEN_CHANNEL, _LINK_IMMEDIATELY if self.immediately else 0, tuple(items))


class CloseChannel(NamedTuple):
    """6.6.28."""

    channel: int

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.CLOSE_CHANNEL, 0, destination=CHANNEL_BASE + self.channel)


class ReceiveData(NamedTuple):
    """6.6.29. ``length``: bytes wanted."""

    channel: int
    length: int

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        items = (objects.data_length_item(self.length),)
        return ProactiveCommand(number, CommandType.RECEIVE_DATA, 0, items, CHANNEL_BASE + self.channel)


class SendData(NamedTuple):
    """6.6.30. ``immediately``: the buffer and this go out as one datagram; else this is only added to the buffer."""

    channel: int
    data: bytes
    immediately: bool = True

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        items = (Item(Tag.CHANNEL_DATA, self.data),)
        qualifier = _SEND_IMMEDIATELY if self.immediately else 0
        return ProactiveCommand(number, CommandType.SEND_DATA, qualifier, items, CHANNEL_BASE + self.channel)


class GetChannelStatus(NamedTuple):
    """6.6.31: of all channels."""

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.GET_CHANNEL_STATUS, 0)


class Refresh(NamedTuple):
    """6.6.13. ``qualifier``: a ``proactive.Refresh``; what files changed is not looked at."""

    qualifier: int

    def encode(self, number: int) -> ProactiveCommand:
        """The frame."""
        return ProactiveCommand(number, CommandType.REFRESH, self.qualifier)


Known: TypeAlias = (
    MoreTime
    | PollInterval
    | PollingOff
    | SetUpEventList
    | ProvideLocalInformation
    | TimerManagement
    | OpenChannel
    | CloseChannel
    | ReceiveData
    | SendData
    | GetChannelStatus
    | Refresh
)


def parse(command: ProactiveCommand) -> Known | None:
    """The value of a command; None for a type that is none of these."""
    found = _PARSERS.get(command.type)
    if found is None:
        return None
    understood, parser = found
    for item in command.items:
        if item.required and understood is not None and item.tag not in understood and item.tag not in _SHOWN:
            raise PeerError(NOT_UNDERSTOOD, f"object {item.tag:02X} must be understood and is not")
    return parser(command)


def partly_understood(command: ProactiveCommand) -> bool:
    """True when the command holds an optional object that is not known: performed "with partial comprehension"."""
    understood, _ = _PARSERS.get(command.type, (None, None))
    return understood is not None and any(item.tag not in understood | _SHOWN for item in command.items)


def _poll_interval(command: ProactiveCommand) -> PollInterval:
    return PollInterval(objects.decode_duration(need(command.items, Tag.DURATION, "a duration")))


def _event_list(command: ProactiveCommand) -> SetUpEventList:
    return SetUpEventList(tuple(need(command.items, Tag.EVENT_LIST, "an event list")))


def _timer(command: ProactiveCommand) -> TimerManagement:
    timer = objects.decode_byte(need(command.items, Tag.TIMER_IDENTIFIER, "a timer identifier"))
    if timer not in objects.TIMERS or command.qualifier & 0x03 not in _TIMER_ACTIONS:
        raise PeerError(NOT_UNDERSTOOD, "no such timer, or nothing that is done to one")
    action = TimerAction(command.qualifier & 0x03)
    if action is not TimerAction.START:
        return TimerManagement(action, timer)
    seconds = objects.decode_timer_value(need(command.items, Tag.TIMER_VALUE, "a timer value"))
    return TimerManagement(action, timer, seconds)


def _open_channel(command: ProactiveCommand) -> OpenChannel:
    bearer = Bearer.decode(need(command.items, Tag.BEARER_DESCRIPTION, "a bearer description"))
    size = objects.decode_buffer_size(need(command.items, Tag.BUFFER_SIZE, "a buffer size"))
    level, transport = find(command.items, Tag.TRANSPORT), None
    if level is not None:
        transport = Transport.decode(level)
    return OpenChannel(size, transport, _destination(command), bearer, bool(command.qualifier & _LINK_IMMEDIATELY))


def _destination(command: ProactiveCommand) -> Address | None:
    """A local address may come before the transport level; the destination comes after it (6.8)."""
    tags = [item.tag for item in command.items]
    after = command.items[tags.index(Tag.TRANSPORT) :] if Tag.TRANSPORT in tags else ()
    value = find(after, Tag.OTHER_ADDRESS)
    return objects.decode_address(value) if value else None


def _channel(command: ProactiveCommand) -> int:
    """The channel that the command is for, also one that cannot be."""
    return command.destination - CHANNEL_BASE


def _receive(command: ProactiveCommand) -> ReceiveData:
    wanted = objects.decode_byte(need(command.items, Tag.CHANNEL_DATA_LENGTH, "a channel data length"))
    return ReceiveData(_channel(command), wanted)


def _send(command: ProactiveCommand) -> SendData:
    data = need(command.items, Tag.CHANNEL_DATA, "channel data")
    return SendData(_channel(command), data, bool(command.qualifier & _SEND_IMMEDIATELY))


_SHOWN = frozenset({Tag.ALPHA_IDENTIFIER, Tag.ICON_IDENTIFIER, Tag.TEXT_ATTRIBUTE, Tag.FRAME_IDENTIFIER})
"""Objects for a screen: read past by a terminal that has none (6.5.4)."""
_Parser: TypeAlias = Callable[[ProactiveCommand], Known]
_PARSERS: dict[int, tuple[frozenset[int] | None, _Parser]] = {
    CommandType.REFRESH: (None, lambda command: Refresh(command.qualifier)),
    CommandType.MORE_TIME: (frozenset(), lambda _: MoreTime()),
    CommandType.POLL_INTERVAL: (frozenset({Tag.DURATION}), _poll_interval),
    CommandType.POLLING_OFF: (frozenset(), lambda _: PollingOff()),
    CommandType.SET_UP_EVENT_LIST: (frozenset({Tag.EVENT_LIST}), _event_list),
    CommandType.PROVIDE_LOCAL_INFORMATION: (frozenset(), lambda command: ProvideLocalInformation(command.qualifier)),
    CommandType.TIMER_MANAGEMENT: (frozenset({Tag.TIMER_IDENTIFIER, Tag.TIMER_VALUE}), _timer),
    CommandType.OPEN_CHANNEL: (
        frozenset({
            Tag.BEARER_DESCRIPTION, Tag.BUFFER_SIZE, Tag.NETWORK_ACCESS_NAME, Tag.OTHER_ADDRESS, Tag.TEXT_STRING, Tag.TRANSPORT,
        }),
        _open_channel,
    ),
    CommandType.CLOSE_CHANNEL: (frozenset(), lambda command: CloseChannel(_channel(command))),
    CommandType.RECEIVE_DATA: (frozenset({Tag.CHANNEL_DATA_LENGTH}), _receive),
    CommandType.SEND_DATA: (frozenset({Tag.CHANNEL_DATA}), _send),
    CommandType.GET_CHANNEL_STATUS: (frozenset(), lambda _: GetChannelStatus()),
}  # fmt: skip
