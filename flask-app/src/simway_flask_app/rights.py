"""Write rights: who may record a partition, as a signed statement with a number that only grows (docs/writers.md). Pure.

A right is granted by the store, in the transaction that ends the number before it, whoever had that; the recorder signs it with a
key of its own, made at its start and kept in memory. The signature says that the holder itself claims the right, so nobody can
show one in another's name; the store's row says whether it still holds. ``judge`` weighs the two.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

WriterName = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Us = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Right(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A write right. Times: UTC microseconds by the store's clock. ``number`` is the fencing number."""

    log_id: Annotated[str, Meta(pattern="^[!-~]+$", max_length=300)]
    topic: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]+$", max_length=200)]
    partition: Partition
    number: Annotated[int, Meta(ge=1, le=2**63 - 1, description="fencing number: it only grows")]
    writer: WriterName
    granted_us: _Us
    expires_us: _Us
    signature: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{128}$",
            max_length=128,
            description="Ed25519, by the writer's key, over the other members as JSON in ASCII, keys sorted, without spaces",
        ),
    ]


class Refusal(StrEnum):
    """Why a right does not hold."""

    UNKNOWN_WRITER = "unknown_writer"
    FORGED = "forged"
    OTHER_PARTITION = "other_partition"
    OTHER_WRITER = "other_writer"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


def canonical(right: Right) -> bytes:
    """What is signed: the right without its signature as JSON in ASCII, keys sorted, nothing between tokens."""
    rest = {name: getattr(right, name) for name in right.__struct_fields__ if name != "signature"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


@dataclass(frozen=True)
class WriterKey:
    """A recorder's key pair and the name that follows from it."""

    _key: Ed25519PrivateKey

    @classmethod
    def make(cls) -> WriterKey:
        """A new pair, of the system's random numbers."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public_key(self) -> str:
        """32 bytes, hexadecimal."""
        return self._key.public_key().public_bytes_raw().hex()

    @property
    def writer(self) -> str:
        """The recorder's name: the first 16 bytes of the public key's SHA-256, hexadecimal."""
        return hashlib.sha256(bytes.fromhex(self.public_key)).hexdigest()[:32]

    def sign(self, right: Right) -> Right:
        """The right with this writer's signature, 64 bytes, hexadecimal."""
        return msgspec.structs.replace(right, signature=self._key.sign(canonical(right)).hex())


def is_signed(right: Right, public_key: str) -> bool:
    """True when the signature is that of ``public_key`` (hexadecimal)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(right.signature), canonical(right))
    except (InvalidSignature, ValueError):
        return False
    return True


def judge(
    right: Right, public_key: str | None, current: Right | None, now_us: int, *, partition: int | None, writer: str | None
) -> Refusal | None:
    """Whether a right holds, for ``partition`` and ``writer`` where they are named: None, or why not.

    ``public_key``: of the writer that it names, None for one that nobody knows; ``current``: the store's row of its partition.
    """
    if public_key is None:
        return Refusal.UNKNOWN_WRITER
    if not is_signed(right, public_key):
        return Refusal.FORGED
    if partition not in (None, right.partition):
        return Refusal.OTHER_PARTITION
    if writer not in (None, right.writer):
        return Refusal.OTHER_WRITER
    return _judge_number(right, current, now_us)


def _judge_number(right: Right, current: Right | None, now_us: int) -> Refusal | None:
    """Of a right that its writer signed. What the store never granted is the writer's own invention."""
    if current is not None and right.number < current.number:
        return Refusal.SUPERSEDED
    granted = current is not None and (right.number, right.writer, right.granted_us) == (
        current.number, current.writer, current.granted_us,
    )  # fmt: skip
    if current is None or not granted:
        return Refusal.FORGED
    if min(right.expires_us, current.expires_us) <= now_us:
        return Refusal.EXPIRED
    return Refusal.FORGED if right.expires_us > current.expires_us else None
