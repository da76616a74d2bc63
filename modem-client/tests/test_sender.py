"""What goes into the frames, where the outbox gives readings up that were already read ahead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simway_modem_client.entries import make_entry
from simway_modem_client.outbox import Outbox
from simway_modem_client.sender import Sender
from simway_protocol.messages import Range
from simway_protocol.readings import Reading
from simway_protocol.udp.events import Acknowledged

T0_US = 1_700_000_000_000_000
PER_FRAME = 4


class Endpoint:
    """Takes four readings a frame, and keeps what it took: (numbers of the records, dropped ranges)."""

    def __init__(self) -> None:
        self.room = 0
        self.frames: list[tuple[range, list[Range]]] = []

    def window(self) -> int:
        return self.room

    def send_data(self, first_seq: int, readings: Sequence[Reading], dropped: Sequence[Range], now_us: int) -> int:
        count = min(PER_FRAME, len(readings))
        self.room -= 1
        self.frames.append((range(first_seq, first_seq + count), list(dropped)))
        return count


def entries(first: int, count: int):
    return [make_entry("temperature", number, t_us=T0_US + number) for number in range(first, first + count)]


def test_no_frame_holds_a_reading_that_it_also_calls_dropped(tmp_path: Path) -> None:
    """A server refuses such ranges, so that they would never be acknowledged."""
    size = entries(10_000, 1)[0].size_bytes
    with Outbox(tmp_path / "outbox.db", max_bytes=20 * size) as outbox:
        endpoint = Endpoint()
        sender = Sender(endpoint, outbox)  # type: ignore[arg-type]
        outbox.put(entries(10_000, 20))
        sender.begin()
        endpoint.room = 1
        sender.pump(0)
        outbox.put(entries(20_000, 10))
        outbox.flush()
        endpoint.room = 50
        sender.pump(0)
        for records, dropped in endpoint.frames:
            assert not [seq for first, last in dropped for seq in range(first, last + 1) if seq in records]
        sent = [seq for records, _ in endpoint.frames for seq in records]
        assert sent == [*range(1, 5), *range(11, 31)]
        assert [dropped for _, dropped in endpoint.frames if dropped] == [[(1, 10)]]
        sender.acknowledged(Acknowledged(outbox.epoch, [(1, 30)], [], [], 0))
        outbox.flush()
        assert outbox.is_empty()
