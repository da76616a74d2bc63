"""What goes over the REST API of writers and their write rights, in and out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from simway_flask_app.rights import Partition, Right, WriterName
from simway_flask_app.web.fields import Time, TimeUs


class VerifyRequest(Struct, forbid_unknown_fields=True):
    """A right, as its holder shows it. ``partition``, ``writer``: what it is shown for; null: for what it says itself."""

    right: Right
    partition: Annotated[Partition, Meta(description="it must be the right to write this partition")] | None = None
    writer: Annotated[WriterName, Meta(description="it must be this recorder's")] | None = None


class HeldRight(Struct):
    """A right that is held, since when and until when."""

    right: Right
    granted_at: Time
    expires_at: Time
    expired: bool


class Writer(Struct):
    """A recorder. ``rights``: of the partitions that are in its name; the newest number of each."""

    writer: WriterName
    host: str
    pid: int
    public_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Ed25519, hexadecimal")]
    started_at: Time
    started_us: TimeUs
    seen_at: Time
    seen_us: TimeUs
    live: Annotated[bool, Meta(description="it was seen within the term of a right, 30 s")]
    rights: list[HeldRight]


class Writers(Struct):
    """The recorders, the oldest first."""

    writers: list[Writer]


class Verdict(Struct):
    """The right holds now."""

    valid: bool
    expires_at: Time
