"""A terminal's core on a bench: a clock that the test moves, a disk that it breaks, and answers held to their size."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import cbor2
from simway_modem_client.terminal_channels import Answer
from simway_modem_client.terminal_core import Surroundings, TerminalCore
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.proactive import ProactiveCommand, Result, TerminalResponse, find
from simway_protocol.sim.proactive_objects import ChannelStatus, Tag, Transport
from simway_protocol.sim.report import Receipt

NOW_US = 1_790_000_000_000_000
PLATFORM = IPv4Address("192.0.2.1")
UDP = Transport(1, 6001)
OPEN = commands.OpenChannel(300, UDP, PLATFORM)
LTE = Registration("home", True, "99970", "LTE")
NOBODY = Registration("searching", False, cause="no_coverage")


def pack(*records: dict[Any, Any]) -> bytes:
    return cbor2.dumps(list(records))


COUNT = {0: "sim/counter", 2: 7}


class Bench:
    """A core, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.registration = LTE
        self.core = TerminalCore("009999001234560", lambda address, port: (address, port) == (PLATFORM, 6001))
        self.stored: list[Any] = []
        self.disk_works = True

    def do(self, command: Any, number: int = 1) -> Answer:
        frame = command if isinstance(command, ProactiveCommand) else command.encode(number)
        answer = self.core.perform(frame, Surroundings(self.now_us, self.registration))
        if answer.pack is not None:
            self.stored += answer.pack.entries if self.disk_works else []
            answer = self.core.channels.stored(answer) if self.disk_works else self.core.channels.not_stored(answer)
        encoded = TerminalResponse.to(frame, answer.result, answer.additional, *answer.items).encode()
        assert len(encoded) <= 255
        assert TerminalResponse.decode(encoded).result == answer.result
        return answer

    def opened(self) -> int:
        answer = self.do(OPEN)
        assert answer.result == Result.PERFORMED
        return ChannelStatus.decode(find(answer.items, Tag.CHANNEL_STATUS) or b"").channel

    def receipt(self, channel: int) -> Receipt:
        return Receipt.decode(find(self.do(commands.ReceiveData(channel, 64)).items, Tag.CHANNEL_DATA) or b"")


def values(answer: Answer) -> dict[int, bytes]:
    return {item.tag: item.value for item in answer.items}
