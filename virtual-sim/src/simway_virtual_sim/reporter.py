"""The card's own application (docs/sim-speaks.md): a counter and the switch log, sent through the terminal by BIP.

It speaks only to a terminal whose profile announces BIP over UDP, and only on a card that holds a device key. One report:

    POLL INTERVAL (once) ... STATUS -> PROVIDE LOCAL INFORMATION (date and time) -> OPEN CHANNEL -> SEND DATA ... -> RECEIVE DATA
    -> CLOSE CHANNEL

Whatever goes wrong ends the report; the next STATUS begins another. What was not acknowledged stays in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from simway_protocol.errors import PeerError
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import report, terminal_profile
from simway_protocol.sim.proactive import TerminalResponse, find
from simway_protocol.sim.proactive_commands import Info
from simway_protocol.sim.proactive_objects import ChannelStatus, Tag, Transport, TransportProtocol, decode_date_time

from simway_virtual_sim import switch_log
from simway_virtual_sim.memory import Memory
from simway_virtual_sim.replies import Refusal
from simway_virtual_sim.state import CardState

INTERVAL_S = 30
"""How often the card asks to be polled, and so reports; 0 switches the application off."""
INTERVALS_S = range(5, 255 * 60 + 1)
"""What POLL INTERVAL can say, and terminals are likely to keep."""
ENTRIES_MAX = 8
"""Of the log in one report; the next one takes more."""
_CHUNK_BYTES = 220
_RECEIPT_ROOM_BYTES = 64


class _Step(Enum):
    """What the application waits to have fetched, or is idle."""

    IDLE = auto()
    POLLING = auto()
    ASKING_TIME = auto()
    OPENING = auto()
    SENDING = auto()
    RECEIVING = auto()
    CLOSING = auto()


class Reporter:
    """The application, from one reset to the next. ``interval_s``: see ``INTERVAL_S``."""

    def __init__(self, memory: Memory, interval_s: int = INTERVAL_S) -> None:
        self._memory = memory
        self._interval_s = interval_s
        self._wanted: dict[_Step, Callable[[], commands.Known]] = {
            _Step.POLLING: lambda: commands.PollInterval(interval_s),
            _Step.ASKING_TIME: lambda: commands.ProvideLocalInformation(Info.DATE_TIME),
            _Step.OPENING: self._open,
            _Step.SENDING: self._send,
            _Step.RECEIVING: lambda: commands.ReceiveData(self._channel, _RECEIPT_ROOM_BYTES),
            _Step.CLOSING: lambda: commands.CloseChannel(self._channel),
        }
        self.reset()

    def reset(self) -> None:
        """Power-on: no terminal has introduced itself."""
        self._heard = self._due = False
        self._step = _Step.IDLE
        self._channel = 0
        self._unsent = b""
        self._sent: frozenset[int] = frozenset()
        self._records = 0

    def profile(self, profile: bytes) -> None:
        """TERMINAL PROFILE."""
        self.reset()
        self._heard = bool(self._interval_s) and terminal_profile.announces(
            profile, *terminal_profile.BIP_UDP, terminal_profile.Facility.POLL_INTERVAL
        )
        self._step = _Step.POLLING

    def polled(self) -> None:
        """STATUS: time for a report, unless one is under way; after POLL INTERVAL, if that was not fetched yet."""
        self._due = self._step in (_Step.POLLING, _Step.IDLE)

    def abandon(self) -> None:
        """Something more important came: the report ends, the next STATUS begins another."""
        self._step, self._due = _Step.IDLE, False

    @property
    def _may_speak(self) -> bool:
        return self._heard and bool(self._memory.state.applet.key)

    def wants(self) -> commands.Known | None:
        """The command to be fetched next; None when there is nothing to do."""
        if self._due and self._step is _Step.IDLE:
            self._step, self._due = _Step.ASKING_TIME, False
        make = self._wanted.get(self._step) if self._may_speak else None
        return None if make is None else make()

    def _open(self) -> commands.OpenChannel:
        transport = Transport(TransportProtocol.UDP_REMOTE, report.PLATFORM_PORT)
        return commands.OpenChannel(len(self._unsent), transport, report.PLATFORM_ADDRESS)

    def _send(self) -> commands.SendData:
        chunk = self._unsent[:_CHUNK_BYTES]
        return commands.SendData(self._channel, chunk, immediately=len(chunk) == len(self._unsent))

    def answered(self, response: TerminalResponse) -> None:
        """The terminal's answer to what was fetched."""
        match self._step:
            case _Step.POLLING:
                self._step = _Step.IDLE
                self._due = self._due or bool(self._memory.state.report.log)
            case _Step.ASKING_TIME:
                self._begin(_time_of(response))
            case _Step.OPENING:
                self._opened(response)
            case _Step.SENDING:
                self._chunk_sent(response)
            case _Step.RECEIVING:
                self._received(response)
                self._step = _Step.CLOSING
            case _:
                self._step = _Step.IDLE

    def _begin(self, t_s: int) -> None:
        """Times and counter are saved before they are sent, so that what is sent again is the same."""
        if not self._save(switch_log.begun(self._memory.state, t_s)):
            return
        state = self._memory.state
        entries = state.report.log[:ENTRIES_MAX]
        self._unsent = report.encode_pack(state.report.counter, _apart(t_s, state.report.counter), _sealed(state, entries))
        self._sent, self._records = frozenset(entry.n for entry in entries), 1 + len(entries)
        self._step = _Step.OPENING

    def _opened(self, response: TerminalResponse) -> None:
        self._step = _Step.IDLE
        status = find(response.items, Tag.CHANNEL_STATUS)
        if not response.performed or status is None:
            return
        try:
            self._channel = ChannelStatus.decode(status).channel
        except PeerError:
            return
        self._step = _Step.SENDING

    def _chunk_sent(self, response: TerminalResponse) -> None:
        self._unsent = self._unsent[_CHUNK_BYTES:]
        if not response.performed:
            self._step = _Step.CLOSING
        elif not self._unsent:
            self._step = _Step.RECEIVING

    def _received(self, response: TerminalResponse) -> None:
        """Only a receipt for every record counts; without one the log stays as it is."""
        try:
            taken, refused = report.Receipt.decode(find(response.items, Tag.CHANNEL_DATA) or b"")
        except PeerError:
            return
        if taken + refused == self._records:
            self._save(switch_log.acknowledged(self._memory.state, self._sent))

    def _save(self, state: CardState) -> bool:
        try:
            self._memory.commit(state)
        except Refusal:
            self._step = _Step.IDLE
            return False
        return True


def _time_of(response: TerminalResponse) -> int:
    """UTC seconds; 0 where the terminal does not know, or says what cannot be."""
    value = find(response.items, Tag.DATE_TIME)
    if not response.performed or value is None:
        return 0
    try:
        return max(0, decode_date_time(value))
    except PeerError:
        return 0


def _sealed(state: CardState, entries: tuple[switch_log.SwitchEntry, ...]) -> list[tuple[report.SwitchWord, int]]:
    """The entries with their MACs and times."""
    key = bytes.fromhex(state.applet.key)
    return [(report.SwitchWord.sealed(key, entry.n, entry.iccid), _apart(entry.t_s, entry.n)) for entry in entries]


def _apart(t_s: int, number: int) -> int:
    """Microseconds of a time known to the second: two in one second lie their numbers apart. 0 stays 0."""
    return t_s and t_s * 1_000_000 + number % 1_000_000
