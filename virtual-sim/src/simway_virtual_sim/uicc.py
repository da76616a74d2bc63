"""The simulated card: gives each command to the part that answers it, and speaks T=0 (ETSI TS 102 221, 7.3.1.1).

As T=0 has it, an answer to a command with data waits for GET RESPONSE (61xx), and one asked for with the wrong length is
announced (6Cxx) with nothing done yet. While a proactive command waits, every success says 91xx.
"""

from __future__ import annotations

from collections.abc import Callable

from simway_protocol.errors import PeerError
from simway_protocol.sim import applet, es10c, status
from simway_protocol.sim.apdu import LE_ANY, SHORT_DATA_MAX_BYTES, Command, Ins

from simway_virtual_sim import gsm, reading, reporter, usim
from simway_virtual_sim.applet import AppletSession
from simway_virtual_sim.channels import Channel, Channels, Session
from simway_virtual_sim.faults import NO_FAULTS, CuttingStore, Faults, PowerCut, Trouble
from simway_virtual_sim.isdr import IsdRSession
from simway_virtual_sim.memory import Memory
from simway_virtual_sim.replies import Refusal, wrong_length
from simway_virtual_sim.store import Store
from simway_virtual_sim.toolkit import Toolkit

ATR = bytes.fromhex("3B9F96801FC78031E073FE211356434152442D3031D1")
_BY_AID = 0x04
_SECURE_MESSAGING = 0x0C
_SECURE_MESSAGING_FURTHER = 0x20
_TERMINAL_FIRST = frozenset({Ins.FETCH, Ins.TERMINAL_RESPONSE, Ins.TERMINAL_CAPABILITY})
"""Commands of the terminal that no selected application takes. TERMINAL PROFILE is not one: the applet uses its instruction."""
_Handler = Callable[[Channel, Command], bytes]


class Uicc:
    """A powered card. ``reset`` is power off and on; what was not saved in the store is gone after it.

    ``faults``: what is to go wrong with it; a ``Trouble`` goes on where an earlier card of the same store left off.
    ``report_interval_s``: how often it reports to a terminal that can carry it; 0 for never.
    """

    def __init__(self, store: Store, faults: Faults | Trouble = NO_FAULTS, report_interval_s: int = reporter.INTERVAL_S) -> None:
        self._trouble = Trouble.of(faults)
        self._trouble.power_on()
        self._memory = Memory(CuttingStore(store, self._trouble))
        self._toolkit = Toolkit(reporter.Reporter(self._memory, report_interval_s))
        self._mf = usim.build(self._memory.state.active)
        self._channels = Channels(self._mf)
        self._gsm = gsm.GsmSession(self._mf)
        self._applications: dict[bytes, Callable[[], Session]] = {
            es10c.ISD_R_AID: lambda: IsdRSession(self._memory, self._toolkit, self._trouble),
            applet.AID: lambda: AppletSession(self._memory),
        }
        self._handlers: dict[int, _Handler] = {
            Ins.SELECT: self._select,
            Ins.STATUS: reading.read_status,
            Ins.READ_BINARY: reading.read_binary,
            Ins.READ_RECORD: reading.read_record,
            Ins.UPDATE_BINARY: reading.refuse_update,
            Ins.UPDATE_RECORD: reading.refuse_update,
            Ins.MANAGE_CHANNEL: lambda _, command: self._channels.manage(command),
        }
        self._terminal_handlers: dict[int, _Handler] = {
            Ins.TERMINAL_PROFILE: self._terminal_profile,
            Ins.TERMINAL_CAPABILITY: _accept,
            Ins.STATUS: self._poll,
            Ins.FETCH: lambda _, command: self._toolkit.fetch(command.le),
            Ins.TERMINAL_RESPONSE: self._terminal_response,
            Ins.ENVELOPE: self._envelope,
        }

    def reset(self) -> bytes:
        """Power off and on; the ATR. The files of the profile enabled by now appear. ``CardGone`` for a pulled card."""
        self._trouble.power_on()
        self._memory.power_on()
        self._toolkit.reset()
        if not self._trouble.faults.no_reset_after_refresh:
            self._mf = usim.build(self._memory.state.active)
        self._channels.reset(self._mf)
        self._gsm = gsm.GsmSession(self._mf)
        return ATR

    def close(self) -> None:
        """Lets go of the store."""
        self._memory.close()

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """One command; data and status word, on any bytes. ``CardGone`` where a fault took the answer, or power, away."""
        self._trouble.before_command()
        try:
            return self._answer(apdu)
        except PowerCut as cut:
            self._trouble.lose_power(f"the virtual SIM lost power {cut}")

    def _answer(self, apdu: bytes) -> tuple[bytes, int]:
        try:
            command = Command.decode(apdu)
            if len(command.data) > SHORT_DATA_MAX_BYTES or (command.le or 0) > LE_ANY:
                raise Refusal(status.WRONG_LENGTH)
            if command.cla == gsm.CLASS:
                return self._gsm.answer(command)
            channel = self._channel(command.cla)
            if command.ins == Ins.GET_RESPONSE:
                return self._get_response(channel, command)
            channel.waiting = b""
            return self._deliver(channel, command, self._process(channel, command))
        except PeerError:
            return b"", status.WRONG_LENGTH
        except Refusal as refusal:
            return b"", refusal.sw

    def _channel(self, cla: int) -> Channel:
        if cla == 0xFF or cla & 0xE0 in (0x20, 0xA0):
            raise Refusal(status.WRONG_CLASS)
        protected = cla & _SECURE_MESSAGING_FURTHER if cla & 0x40 else cla & _SECURE_MESSAGING
        if protected:
            raise Refusal(status.SECURE_MESSAGING_NOT_SUPPORTED)
        return self._channels.get(Command(cla, 0).channel)

    def _process(self, channel: Channel, command: Command) -> bytes:
        if command.proprietary and channel.session is not None and command.ins not in _TERMINAL_FIRST:
            return channel.session.process(command)
        handlers = self._terminal_handlers if command.proprietary else self._handlers
        handler = handlers.get(command.ins)
        if handler is None:
            known = command.ins in self._handlers or command.ins in self._terminal_handlers
            raise Refusal(status.WRONG_CLASS if known else status.WRONG_INSTRUCTION)
        return handler(channel, command)

    # --- T=0 -----------------------------------------------------------------------------------------------------------

    def _deliver(self, channel: Channel, command: Command, data: bytes) -> tuple[bytes, int]:
        if not data:
            return b"", self._success()
        if command.data or command.le is None:
            channel.waiting = data
            return b"", 0x6100 | min(len(data), 256) & 0xFF
        if command.le != len(data):
            raise wrong_length(len(data))
        return data, self._success()

    def _get_response(self, channel: Channel, command: Command) -> tuple[bytes, int]:
        length = command.le or 0
        if not channel.waiting:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        if not 0 < length <= len(channel.waiting):
            raise wrong_length(min(len(channel.waiting), 256))
        data, channel.waiting = channel.waiting[:length], channel.waiting[length:]
        if channel.waiting:
            return data, 0x6100 | min(len(channel.waiting), 256) & 0xFF
        return data, self._success()

    def _success(self) -> int:
        pending_bytes = self._toolkit.pending_bytes
        return 0x9100 | pending_bytes if pending_bytes else status.OK

    # --- commands ------------------------------------------------------------------------------------------------------

    def _select(self, channel: Channel, command: Command) -> bytes:
        if command.p1 != _BY_AID:
            return reading.select_file(self._mf, channel, command)
        make = self._applications.get(command.data)
        if make is not None:
            channel.session = make()
            return channel.session.fci() if reading.answers_data(command) else b""
        adf = self._mf.by_aid(command.data)
        if adf is None:
            raise Refusal(status.FILE_NOT_FOUND)
        return reading.select_adf(channel, adf, command)

    def _terminal_profile(self, _channel: Channel, command: Command) -> bytes:
        self._toolkit.terminal_profile(command.data)
        return b""

    def _poll(self, channel: Channel, command: Command) -> bytes:
        answer = reading.read_status(channel, command)
        self._toolkit.polled()
        return answer

    def _envelope(self, _channel: Channel, command: Command) -> bytes:
        self._toolkit.envelope(command.data)
        return b""

    def _terminal_response(self, _channel: Channel, command: Command) -> bytes:
        self._toolkit.terminal_response(command.data)
        return b""


def _accept(_channel: Channel, _command: Command) -> bytes:
    return b""
