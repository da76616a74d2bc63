"""Files of a UICC (ETSI TS 102 221, 11.1.1 and 13; 3GPP TS 31.102): identifiers, FCP templates, EF.DIR, and how to read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from simway_protocol.errors import PeerError
from simway_protocol.sim import apdu, status, tlv
from simway_protocol.sim.apdu import Command
from simway_protocol.sim.card import CardError

MF = 0x3F00
EF_DIR = 0x2F00
EF_ICCID = 0x2FE2
EF_IMSI = 0x6F07
ADF = 0x7FFF
"""The current application's ADF."""
USIM_RID_PIX = bytes.fromhex("A0000000871002")
"""What every USIM's AID begins with (ETSI TS 101 220)."""
_RECORDS_MAX = 254

Send: TypeAlias = Callable[[Command, str], bytes]
"""Sends a command that must succeed; the second argument names it for people."""


class DirEntry(NamedTuple):
    """One application in EF.DIR (TS 102 221, 13.1)."""

    aid: bytes
    label: str

    def encode(self) -> bytes:
        """``61{4F aid, 50 label}``, without padding."""
        return tlv.encode(0x61, tlv.encode(0x4F, self.aid), tlv.encode(0x50, self.label.encode()))

    @classmethod
    def decode(cls, record: bytes) -> DirEntry | None:
        """From a record, padded or not; None for an empty one."""
        if not record or record[0] in (0x00, 0xFF):
            return None
        template, _padding = tlv.decode_first(record)
        if template.tag != 0x61:
            raise PeerError("bad_dir", f"EF.DIR holds a {template.tag:X}")
        items = tlv.decode_map(template.value)
        return cls(tlv.need(items, 0x4F), items.get(0x50, b"").decode("utf-8", "replace"))


class Fcp(NamedTuple):
    """The fields of an FCP template (TS 102 221, 11.1.1.3) that Simway builds and reads.

    ``descriptor``: 82 as coded. ``size_bytes``: of a transparent or linear EF, None for a DF. ``record_bytes``: 0 for a
    transparent EF. ``aid``: of an ADF. ``others``: further objects as they stand.
    """

    descriptor: bytes
    file_id: int
    size_bytes: int | None = None
    sfi: int | None = None
    aid: bytes = b""
    others: tuple[tlv.Tlv, ...] = ()

    @property
    def record_bytes(self) -> int:
        """The length of a record, 0 where there are none."""
        return int.from_bytes(self.descriptor[2:4], "big") if len(self.descriptor) == 5 else 0

    @property
    def records(self) -> int:
        """How many records there are."""
        return self.descriptor[4] if len(self.descriptor) == 5 else 0

    def encode(self) -> bytes:
        """``62{82 83 [84] [others] [80] [88]}``."""
        parts = [tlv.encode(0x82, self.descriptor), tlv.encode(0x83, self.file_id.to_bytes(2, "big"))]
        if self.aid:
            parts.append(tlv.encode(0x84, self.aid))
        parts.extend(tlv.encode(*item) for item in self.others)
        if self.size_bytes is not None:
            parts.append(tlv.encode(0x80, self.size_bytes.to_bytes(2, "big")))
            parts.append(tlv.encode(0x88, b"" if self.sfi is None else bytes((self.sfi << 3,))))
        return tlv.encode(0x62, *parts)

    @classmethod
    def decode(cls, data: bytes) -> Fcp:
        """From the answer of SELECT with P2 04."""
        items = tlv.decode_map(tlv.decode_only(data, 0x62))
        size, sfi = items.get(0x80), items.get(0x88)
        known = (0x82, 0x83, 0x84, 0x80, 0x88)
        return cls(
            descriptor=tlv.need(items, 0x82),
            file_id=int.from_bytes(items.get(0x83, b"\x7f\xff"), "big"),
            size_bytes=None if size is None else int.from_bytes(size, "big"),
            sfi=sfi[0] >> 3 if sfi else None,
            aid=items.get(0x84, b""),
            others=tuple(tlv.Tlv(tag, value) for tag, value in items.items() if tag not in known),
        )


def read_transparent(send: Send, channel: int, file_id: int, length: int) -> bytes:
    """The first ``length`` bytes of a transparent EF directly under the MF."""
    send(apdu.select_file(MF, channel), "SELECT MF")
    send(apdu.select_file(file_id, channel), f"SELECT {file_id:04X}")
    return send(apdu.read_binary(length, channel=channel), f"read {file_id:04X}")


def find_usim(send: Send, channel: int) -> bytes | None:
    """The AID of the first USIM in EF.DIR; None when none is listed."""
    send(apdu.select_file(MF, channel), "SELECT MF")
    record_bytes = Fcp.decode(send(apdu.select_file(EF_DIR, channel), "SELECT EF.DIR")).record_bytes or apdu.LE_ANY
    for number in range(1, _RECORDS_MAX + 1):
        try:
            entry = DirEntry.decode(send(apdu.read_record(number, record_bytes, channel), "read EF.DIR"))
        except CardError as error:
            if error.sw in (status.RECORD_NOT_FOUND, status.FILE_NOT_FOUND):
                return None
            raise
        if entry is not None and entry.aid.startswith(USIM_RID_PIX):
            return entry.aid
    return None
