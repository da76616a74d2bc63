"""The notifications of ES10b (GSMA SGP.22 v2.x, 5.7.9 to 5.7.11): what a card keeps for its operators' servers.

The rest of ES10b belongs to the download of a profile and is not here: Simway switches, it does not load.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import numbering, tlv
from simway_protocol.sim.es10c import TAG_ICCID, ResultCode

TAG_LIST_NOTIFICATION = 0xBF28
TAG_RETRIEVE_NOTIFICATIONS = 0xBF2B
TAG_NOTIFICATION = 0xBF2F
TAG_NOTIFICATION_SENT = 0xBF30
_TAG_ADDRESS = 0x0C
_TAG_OK = 0xA0
_TAG_ERROR = 0x81
_TAG_SEARCH = 0xA0
_TAG_SIGNATURE = 0x5F37
_TAG_SEQUENCE = 0x30


class Operation(IntFlag):
    """What a notification is about. The bits of the named bit list, its first bit being the highest of a byte."""

    INSTALL = 0x80
    ENABLE = 0x40
    DISABLE = 0x20
    DELETE = 0x10


ALL_OPERATIONS = Operation(0)
"""No bit: a list request that filters nothing."""


class RemoveResult(ResultCode):
    """SGP.22, 5.7.11."""

    OK = 0
    NOT_FOUND = 1
    UNDEFINED = 127


class Notification(NamedTuple):
    """What the card keeps until it was delivered to ``address`` and removed (SGP.22, 3.5)."""

    seq: int
    operation: Operation
    address: str
    iccid: str

    def encode(self) -> bytes:
        """``BF2F{80 seq, 81 ops, 0C address, 5A iccid}``."""
        parts = [
            tlv.encode(0x80, tlv.encode_integer(self.seq)),
            tlv.encode(0x81, tlv.encode_bits(self.operation)),
            tlv.encode(_TAG_ADDRESS, self.address.encode()),
        ]
        if self.iccid:
            parts.append(tlv.encode(TAG_ICCID, numbering.encode_iccid(self.iccid)))
        return tlv.encode(TAG_NOTIFICATION, *parts)

    @classmethod
    def decode(cls, value: bytes) -> Notification:
        """From the value of BF2F."""
        items = tlv.decode_map(value)
        return cls(
            seq=tlv.decode_integer(tlv.need(items, 0x80)),
            operation=decode_operation(tlv.need(items, 0x81)),
            address=_text(tlv.need(items, _TAG_ADDRESS)),
            iccid=numbering.decode_iccid(items[TAG_ICCID]) if TAG_ICCID in items else "",
        )


class PendingNotification(NamedTuple):
    """A notification as it is to be delivered: signed by the card. ``signature``: over the notification's encoding.

    ``certificates``: the eUICC's and its maker's, DER (SGP.22, 5.7.10).
    """

    notification: Notification
    signature: bytes
    certificates: tuple[bytes, ...]

    def encode(self) -> bytes:
        """``30{BF2F, 5F37 signature, certificates}``."""
        return tlv.encode(
            _TAG_SEQUENCE, self.notification.encode(), tlv.encode(_TAG_SIGNATURE, self.signature), *self.certificates
        )

    @classmethod
    def decode(cls, value: bytes) -> PendingNotification:
        """From the value of the sequence."""
        items = tlv.decode(value)
        fields = dict(items)
        return cls(
            Notification.decode(tlv.need(fields, TAG_NOTIFICATION)),
            tlv.need(fields, _TAG_SIGNATURE),
            tuple(tlv.encode(tag, inner) for tag, inner in items if tag == _TAG_SEQUENCE),
        )


@dataclass(frozen=True, slots=True)
class ListNotification:
    """SGP.22, 5.7.9. ``operations``: only those; none: all."""

    TAG: ClassVar[int] = TAG_LIST_NOTIFICATION
    operations: Operation = ALL_OPERATIONS

    def encode(self) -> bytes:
        """``BF28 00``, or with ``81`` operations."""
        return tlv.encode(self.TAG, tlv.encode(0x81, tlv.encode_bits(self.operations)) if self.operations else b"")

    @classmethod
    def decode(cls, value: bytes) -> ListNotification:
        """From the value of BF28."""
        wanted = tlv.decode_map(value).get(0x81)
        return cls(ALL_OPERATIONS if wanted is None else decode_operation(wanted))


@dataclass(frozen=True, slots=True)
class RetrieveNotifications:
    """SGP.22, 5.7.10. ``wanted``: one by its number, those of some operations, or None for all."""

    TAG: ClassVar[int] = TAG_RETRIEVE_NOTIFICATIONS
    wanted: int | Operation | None = None

    def encode(self) -> bytes:
        """``BF2B 00``, or with ``A0{80 seq}`` or ``A0{81 operations}``."""
        if self.wanted is None:
            return tlv.encode(self.TAG)
        if isinstance(self.wanted, Operation):
            return tlv.encode(self.TAG, tlv.encode(_TAG_SEARCH, tlv.encode(0x81, tlv.encode_bits(self.wanted))))
        return tlv.encode(self.TAG, tlv.encode(_TAG_SEARCH, tlv.encode(0x80, tlv.encode_integer(self.wanted))))

    @classmethod
    def decode(cls, value: bytes) -> RetrieveNotifications:
        """From the value of BF2B."""
        items = tlv.decode_map(value)
        if _TAG_SEARCH not in items:
            return cls()
        search = tlv.decode_map(items[_TAG_SEARCH])
        if 0x81 in search:
            return cls(decode_operation(search[0x81]))
        return cls(tlv.decode_integer(tlv.need(search, 0x80)))

    def finds(self, notification: Notification) -> bool:
        """Whether it is one of those wanted."""
        if isinstance(self.wanted, Operation):
            return bool(self.wanted & notification.operation)
        return self.wanted in (None, notification.seq)


@dataclass(frozen=True, slots=True)
class RemoveNotification:
    """NotificationSent (SGP.22, 5.7.11): delivered, the card may forget it."""

    TAG: ClassVar[int] = TAG_NOTIFICATION_SENT
    seq: int

    def encode(self) -> bytes:
        """``BF30{80 seq}``."""
        return tlv.encode(self.TAG, tlv.encode(0x80, tlv.encode_integer(self.seq)))

    @classmethod
    def decode(cls, value: bytes) -> RemoveNotification:
        """From the value of BF30."""
        return cls(tlv.decode_integer(tlv.need(tlv.decode_map(value), 0x80)))


def encode_notifications_response(notifications: list[Notification]) -> bytes:
    """``BF28{A0{BF2F...}}``."""
    return tlv.encode(TAG_LIST_NOTIFICATION, tlv.encode(_TAG_OK, *(item.encode() for item in notifications)))


def decode_notifications_response(data: bytes) -> list[Notification]:
    """The notifications in the card's order."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_LIST_NOTIFICATION))
    if _TAG_ERROR in items:
        raise PeerError("notifications_error", f"the card refused with {tlv.decode_integer(items[_TAG_ERROR])}")
    return [Notification.decode(value) for tag, value in tlv.decode(tlv.need(items, _TAG_OK)) if tag == TAG_NOTIFICATION]


def encode_pending_response(pending: list[PendingNotification]) -> bytes:
    """``BF2B{A0{30...}}``."""
    return tlv.encode(TAG_RETRIEVE_NOTIFICATIONS, tlv.encode(_TAG_OK, *(item.encode() for item in pending)))


def decode_pending_response(data: bytes) -> list[PendingNotification]:
    """The signed notifications in the card's order; results of installations (BF37) are passed over."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_RETRIEVE_NOTIFICATIONS))
    if _TAG_ERROR in items:
        raise PeerError("notifications_error", f"the card refused with {tlv.decode_integer(items[_TAG_ERROR])}")
    listed = tlv.decode(tlv.need(items, _TAG_OK))
    return [PendingNotification.decode(value) for tag, value in listed if tag == _TAG_SEQUENCE]


def decode_operation(data: bytes) -> Operation:
    """The operations of a bit list; bits that no release here knows are passed over."""
    return Operation(tlv.decode_bits(data) & 0xF0)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PeerError("bad_tlv", "a text is not UTF-8") from error
