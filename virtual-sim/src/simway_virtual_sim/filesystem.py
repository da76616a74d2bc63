"""What the files of a card are made of: directories and elementary files with their FCP templates (ETSI TS 102 221, 11.1.1).

``usim.build`` makes the tree of one profile; it is read-only, and a new profile's tree appears with the next reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simway_protocol.sim import files, tlv

EF_ARR_MF, EF_ARR_USIM = 0x2F06, 0x6F06
_ACTIVATED = tlv.Tlv(0x8A, b"\x05")
_DF_CHARACTERISTICS = tlv.encode(0x80, b"\x71")
_MF_CHARACTERISTICS = (
    _DF_CHARACTERISTICS, tlv.encode(0x83, (262_144).to_bytes(4, "big")), tlv.encode(0x87, b"\x01"),
)  # fmt: skip
"""Clock stop and voltages; free memory; 87 01: TERMINAL CAPABILITY is understood (TS 102 221, 11.1.1.4.6)."""
_PIN_STATUS = tlv.encode(0x90, b"\x00") + tlv.encode(0x83, b"\x01") + tlv.encode(0x83, b"\x0a")
"""PIN 1 and ADM 1 exist, neither is asked for."""


@dataclass(frozen=True)
class Elementary:
    """An EF. ``records`` empty: transparent, its bytes in ``data``; else linear fixed, or ``cyclic``.

    ``rule``: the record of EF.ARR that says who may do what.
    """

    file_id: int
    data: bytes = b""
    records: tuple[bytes, ...] = ()
    sfi: int | None = None
    cyclic: bool = False
    rule: int = 1

    def fcp(self, arr: int) -> bytes:
        """What SELECT answers. ``arr``: the file id of its directory's EF.ARR."""
        others = (_ACTIVATED, tlv.Tlv(0x8B, arr.to_bytes(2, "big") + bytes((self.rule,))))
        if not self.records:
            return files.Fcp(b"\x41\x21", self.file_id, len(self.data), self.sfi, others=others).encode()
        record_bytes, count = len(self.records[0]), len(self.records)
        descriptor = (b"\x46\x21" if self.cyclic else b"\x42\x21") + record_bytes.to_bytes(2, "big") + bytes((count,))
        return files.Fcp(descriptor, self.file_id, record_bytes * count, self.sfi, others=others).encode()


@dataclass(frozen=True)
class Directory:
    """A DF, ADF or the MF. ``aid`` is empty but for an ADF; ``arr``: the file id of its EF.ARR."""

    file_id: int
    aid: bytes = b""
    elementary: tuple[Elementary, ...] = ()
    applications: tuple[Directory, ...] = field(default=())
    arr: int = EF_ARR_MF

    def fcp(self) -> bytes:
        """What SELECT answers."""
        characteristics = (_DF_CHARACTERISTICS,) if self.aid else _MF_CHARACTERISTICS
        others = (
            tlv.Tlv(0xA5, b"".join(characteristics)), _ACTIVATED, tlv.Tlv(0x8B, self.arr.to_bytes(2, "big") + b"\x01"),
            tlv.Tlv(0xC6, _PIN_STATUS),
        )  # fmt: skip
        return files.Fcp(b"\x78\x21", self.file_id, aid=self.aid, others=others).encode()

    def by_file_id(self, file_id: int) -> Elementary | None:
        """The EF directly in this directory."""
        return next((file for file in self.elementary if file.file_id == file_id), None)

    def by_sfi(self, sfi: int) -> Elementary | None:
        """The EF directly in this directory that has this short identifier."""
        return next((file for file in self.elementary if file.sfi == sfi), None)

    def by_aid(self, aid: bytes) -> Directory | None:
        """The first application whose AID begins with ``aid``."""
        return next((adf for adf in self.applications if aid and adf.aid.startswith(aid)), None)
