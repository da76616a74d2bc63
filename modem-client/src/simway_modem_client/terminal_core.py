"""The terminal's decisions (ETSI TS 102 223): which answer each proactive command gets. Pure: time and the radio are arguments.

State: BIP channels, timers, the poll interval, the events that the card wants to hear of. ``terminal`` is the shell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import terminal_profile
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import MISSING, ProactiveCommand, Result, TerminalCause
from simway_protocol.sim.proactive_commands import Info, TimerAction
from simway_protocol.sim.proactive_envelopes import DataAvailable, TimerExpired
from simway_protocol.sim.proactive_objects import (
    AccessTechnology,
    ChannelStatus,
    Event,
    Location,
    Tag,
    date_time_item,
    duration_item,
    imei_item,
    timer_value_item,
)
from simway_protocol.sim.terminal_profile import Facility

from simway_modem_client.terminal_channels import CHANNELS_MAX, Answer, Channels, IsPlatform

POLL_MIN_S = 5
POLL_MAX_S = 3_600
"""Poll intervals are brought between these, and the card is told."""
PROFILE = terminal_profile.encode(
    (
        Facility.PROFILE_DOWNLOAD, Facility.TIMER_EXPIRATION, Facility.COMMAND_RESULT, Facility.MORE_TIME,
        Facility.POLL_INTERVAL, Facility.POLLING_OFF, Facility.REFRESH, Facility.LOCATION_AND_IMEI,
        Facility.SET_UP_EVENT_LIST, Facility.EVENT_DATA_AVAILABLE, Facility.EVENT_CHANNEL_STATUS, Facility.TIMER_START_STOP,
        Facility.TIMER_GET, Facility.DATE_TIME, Facility.ACCESS_TECHNOLOGY, Facility.OPEN_CHANNEL, Facility.CLOSE_CHANNEL,
        Facility.RECEIVE_DATA, Facility.SEND_DATA, Facility.GET_CHANNEL_STATUS, Facility.BEARER_GPRS, Facility.NO_DISPLAY,
        Facility.NO_KEYPAD, Facility.UDP_CLIENT_REMOTE, Facility.E_UTRAN,
    ),
    CHANNELS_MAX,
)  # fmt: skip
"""The data of TERMINAL PROFILE: what is below, and nothing else."""
_EVENTS = frozenset(Event)
_TECHNOLOGIES = {
    "GSM": AccessTechnology.GSM, "GPRS": AccessTechnology.GSM, "EDGE": AccessTechnology.GSM, "2G": AccessTechnology.GSM,
    "UMTS": AccessTechnology.UTRAN, "HSPA": AccessTechnology.UTRAN, "WCDMA": AccessTechnology.UTRAN,
    "UTRAN": AccessTechnology.UTRAN, "3G": AccessTechnology.UTRAN,
    "LTE": AccessTechnology.E_UTRAN, "LTE-M": AccessTechnology.E_UTRAN, "NB-IOT": AccessTechnology.E_UTRAN,
    "E-UTRAN": AccessTechnology.E_UTRAN, "4G": AccessTechnology.E_UTRAN,
    "NR": AccessTechnology.NG_RAN, "5G": AccessTechnology.NG_RAN,
}  # fmt: skip


class Surroundings(NamedTuple):
    """What is around the terminal now. ``now_us``: UTC microseconds on a steady clock."""

    now_us: int
    registration: Registration


@dataclass(frozen=True)
class _Timer:
    started_us: int
    seconds: int

    @property
    def due_us(self) -> int:
        return self.started_us + self.seconds * 1_000_000


class TerminalCore:
    """One terminal. ``imei``: 15 digits. ``is_platform``: as of ``Channels``."""

    def __init__(self, imei: str, is_platform: IsPlatform) -> None:
        self.channels = Channels(is_platform)
        self.poll_interval_s: float | None = None
        self.commands = 0
        self.beyond = 0
        self._imei = imei
        self._timers: dict[int, _Timer] = {}
        self._events: frozenset[int] = frozenset()
        self._handlers: dict[type, Callable[..., Answer]] = {
            commands.Refresh: lambda *_: Answer(Result.PERFORMED),
            commands.MoreTime: lambda *_: Answer(Result.PERFORMED),
            commands.PollInterval: self._poll_interval,
            commands.PollingOff: self._polling_off,
            commands.SetUpEventList: self._event_list,
            commands.ProvideLocalInformation: self._local_information,
            commands.TimerManagement: self._timer,
            commands.OpenChannel: lambda command, _: self.channels.open(command),
            commands.CloseChannel: lambda command, _: self.channels.close(command),
            commands.ReceiveData: lambda command, _: self.channels.receive(command),
            commands.SendData: lambda command, around: self.channels.send(command, around.now_us),
            commands.GetChannelStatus: lambda *_: self.channels.status(),
        }

    def perform(self, command: ProactiveCommand, around: Surroundings) -> Answer:
        """The answer to any command; never raises. One with a ``pack`` wants ``channels.stored`` or ``not_stored`` first."""
        self.commands += 1
        try:
            known = commands.parse(command)
            answer = Answer(Result.BEYOND_CAPABILITIES) if known is None else self._handlers[type(known)](known, around)
        except PeerError as error:
            answer = Answer(Result.VALUES_MISSING if error.reason == MISSING else Result.DATA_NOT_UNDERSTOOD)
        if answer.result == Result.BEYOND_CAPABILITIES:
            self.beyond += 1
        if answer.result == Result.PERFORMED and commands.partly_understood(command):
            answer = answer._replace(result=Result.PARTIAL_COMPREHENSION)
        return answer

    def card_reset(self) -> None:
        """Channels, timers and the event list go; the poll interval stays until the card says another."""
        self.channels.reset()
        self._timers.clear()
        self._events = frozenset()

    # --- envelopes -----------------------------------------------------------------------------------------------------

    def envelope(self, now_us: int) -> bytes | None:
        """What the card is to be told now: timers first. It stays until ``envelope_delivered``."""
        due = self._expired(now_us)
        if due is not None:
            return TimerExpired(due, self._timers[due].seconds).encode()
        news = self._news()
        return None if news is None else DataAvailable(*news).encode()

    def envelope_delivered(self, now_us: int) -> None:
        """The envelope that ``envelope(now_us)`` gives is done with."""
        due = self._expired(now_us)
        if due is not None:
            del self._timers[due]
        elif (news := self._news()) is not None:
            self.channels.tell(news[0].channel)

    def _expired(self, now_us: int) -> int | None:
        due = [(timer.due_us, number) for number, timer in self._timers.items() if timer.due_us <= now_us]
        return min(due)[1] if due else None

    def _news(self) -> tuple[ChannelStatus, int] | None:
        return self.channels.untold() if Event.DATA_AVAILABLE in self._events else None

    # --- commands ------------------------------------------------------------------------------------------------------

    def _poll_interval(self, command: commands.PollInterval, _around: Surroundings) -> Answer:
        seconds = round(min(max(command.seconds, POLL_MIN_S), POLL_MAX_S))
        self.poll_interval_s = seconds
        return Answer(Result.PERFORMED, b"", (duration_item(seconds),))

    def _polling_off(self, *_: object) -> Answer:
        self.poll_interval_s = None
        return Answer(Result.PERFORMED)

    def _event_list(self, command: commands.SetUpEventList, _around: Surroundings) -> Answer:
        if not _EVENTS.issuperset(command.events):
            return Answer(Result.BEYOND_CAPABILITIES)
        self._events = frozenset(command.events)
        return Answer(Result.PERFORMED)

    def _local_information(self, command: commands.ProvideLocalInformation, around: Surroundings) -> Answer:
        match command.info:
            case Info.IMEI:
                return Answer(Result.PERFORMED, b"", (imei_item(self._imei),))
            case Info.DATE_TIME:
                return _date_time(around.now_us)
            case Info.LOCATION:
                return _location(around.registration)
            case Info.ACCESS_TECHNOLOGY:
                technology = _TECHNOLOGIES.get(around.registration.rat.upper())
                if technology is None or not around.registration.registered:
                    return _NO_SERVICE
                return Answer(Result.PERFORMED, b"", (Item(Tag.ACCESS_TECHNOLOGY, bytes((technology,))),))
        return Answer(Result.BEYOND_CAPABILITIES)

    def _timer(self, command: commands.TimerManagement, around: Surroundings) -> Answer:
        number = Item(Tag.TIMER_IDENTIFIER, bytes((command.timer,)))
        if command.action is TimerAction.START:
            self._timers[command.timer] = _Timer(around.now_us, command.seconds)
            return Answer(Result.PERFORMED, b"", (number,))
        timer = self._timers.get(command.timer)
        if timer is None:
            return Answer(Result.TIMER_STATE, b"", (number,))
        if command.action is TimerAction.DEACTIVATE:
            del self._timers[command.timer]
        left_s = -(-max(0, timer.due_us - around.now_us) // 1_000_000)
        return Answer(Result.PERFORMED, b"", (number, timer_value_item(min(left_s, timer.seconds))))


_NO_SERVICE = Answer(Result.TERMINAL_UNABLE, bytes((TerminalCause.NO_SERVICE,)))


def _date_time(now_us: int) -> Answer:
    """A clock that was never set says a year that cannot be."""
    try:
        return Answer(Result.PERFORMED, b"", (date_time_item(now_us // 1_000_000),))
    except LocalError:
        return Answer(Result.TERMINAL_UNABLE, bytes((TerminalCause.NO_SPECIFIC_CAUSE,)))


def _location(registration: Registration) -> Answer:
    """The PLMN; area and cell are not known here, hence 02 (performed, with missing information)."""
    if not registration.registered or not registration.plmn:
        return _NO_SERVICE
    try:
        return Answer(Result.MISSING_INFORMATION, b"", (Location(registration.plmn).item(),))
    except LocalError:
        return _NO_SERVICE
