"""The dialogue with a card told in words: what each APDU asks and what the card answers, by name.

Keys, PINs and what an authentication exchanges are never told, contents of files that are not known neither; numbers that name a
subscriber or a card (ICCID, IMSI, EID) are shortened unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import applet, es10c, files, numbering, status, store_data, tlv_words, trace
from simway_protocol.sim.apdu import Command, Ins
from simway_protocol.sim.files import DirEntry, Fcp
from simway_protocol.sim.proactive import ProactiveCommand, TerminalResponse
from simway_protocol.sim.tlv_words import count_words, identity_words

_SECRET_INS = frozenset({0x20, 0x24, 0x26, 0x28, 0x2C, 0x82, 0x84, 0x88, 0x89})
_SECRET_APPLET_INS = frozenset({applet.Ins.AUTHENTICATE, applet.Ins.VERIFY_COMMAND, applet.Ins.PERSONALISE})
_WAITING_MAX_BYTES = 65_536


class Told(NamedTuple):
    """One exchange in words. ``header``: CLA INS P1 P2 in hexadecimal; ``sw``: likewise, empty where the answer was lost."""

    name: str
    header: str
    asked: list[str]
    sw: str
    sw_words: str
    answered: list[str]
    duration_us: int

    def lines(self) -> list[str]:
        """For a terminal: the command, what it says, the status word, what that says."""
        first = f"> {self.header}  {self.name}"
        last = f"< {self.sw or '----'}      {self.sw_words}  ({self.duration_us / 1000:.1f} ms)"
        return [first, *(f"    {line}" for line in self.asked), last, *(f"    {line}" for line in self.answered)]


class _Channel:
    """What is selected on one logical channel, and what is not yet whole."""

    def __init__(self) -> None:
        self.aid = b""
        self.file_id = 0
        self.blocks = store_data.Assembler()
        self.asking: Command | None = None
        self.parts = b""


class Narrator:
    """Follows one card's dialogue. ``show_ids``: ICCID, IMSI and EID are told in full."""

    def __init__(self, *, show_ids: bool = False) -> None:
        self._show_ids = show_ids
        self._channels: dict[int, _Channel] = {}

    def reset(self) -> None:
        """The card was reset: nothing is selected."""
        self._channels.clear()

    def tell(self, apdu: bytes, data: bytes, sw: int | None, duration_us: int) -> Told:
        """One exchange. ``sw`` None: the answer was lost."""
        try:
            command = Command.decode(apdu)
        except PeerError:
            words = "no answer came" if sw is None else status.name_of(sw)
            return Told("malformed APDU", apdu[:4].hex().upper(), [count_words(apdu)], _hex(sw), words, [], duration_us)
        channel = self._channels.setdefault(command.channel, _Channel())
        name = trace.name_of(apdu, in_applet=self._in_applet(channel, command))
        asked = self._asked(channel, command)
        answered = [] if sw is None else self._answered(channel, command, data, sw)
        if sw is not None and not status.has_more(sw) and not status.wants_length(sw):
            self._after(channel, command, sw)
        words = "no answer came" if sw is None else status.name_of(sw)
        return Told(name, apdu[:4].hex().upper(), asked, _hex(sw), words, answered, duration_us)

    # --- what is asked -------------------------------------------------------------------------------------------------

    def _asked(self, channel: _Channel, command: Command) -> list[str]:
        if command.ins == Ins.GET_RESPONSE:
            return []
        channel.asking, channel.parts = command, b""
        if not command.data or command.ins == Ins.SELECT:
            return []
        if self._is_secret(channel, command):
            return [f"{count_words(command.data)}, secret: not shown"]
        if command.ins == Ins.STORE_DATA:
            return self._stored(channel, command)
        if command.ins == Ins.TERMINAL_RESPONSE:
            return _guarded(_response_words, command.data)
        return [count_words(command.data)]

    def _stored(self, channel: _Channel, command: Command) -> list[str]:
        try:
            whole = channel.blocks.add(command)
        except PeerError as error:
            return [f"{count_words(command.data)}: {error}"]
        if whole is None:
            return [f"{count_words(command.data)}, more blocks follow"]
        return _guarded(self._es10_words, whole)

    def _es10_words(self, data: bytes) -> list[str]:
        return tlv_words.lines(data, show_ids=self._show_ids)

    # --- what is answered ----------------------------------------------------------------------------------------------

    def _answered(self, channel: _Channel, command: Command, data: bytes, sw: int) -> list[str]:
        asking = channel.asking or command
        channel.parts = (channel.parts + data)[-_WAITING_MAX_BYTES:]
        if status.has_more(sw):
            return [count_words(data)] if data else []
        whole, channel.parts = channel.parts, b""
        if not whole:
            return []
        if self._is_secret(channel, asking):
            return [f"{count_words(whole)}, secret: not shown"]
        return _guarded(lambda answer: self._answer_words(channel, asking, answer), whole)

    def _answer_words(self, channel: _Channel, asking: Command, data: bytes) -> list[str]:
        if asking.ins == Ins.STORE_DATA and not self._in_applet(channel, asking):
            return self._es10_words(data)
        return [self._answer_word(channel, asking, data)]

    def _answer_word(self, channel: _Channel, asking: Command, data: bytes) -> str:
        if self._in_applet(channel, asking):
            return _applet_words(data) if asking.ins == applet.Ins.STATUS else count_words(data)
        match asking.ins:
            case Ins.MANAGE_CHANNEL:
                return f"channel {data[0]}"
            case Ins.SELECT:
                return _fcp_words(data)
            case Ins.READ_BINARY | Ins.READ_RECORD:
                return self._file_words(channel.file_id, data)
            case Ins.FETCH:
                return _proactive_words(ProactiveCommand.decode(data))
            case _:
                return count_words(data)

    def _file_words(self, file_id: int, data: bytes) -> str:
        match file_id:
            case files.EF_ICCID if len(data) == numbering.ICCID_BYTES:
                return f"ICCID {self._identity(numbering.decode_iccid(data)) or 'none'}"
            case files.EF_IMSI if len(data) == numbering.IMSI_BYTES:
                return f"IMSI {self._identity(numbering.decode_imsi(data)) or 'none'}"
            case files.EF_DIR:
                entry = DirEntry.decode(data)
                return "empty record" if entry is None else f"application {entry.aid.hex().upper()} {entry.label}".rstrip()
            case _:
                return f"{count_words(data)}, not shown"

    def _identity(self, digits: str) -> str:
        return identity_words(digits, show=self._show_ids)

    # --- state ---------------------------------------------------------------------------------------------------------

    def _after(self, channel: _Channel, command: Command, sw: int) -> None:
        asking = channel.asking or command
        if not status.is_success(sw):
            return
        if asking.ins == Ins.SELECT and asking.p1 == 0x04:
            channel.aid, channel.file_id = asking.data, 0
        elif asking.ins == Ins.SELECT and len(asking.data) == 2:
            channel.file_id = int.from_bytes(asking.data, "big")
        elif asking.ins == Ins.MANAGE_CHANNEL and asking.p1 & 0x80:
            self._channels.pop(asking.p2, None)

    def _in_applet(self, channel: _Channel, command: Command) -> bool:
        return channel.aid == applet.AID and command.proprietary

    def _is_secret(self, channel: _Channel, command: Command) -> bool:
        if channel.aid == applet.AID and command.proprietary:
            return command.ins in _SECRET_APPLET_INS
        if command.proprietary and channel.aid not in (b"", es10c.ISD_R_AID):
            return command.ins not in trace.CARD_INS
        return command.ins in _SECRET_INS


def _guarded(told: Callable[[bytes], list[str]], data: bytes) -> list[str]:
    """In words; what does not parse, by its size and what is wrong with it."""
    try:
        return told(data)
    except PeerError as error:
        return [f"{count_words(data)}: {error}"]


def _response_words(data: bytes) -> list[str]:
    response = TerminalResponse.decode(data)
    to = ProactiveCommand(response.number, response.type, response.qualifier).name
    return [f"to {to}: {tlv_words.result_words(response.result)}"]


def _proactive_words(command: ProactiveCommand) -> str:
    return f"proactive command {command.number}: {command.name}, qualifier {command.qualifier:02X}" + (
        ", wants a reset" if command.wants_reset else ""
    )


def _applet_words(data: bytes) -> str:
    told = applet.decode_status(data)
    return f"holds a key, version {told.key_version}" if told.personalised else "holds no key yet"


def _fcp_words(data: bytes) -> str:
    if not data.startswith(b"\x62"):
        return count_words(data)
    fcp = Fcp.decode(data)
    if fcp.size_bytes is None:
        return f"directory {trace.FILES.get(fcp.file_id, f'{fcp.file_id:04X}')}"
    size = f"{fcp.records} records of {fcp.record_bytes} bytes" if fcp.record_bytes else f"{fcp.size_bytes} bytes"
    return f"file {trace.FILES.get(fcp.file_id, f'{fcp.file_id:04X}')}, {size}"


def _hex(sw: int | None) -> str:
    return "" if sw is None else status.hex_of(sw)
