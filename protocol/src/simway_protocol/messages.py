"""The messages of the log, one tagged struct each; JSON, so that any consumer can read them (design, section 3).

The files in ``topics/`` say who writes and reads each topic and hold examples that tests decode and encode. Unknown fields
are ignored on reading, so that a newer producer does not stop an older consumer. ``epoch`` is hexadecimal text, since a
64-bit number does not survive every JSON reader.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from simway_protocol.readings import Reading

Range: TypeAlias = tuple[int, int]
"""First and last sequence number, both included."""
RejectedRange: TypeAlias = tuple[int, int, str]
"""First, last and the reason (see ``outcomes.Reason``)."""


class Uplink(msgspec.Struct, omit_defaults=True):
    """Readings of one device, admitted together.

    ``readings[i]`` has the sequence number ``first_seq + i``; where a sender numbers nothing, ``epoch`` and ``first_seq``
    are None. ``dropped``: what the full outbox gave up; ``rejected``: what admission refused; both in the epoch's numbers.
    ``trace``: of a sampled uplink the ``traceparent`` of its append (W3C Trace Context, version 00); of all others None.
    """

    device: str
    gateway: str
    received_us: int
    epoch: str | None = None
    first_seq: int | None = None
    readings: list[Reading] = []
    dropped: list[Range] = []
    rejected: list[RejectedRange] = []
    trace: str | None = None


class UplinkBatch(msgspec.Struct):
    """One record of ``uplink``: admitted uplinks of one partition, in order of arrival."""

    uplinks: list[Uplink]
    v: int = 1


class Downlink(msgspec.Struct, omit_defaults=True):
    """One record of ``downlink``. ``body``: canonical CBOR (see ``commands``), sent to the device as it is; ``mac``: over it.

    ``type`` is ``command``, ``cancel`` or ``confirm``; ``expires_us`` repeats the body's, for gateways.
    """

    device: str
    type: str
    command_id: str
    counter: int
    expires_us: int
    body: bytes
    mac: bytes
    v: int = 1


class Attached(msgspec.Struct, tag_field="type", tag="attached", omit_defaults=True):
    """A session has shown its first valid frame under the traffic keys. ``generation`` only grows, per device.

    It lives in process ``worker`` (from 0) of the gateway at ``place``, host and port.
    """

    device: str
    generation: int
    gateway: str
    iccid: str
    boot_counter: int
    epoch: str
    last_counter: int
    key_version: int
    t_us: int
    address: str = ""
    place: str = ""
    worker: int = 0
    v: int = 1


class Detached(msgspec.Struct, tag_field="type", tag="detached", omit_defaults=True):
    """A session is over: ``superseded``, ``idle``, ``revoked`` or ``shutdown``. One whose gateway died: ``GatewayStarted``."""

    device: str
    generation: int
    gateway: str
    reason: str
    t_us: int
    v: int = 1


class GatewayStarted(msgspec.Struct, tag_field="type", tag="gateway_started", omit_defaults=True):
    """A gateway's process begins: sessions live in memory, so none that lived in this place before is left.

    ``device`` is empty. ``place`` and ``worker``: as in ``Attached``; ``workers``: how many there are, all of lower numbers.
    """

    device: str
    gateway: str
    place: str
    worker: int
    workers: int
    t_us: int
    v: int = 1


class CommandEvent(msgspec.Struct, tag_field="type", tag="command", omit_defaults=True):
    """What happened to a command, as the gateway saw it; the ledger decides what it means.

    ``event``: ``sent`` (first transmission), ``received`` (RECEIPT), ``result`` (RESULT whole), ``closed`` (CLOSED),
    ``expired`` (never sent). ``outcome`` and ``reason`` come with ``result`` and ``closed`` (``commands.ResultOutcome``).
    ``generation`` and ``iccid`` are those of the session that carried it.
    """

    device: str
    command_id: str
    event: str
    gateway: str
    generation: int
    t_us: int
    iccid: str = ""
    outcome: str = ""
    reason: str = ""
    counter: int = 0
    evidence: dict[str, Any] = {}
    v: int = 1


KEEP_ENABLED = "disable_not_allowed"
"""Profile policy rule 1 (SGP.22, 2.4.5.1): the profile may not be disabled, so no other one can be enabled in its place."""
KEEP_INSTALLED = "delete_not_allowed"
"""Profile policy rule 2: the profile may not be deleted."""
RULES = (KEEP_ENABLED, KEEP_INSTALLED)


class Profile(msgspec.Struct, omit_defaults=True):
    """One profile of an eUICC (SGP.22, 5.7.15). ``state``: enabled|disabled; ``profile_class``: test|provisioning|
    operational|unknown.

    ``fallback``: it has the fallback attribute (SGP.32). ``rules``: what its policy forbids, of ``RULES``.
    """

    iccid: str
    aid: str
    state: str
    provider: str = ""
    name: str = ""
    nickname: str = ""
    profile_class: str = "operational"
    fallback: bool = False
    rules: list[str] = []


class Inventory(msgspec.Struct, tag_field="type", tag="inventory", omit_defaults=True):
    """What the SIM of a device holds, as the device read it. ``eid`` is empty on a SIM that is no eUICC.

    ``os_version``: of the card's operating system, ``smdp``: the default SM-DP+ address; empty where the card does not say.
    """

    device: str
    gateway: str
    generation: int
    t_us: int
    eid: str
    active_iccid: str
    profiles: list[Profile] = []
    os_version: str = ""
    smdp: str = ""
    v: int = 1


class AuditAnchor(msgspec.Struct, tag_field="type", tag="audit_anchor", omit_defaults=True):
    """The head of the audit trail at some moment, signed: a trail that lacks it later was cut or written anew.

    ``device`` is empty: the trail is of the whole platform. ``seq``: number of the newest entry; ``hash``: its hash, 32
    bytes as hexadecimal; ``signature``: Ed25519 over both (``simway_flask_app.trail``), as hexadecimal.
    """

    device: str
    seq: int
    hash: str
    signature: str
    t_us: int
    v: int = 1


DeviceEvent: TypeAlias = Attached | Detached | GatewayStarted | CommandEvent | Inventory | AuditAnchor


EVERY_DEVICE = "*"
"""No device's id: the key of what ``registry`` says of all."""


class RegistryEntry(msgspec.Struct, omit_defaults=True):
    """One record of ``registry`` (compacted, key = device id): what a gateway needs to work alone.

    ``status``: active|revoked. ``key_versions``: those that may attach, the newest last. The entry of ``EVERY_DEVICE`` (revoked:
    nobody comes in by it) says what holds for all: ``raw_keep_s``, how old readings may be; 0: of any age.
    """

    device: str
    status: str
    key_versions: list[int]
    updated_us: int
    raw_keep_s: int | None = None
    v: int = 1


class DeadLetter(msgspec.Struct, omit_defaults=True):
    """What could not be admitted or stored, with the reason and enough to replay it.

    ``kept``: it comes from the store, which has it; a gateway's has yet to be read into the store.
    """

    source: str
    reason: str
    t_us: int
    device: str = ""
    gateway: str = ""
    epoch: str | None = None
    seq: int | None = None
    detail: str = ""
    reading: Reading | None = None
    payload: bytes = b""
    kept: bool = False
    v: int = 1


class BadMessage(Exception):
    """A record of the log that does not decode: the producer's fault. The text names the field."""


_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    "uplink": msgspec.json.Decoder(UplinkBatch),
    "downlink": msgspec.json.Decoder(Downlink),
    "device-events": msgspec.json.Decoder(DeviceEvent),
    "registry": msgspec.json.Decoder(RegistryEntry),
    "dead-letter": msgspec.json.Decoder(DeadLetter),
}

Message: TypeAlias = UplinkBatch | Downlink | DeviceEvent | RegistryEntry | DeadLetter


def encode(message: Message) -> bytes:
    """The JSON bytes of a message. NaN and infinities must have been refused before: msgspec would write null."""
    return _encoder.encode(message)


def decode(topic: str, value: bytes) -> Any:
    """The message of a topic's record; ``BadMessage`` when it does not decode."""
    try:
        return _decoders[topic].decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"{topic}: {error}") from error
