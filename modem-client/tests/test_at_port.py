"""The port of a modem: who closes the device, and when."""

from __future__ import annotations

import threading

import pytest
from simway_modem_client.at.lines import Command
from simway_modem_client.at.port import AtPort, ModemGone


class Device:
    """A serial device that says nothing, and that notes whether it was closed under a read."""

    in_waiting = 0

    def __init__(self) -> None:
        self._cancelled, self._closed = threading.Event(), threading.Event()
        self.is_read = threading.Event()
        self.closed_under_a_read = False

    def read(self, _size: int = 1, /) -> bytes:
        self.is_read.set()
        self._cancelled.wait()
        self.closed_under_a_read |= self._closed.wait(0.2)
        return b""

    def write(self, _data: bytes, /) -> None:
        """Nobody listens."""

    def cancel_read(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self._closed.set()


def test_the_device_is_closed_when_nobody_reads_it_any_more() -> None:
    """Else it stays locked for a while, and whoever opens it next is told that another program has it."""
    device = Device()
    port = AtPort(lambda: device, "a silent modem")

    def asking() -> None:
        with pytest.raises(ModemGone):
            port.ask(Command("AT"))

    asker = threading.Thread(target=asking)
    asker.start()
    assert device.is_read.wait(60)
    port.close()
    asker.join()
    assert not device.closed_under_a_read
