"""The files that a card shows: MF, EF.DIR, EF.ICCID and a USIM with EF.IMSI (ETSI TS 102 221, 13; 3GPP TS 31.102).

``build`` makes the tree of one profile; it is read-only, and a new profile's tree appears with the next reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simway_protocol.sim import files, numbering, tlv

from simway_virtual_sim.state import Profile

USIM_AID = files.USIM_RID_PIX + bytes.fromhex("FF33FF0189000001 00".replace(" ", ""))
_EF_AD = 0x6FAD
_EF_SPN = 0x6F46
_DIR_RECORD_BYTES = 38
_DIR_RECORDS = 2
_ACTIVATED = tlv.Tlv(0x8A, b"\x05")
_EF_SECURITY = tlv.Tlv(0x8B, bytes.fromhex("2F0604"))
_DF_SECURITY = tlv.Tlv(0x8B, bytes.fromhex("2F0601"))
_DF_CHARACTERISTICS = tlv.Tlv(0xA5, bytes.fromhex("800171"))
_PIN_STATUS = tlv.Tlv(0xC6, bytes.fromhex("900100830101"))


@dataclass(frozen=True)
class Elementary:
    """An EF. ``records`` empty: transparent, its bytes in ``data``; else linear fixed."""

    file_id: int
    data: bytes = b""
    records: tuple[bytes, ...] = ()
    sfi: int | None = None

    def fcp(self) -> bytes:
        """What SELECT answers."""
        if self.records:
            record_bytes = len(self.records[0])
            descriptor = b"\x42\x21" + record_bytes.to_bytes(2, "big") + bytes((len(self.records),))
            size_bytes = record_bytes * len(self.records)
        else:
            descriptor, size_bytes = b"\x41\x21", len(self.data)
        return files.Fcp(descriptor, self.file_id, size_bytes, self.sfi, others=(_ACTIVATED, _EF_SECURITY)).encode()


@dataclass(frozen=True)
class Directory:
    """A DF, ADF or the MF. ``aid`` is empty but for an ADF."""

    file_id: int
    aid: bytes = b""
    elementary: tuple[Elementary, ...] = ()
    applications: tuple[Directory, ...] = field(default=())

    def fcp(self) -> bytes:
        """What SELECT answers."""
        others = (_DF_CHARACTERISTICS, _ACTIVATED, _DF_SECURITY, _PIN_STATUS)
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


def build(profile: Profile | None) -> Directory:
    """The MF of a profile; without one, an MF whose EF.ICCID and EF.DIR are blank."""
    iccid = numbering.encode_iccid(profile.iccid) if profile else b"\xff" * numbering.ICCID_BYTES
    applications = (_usim(profile),) if profile else ()
    return Directory(
        files.MF,
        elementary=(
            Elementary(files.EF_ICCID, iccid, sfi=0x02),
            Elementary(files.EF_DIR, records=_dir_records(applications), sfi=0x1E),
        ),
        applications=applications,
    )


def _usim(profile: Profile) -> Directory:
    mnc_digits = 2
    return Directory(
        files.ADF,
        USIM_AID,
        elementary=(
            Elementary(files.EF_IMSI, numbering.encode_imsi(profile.imsi), sfi=0x07),
            Elementary(_EF_AD, bytes((0, 0, 0, mnc_digits)), sfi=0x03),
            Elementary(_EF_SPN, b"\x01" + profile.provider.encode("ascii", "replace")[:16].ljust(16, b"\xff")),
        ),
    )


def _dir_records(applications: tuple[Directory, ...]) -> tuple[bytes, ...]:
    used = [files.DirEntry(adf.aid, "USIM").encode().ljust(_DIR_RECORD_BYTES, b"\xff") for adf in applications]
    return tuple(used + [b"\xff" * _DIR_RECORD_BYTES] * (_DIR_RECORDS - len(used)))
