"""One session as the server keeps it: keys, replay window, address validation, what is to be acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simway_protocol.errors import PeerError
from simway_protocol.messages import Range, RejectedRange
from simway_protocol.udp.bodies import PING_NONCE_BYTES, REASON_MAX_CHARS, Ack, Attach, encode_ack
from simway_protocol.udp.events import Address
from simway_protocol.udp.frames import COUNTER_MAX, HEADER, Type, encode_body, first_byte
from simway_protocol.udp.keys import DOWN_NONCE_PREFIX, UP_NONCE_PREFIX, TrafficKeys
from simway_protocol.udp.replay import ReplayWindow
from simway_protocol.udp.results import ResultShelf

AMPLIFICATION_MAX = 3
"""Bytes sent to an address not yet validated, for each byte received from it."""
_ACK_ROOM = 1_100
_RANGE_BYTES, _REJECTED_BYTES = 19, 20 + REASON_MAX_CHARS
_ITEMS_PER_ACK = 20
"""Up to this many items of any kind one ACK holds for certain."""
_NOTHING = Ack("", [], [], [], 0, [], [])
_RANGES_PER_ACK = 32


class PendingAcks:
    """Outcomes of one epoch, not yet sent. Ranges are lists of [first, last], so that the newest can grow in place."""

    __slots__ = ("epoch", "later", "later_ms", "logged", "rejected")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.logged: list[list[int]] = []
        self.rejected: list[RejectedRange] = []
        self.later: list[list[int]] = []
        self.later_ms = 0

    @property
    def is_one_range(self) -> bool:
        """The usual: everything was logged, in order."""
        return len(self.logged) == 1 and not self.rejected and not self.later


class Session:
    """``address`` is validated; ``candidate`` is where the newest frame came from, if that is another."""

    __slots__ = (
        "_decrypt", "_encrypt", "acks", "address", "answer", "attach", "attach_hash", "candidate", "candidate_nonce",
        "candidate_room", "confirmed", "counter", "created_us", "device", "dirty", "epoch_bytes", "epoch_text", "generation",
        "key_version", "last_us", "more_acks", "ping_attempts", "session_id", "shelf", "window",
    )  # fmt: skip

    def __init__(
        self, device: str, session_id: bytes, generation: int, address: Address, attach: Attach, key_version: int,
        keys: TrafficKeys, attach_hash: bytes, now_us: int,
    ) -> None:  # fmt: skip
        self.device = device
        self.session_id = session_id
        self.generation = generation
        self.address = address
        self.attach = attach
        self.key_version = key_version
        self.attach_hash = attach_hash
        self.answer = b""
        """The ATTACHED that made it, until it is confirmed: what the very same ATTACH gets again."""
        self.created_us = self.last_us = now_us
        self._decrypt = AESGCM(keys.up).decrypt
        self._encrypt = AESGCM(keys.down).encrypt
        self.counter = 0
        self.window = ReplayWindow()
        self.confirmed = False
        self.candidate: Address | None = None
        self.candidate_nonce = b""
        self.candidate_room = 0
        self.ping_attempts = 0
        self.epoch_text = attach.epoch
        self.epoch_bytes = bytes.fromhex(attach.epoch)
        self.acks: PendingAcks | None = None
        self.more_acks: dict[str, PendingAcks] = {}
        self.dirty = False
        self.shelf: ResultShelf | None = None

    def unseal(self, datagram: bytes) -> bytes:
        """The plaintext of a frame of this session; ``PeerError``: stale, replayed, counter, bad_tag.

        The window moves only for a frame that opens.
        """
        window, counter_bytes = self.window, datagram[9:17]
        counter = int.from_bytes(counter_bytes)
        if counter <= window.top:
            refusal = window.judge(counter)
            if refusal is not None:
                raise PeerError(refusal)
        elif counter > COUNTER_MAX:
            raise PeerError("counter")
        try:
            plain = self._decrypt(UP_NONCE_PREFIX + counter_bytes, datagram[17:], datagram[:17])
        except InvalidTag:
            raise PeerError("bad_tag") from None
        window.accept(counter)
        return plain

    def seal(self, type_: Type, items: dict[int, Any]) -> bytes:
        """A frame under the next counter."""
        self.counter += 1
        header = HEADER.pack(first_byte(type_), self.session_id, self.counter)
        return header + self._encrypt(DOWN_NONCE_PREFIX + header[9:], encode_body(items), header)

    # --- where answers go ----------------------------------------------------------------------------------------------------

    def may_reply(self, size_bytes: int) -> bool:
        """Whether a datagram of this size may go where answers go; what may is counted."""
        if self.candidate is None:
            return True
        if size_bytes > self.candidate_room:
            return False
        self.candidate_room -= size_bytes
        return True

    def came_from(self, address: Address, size_bytes: int, random: Callable[[int], bytes]) -> bool:
        """The newest frame came from ``address``, not the validated one. True when that is a new candidate."""
        fresh = self.candidate != address
        if fresh:
            self.candidate, self.candidate_nonce = address, random(PING_NONCE_BYTES)
            self.candidate_room = self.ping_attempts = 0
        self.candidate_room += AMPLIFICATION_MAX * size_bytes
        return fresh

    # --- acknowledgements ----------------------------------------------------------------------------------------------------

    def acks_for(self, epoch: str) -> PendingAcks:
        """The pending outcomes of an epoch, made the current ones."""
        current = self.acks
        if current is not None:
            if current.epoch == epoch:
                return current
            self.more_acks[current.epoch] = current
        acks = self.acks = self.more_acks.pop(epoch, None) or PendingAcks(epoch)
        return acks

    def take_acks(self) -> list[dict[int, Any]]:
        """The bodies of the ACKs that say everything pending; nothing is pending then."""
        pending = [*self.more_acks.values(), *([self.acks] if self.acks else [])]
        self.acks = None
        self.more_acks = {}
        results, closed = self.shelf.take_settled() if self.shelf else ([], [])
        if len(pending) == 1 and pending[0].is_one_range and not (results or closed):
            return [{1: bytes.fromhex(pending[0].epoch), 2: pending[0].logged}]
        acks = [ack for epoch in pending for ack in _split(epoch)]
        room = _ITEMS_PER_ACK - acks[-1].ranges if acks else 0
        if len(results) + len(closed) <= room:
            acks[-1] = acks[-1]._replace(results=results, closed=closed)
        else:
            acks += [_NOTHING._replace(results=results[at : at + 32]) for at in range(0, len(results), 32)]
            acks += [_NOTHING._replace(closed=closed[at : at + 32]) for at in range(0, len(closed), 32)]
        return [encode_ack(ack) for ack in acks]


def merged(ranges: list[list[int]]) -> list[Range]:
    """Ranges in order, those that touch or overlap joined."""
    out: list[list[int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1][1] = max(out[-1][1], last)
        else:
            out.append([first, last])
    return [(first, last) for first, last in out]


def _split(acks: PendingAcks) -> list[Ack]:
    """As many ACKs as it takes, each within a datagram and 32 ranges."""
    out: list[Ack] = []
    ack, room, ranges = _empty(acks), _ACK_ROOM, 0
    items: list[tuple[int, str, Any]] = [(_RANGE_BYTES, "logged", item) for item in merged(acks.logged)]
    items += [(_REJECTED_BYTES, "rejected", item) for item in acks.rejected]
    items += [(_RANGE_BYTES, "later", item) for item in merged(acks.later)]
    for size, name, item in items:
        if size > room or ranges == _RANGES_PER_ACK:
            out.append(ack)
            ack, room, ranges = _empty(acks), _ACK_ROOM, 0
        getattr(ack, name).append(item)
        room -= size
        ranges += 1
    if ranges:
        out.append(ack)
    return out


def _empty(acks: PendingAcks) -> Ack:
    return Ack(acks.epoch, [], [], [], acks.later_ms, [], [])
