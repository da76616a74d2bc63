"""The audit trail: entries chained by hash, the head signed. Pure; ``store.trail`` keeps it.

hash(n) = SHA-256("simway audit entry" 00 | hash(n-1), 32 bytes | the entry's canonical bytes), hash(0) being 32 zero bytes. The
canonical bytes are a JSON array [seq, t_us, kind, device, actor, subject, detail] in ASCII without blanks, where ``detail`` is
text (JSON in itself, as it is stored). So whoever has the rows can follow the chain with any language's standard library.
A head is signed with Ed25519 over "simway audit head" 00 | seq, 8 bytes big-endian | hash; the key's seed is
HKDF(master secret, "simway audit head"). Numbers begin at 1 and have no gaps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from simway_protocol.identity import hkdf

HASH_BYTES = 32
_ENTRY_LABEL = b"simway audit entry\x00"
_HEAD_LABEL = b"simway audit head\x00"
_KEY_INFO = b"simway audit head"


class Entry(NamedTuple):
    """One decision. ``subject``: the command id, ICCID or the like that it is about; ``detail``: JSON text."""

    seq: int
    t_us: int
    kind: str
    device: str
    actor: str
    subject: str
    detail: str


class Head(NamedTuple):
    """The newest entry's number and hash (hexadecimal): it stands for the whole trail up to there."""

    seq: int
    hash: str


EMPTY = Head(0, "00" * HASH_BYTES)
"""The head of a trail without entries."""


class Link(NamedTuple):
    """An entry as it is stored, with its hash (hexadecimal)."""

    entry: Entry
    hash: str


class Broken(NamedTuple):
    """The first place where the trail does not hold. ``problem``: missing|changed|head|anchor|signature."""

    seq: int
    problem: str
    detail: str


def detail_text(detail: Mapping[str, Any]) -> str:
    """The JSON text of a detail, keys sorted."""
    return msgspec.json.encode(detail, order="deterministic").decode()


def canonical(entry: Entry) -> bytes:
    """What of an entry goes into its hash."""
    return json.dumps(list(entry), separators=(",", ":"), ensure_ascii=True).encode()


def chain(previous: str, entry: Entry) -> str:
    """The hash of ``entry`` after one whose hash is ``previous``; both hexadecimal."""
    return hashlib.sha256(_ENTRY_LABEL + bytes.fromhex(previous) + canonical(entry)).hexdigest()


def follow(links: Iterable[Link], start: Head = EMPTY) -> tuple[Head, Broken | None]:
    """Follows the chain from ``start``: the last good head, and the first entry that does not fit, if any."""
    head = start
    for entry, stored in links:
        if entry.seq != head.seq + 1:
            return head, Broken(head.seq + 1, "missing", f"entry {head.seq + 1} is missing; {entry.seq} comes in its place")
        made = chain(head.hash, entry)
        if made != stored:
            return head, Broken(entry.seq, "changed", f"entry {entry.seq}, or its hash, is not what was written")
        head = Head(entry.seq, made)
    return head, None


@dataclass(frozen=True)
class Signer:
    """Signs heads, and knows its own signatures."""

    _key: Ed25519PrivateKey

    @classmethod
    def of(cls, master_secret: bytes) -> Signer:
        """The signer of a platform."""
        return cls(Ed25519PrivateKey.from_private_bytes(hkdf(master_secret, _KEY_INFO)))

    @property
    def public_key(self) -> str:
        """32 bytes, hexadecimal: enough to check signatures elsewhere."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, head: Head) -> str:
        """The signature of a head, 64 bytes, hexadecimal."""
        return self._key.sign(_signed_bytes(head)).hex()

    def verify(self, head: Head, signature: str) -> bool:
        """True for a signature that this platform made over just this head."""
        return is_signed(self.public_key, head, signature)


def is_signed(public_key: str, head: Head, signature: str) -> bool:
    """True when ``signature`` is that of ``public_key`` over ``head``; all hexadecimal."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), _signed_bytes(head))
    except (InvalidSignature, ValueError, OverflowError):
        return False
    return True


def _signed_bytes(head: Head) -> bytes:
    return _HEAD_LABEL + head.seq.to_bytes(8, "big") + bytes.fromhex(head.hash)
