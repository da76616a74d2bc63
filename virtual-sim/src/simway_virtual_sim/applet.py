"""The Simway applet of the simulated card, at card level, so it outlives every switch (see ``simway_protocol.sim.applet``)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from simway_protocol.commands import verify_command
from simway_protocol.errors import PeerError
from simway_protocol.sim import applet, status, store_data, tlv
from simway_protocol.sim.apdu import Command
from simway_protocol.udp.keys import card_response

from simway_virtual_sim.memory import Memory
from simway_virtual_sim.replies import Refusal, refusal_of
from simway_virtual_sim.state import AppletState


class AppletSession:
    """The applet, selected on one channel."""

    aid = applet.AID

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._blocks = store_data.Assembler()
        self._handlers: dict[int, Callable[[Command], bytes]] = {
            applet.Ins.AUTHENTICATE: self._authenticate,
            applet.Ins.VERIFY_COMMAND: self._verify,
            applet.Ins.PERSONALISE: self._personalise,
            applet.Ins.STATUS: self._status,
        }

    def fci(self) -> bytes:
        """What SELECT answers."""
        return tlv.encode(0x6F, tlv.encode(0x84, self.aid))

    def process(self, command: Command) -> bytes:
        """One command of the applet's class; its data, or ``Refusal``."""
        handler = self._handlers.get(command.ins)
        if handler is None:
            raise Refusal(status.WRONG_INSTRUCTION)
        try:
            return handler(command)
        except PeerError as error:
            raise refusal_of(error) from error

    def _key(self) -> bytes:
        if not self._memory.state.applet.key:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        return bytes.fromhex(self._memory.state.applet.key)

    def _authenticate(self, command: Command) -> bytes:
        key = self._key()
        if len(command.data) != applet.CHALLENGE_BYTES:
            raise Refusal(status.WRONG_LENGTH)
        return applet.encode_answer(card_response(key, command.data))

    def _verify(self, command: Command) -> bytes:
        key, whole = self._key(), self._blocks.add(command)
        if whole is not None:
            body, mac = applet.decode_verify(whole)
            if not verify_command(key, body, mac):
                raise Refusal(status.SECURITY_STATUS_NOT_SATISFIED)
        return b""

    def _personalise(self, command: Command) -> bytes:
        if self._memory.state.applet.key:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        key, version = applet.decode_personalise(command.data)
        self._memory.commit(replace(self._memory.state, applet=AppletState(key.hex(), version)))
        return b""

    def _status(self, _command: Command) -> bytes:
        held = self._memory.state.applet
        return applet.encode_status(applet.AppletStatus(bool(held.key), held.key_version))
