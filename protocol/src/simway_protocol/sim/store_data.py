"""STORE DATA (GlobalPlatform Card Specification 2.3, 11.11): an ES10 request cut into blocks, and put together again.

P1 is 11 for a block that others follow and 91 for the last; P2 counts blocks from 00.
"""

from __future__ import annotations

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim.apdu import SHORT_DATA_MAX_BYTES, Command, Ins, class_for

P1_MORE = 0x11
P1_LAST = 0x91
BLOCKS_MAX = 256


def split(data: bytes, channel: int, block_bytes: int = SHORT_DATA_MAX_BYTES, ins: int = Ins.STORE_DATA) -> list[Command]:
    """The commands that carry ``data``, in order. ``block_bytes``: 1 to 255. At least one command, even for no data."""
    if not 1 <= block_bytes <= SHORT_DATA_MAX_BYTES:
        raise LocalError(f"a block has 1 to {SHORT_DATA_MAX_BYTES} bytes")
    blocks = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)] or [b""]
    if len(blocks) > BLOCKS_MAX:
        raise LocalError(f"{len(data)} bytes need more than {BLOCKS_MAX} blocks of {block_bytes}")
    cla, last = class_for(channel, proprietary=True), len(blocks) - 1
    return [Command(cla, ins, P1_LAST if at == last else P1_MORE, at, block) for at, block in enumerate(blocks)]


class Assembler:
    """Puts blocks together: the card's end. One per channel and instruction."""

    def __init__(self, limit_bytes: int = 16_384) -> None:
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []

    def add(self, command: Command) -> bytes | None:
        """The whole once its last block came, else None.

        Block 00 begins anew. ``PeerError``: ``bad_block`` for one out of order, ``bad_p1``, ``too_long``; all is then forgotten.
        """
        if command.p1 not in (P1_MORE, P1_LAST):
            raise self._refused("bad_p1", f"P1 {command.p1:02X}")
        if command.p2 == 0:
            self.clear()
        if command.p2 != len(self._parts):
            raise self._refused("bad_block", f"block {command.p2} came, {len(self._parts)} was due")
        self._parts.append(command.data)
        if sum(map(len, self._parts)) > self._limit_bytes:
            raise self._refused("too_long", f"more than {self._limit_bytes} bytes")
        if command.p1 == P1_MORE:
            return None
        whole = b"".join(self._parts)
        self.clear()
        return whole

    def clear(self) -> None:
        """Forgets what came so far."""
        self._parts = []

    def _refused(self, reason: str, detail: str) -> PeerError:
        self.clear()
        return PeerError(reason, detail)
