"""The files of one profile: MF and USIM as modems and SIM tools read them first (ETSI TS 102 221, 13; 3GPP TS 31.102, 4)."""

from __future__ import annotations

from simway_protocol.sim import files, numbering, tlv

from simway_virtual_sim.filesystem import EF_ARR_MF, EF_ARR_USIM, Directory, Elementary
from simway_virtual_sim.state import TEST, Profile

USIM_AID = files.USIM_RID_PIX + bytes.fromhex("FF33FF018900000100")
_EF_PL = 0x2F05
_EF_LI, _EF_UST, _EF_SPN, _EF_AD, _EF_ACC, _EF_EST, _EF_ECC = 0x6F05, 0x6F38, 0x6F46, 0x6FAD, 0x6F78, 0x6F56, 0x6FB7
_EF_HPLMN_SEARCH, _EF_HPLMN_ACT, _EF_FPLMN, _EF_EHPLMN = 0x6F31, 0x6F62, 0x6F7B, 0x6FD9
_EF_KEYS, _EF_KEYS_PS, _EF_START_HFN, _EF_THRESHOLD = 0x6F08, 0x6F09, 0x6F5B, 0x6F5C
_EF_LOCI, _EF_PSLOCI, _EF_EPSLOCI, _EF_EPSNSC = 0x6F7E, 0x6F73, 0x6FE3, 0x6FE4
_EF_MSISDN, _EF_SMSP, _EF_SMS, _EF_SMSS = 0x6F40, 0x6F42, 0x6F3C, 0x6F43
_DIR_RECORD_BYTES, _DIR_RECORDS = 38, 2
_LANGUAGES = b"en"
_ALWAYS, _ADM = b"\x90\x00", bytes.fromhex("A40683010A950108")
_ANY_TECHNOLOGY = 0xC080
"""UTRAN, E-UTRAN and GSM (TS 31.102, 4.2.5)."""
_SERVICES = (10, 12, 19, 21, 43, 71, 85)
"""Services of EF.UST that have their files here: SMS 10, SMSP 12, SPN 19, MSISDN 21, HPLMN selector 43, EHPLMN 71, EPS 85."""
_MNC_DIGITS = 2


def build(profile: Profile | None) -> Directory:
    """The MF of a profile; without one, an MF whose EF.ICCID and EF.DIR are blank."""
    iccid = numbering.encode_iccid(profile.iccid) if profile else b"\xff" * numbering.ICCID_BYTES
    applications = (_usim(profile),) if profile else ()
    return Directory(
        files.MF,
        elementary=(
            Elementary(files.EF_ICCID, iccid, sfi=0x02),
            Elementary(files.EF_DIR, records=_dir_records(applications), sfi=0x1E),
            Elementary(_EF_PL, _LANGUAGES, sfi=0x05),
            Elementary(EF_ARR_MF, records=_access_rules(), sfi=0x06),
        ),
        applications=applications,
    )


def _usim(profile: Profile) -> Directory:
    home = _plmn(profile.imsi)
    operation_mode = 0x80 if profile.profile_class == TEST else 0x00
    return Directory(
        files.ADF,
        USIM_AID,
        arr=EF_ARR_USIM,
        elementary=(
            Elementary(EF_ARR_USIM, records=_access_rules(), sfi=0x17),
            Elementary(files.EF_IMSI, numbering.encode_imsi(profile.imsi), sfi=0x07),
            Elementary(_EF_AD, bytes((operation_mode, 0, 0, _MNC_DIGITS)), sfi=0x03),
            Elementary(_EF_UST, _bits(_SERVICES, 12), sfi=0x04),
            Elementary(_EF_EST, b"\x00", sfi=0x05),
            Elementary(_EF_SPN, b"\x01" + profile.provider.encode("ascii", "replace")[:16].ljust(16, b"\xff")),
            Elementary(_EF_LI, _LANGUAGES, sfi=0x02),
            Elementary(_EF_ACC, (1 << int(profile.imsi[-1])).to_bytes(2, "big"), sfi=0x06),
            Elementary(_EF_HPLMN_SEARCH, b"\x05", sfi=0x12),
            Elementary(_EF_HPLMN_ACT, home + _ANY_TECHNOLOGY.to_bytes(2, "big"), sfi=0x13),
            Elementary(_EF_EHPLMN, home, sfi=0x1D),
            Elementary(_EF_FPLMN, b"\xff" * 12, sfi=0x0D),
            Elementary(_EF_ECC, records=(bytes.fromhex("11F2FF") + b"\xff" * 4 + b"\x00",), sfi=0x01),
            Elementary(_EF_KEYS, b"\x07" + b"\xff" * 32, sfi=0x08),
            Elementary(_EF_KEYS_PS, b"\x07" + b"\xff" * 32, sfi=0x09),
            Elementary(_EF_START_HFN, bytes.fromhex("F00000F00000"), sfi=0x0F),
            Elementary(_EF_THRESHOLD, b"\xff" * 3, sfi=0x10),
            Elementary(_EF_LOCI, b"\xff" * 4 + home + bytes.fromhex("FFFEFF01"), sfi=0x0B),
            Elementary(_EF_PSLOCI, b"\xff" * 7 + home + bytes.fromhex("FFFEFF01"), sfi=0x0C),
            Elementary(_EF_EPSLOCI, b"\xff" * 12 + home + bytes.fromhex("FFFE01"), sfi=0x1E),
            Elementary(_EF_EPSNSC, records=(b"\xff" * 54,), sfi=0x18),
            Elementary(_EF_MSISDN, records=(b"\xff" * 28,)),
            Elementary(_EF_SMSP, records=(b"\xff" * 40,)),
            Elementary(_EF_SMS, records=(b"\x00" + b"\xff" * 175,) * 4),
            Elementary(_EF_SMSS, b"\xff\xff"),
        ),
    )


def _dir_records(applications: tuple[Directory, ...]) -> tuple[bytes, ...]:
    used = [files.DirEntry(adf.aid, "USIM").encode().ljust(_DIR_RECORD_BYTES, b"\xff") for adf in applications]
    return tuple(used + [b"\xff" * _DIR_RECORD_BYTES] * (_DIR_RECORDS - len(used)))


def _access_rules() -> tuple[bytes, ...]:
    """One rule (TS 102 221, 9.2.4): anybody may read and search, ADM 1 alone may update."""
    read, update = tlv.encode(0x80, b"\x01"), tlv.encode(0x80, b"\x02")
    return ((read + _ALWAYS + update + _ADM).ljust(24, b"\xff"),)


def _plmn(imsi: str) -> bytes:
    """MCC and a two-digit MNC (TS 24.008, 10.5.1.3): 99970 is 99 F9 07."""
    mcc, mnc = imsi[:3], imsi[3 : 3 + _MNC_DIGITS]
    return bytes.fromhex(mcc[1] + mcc[0] + "F" + mcc[2] + mnc[1] + mnc[0])


def _bits(numbers: tuple[int, ...], size_bytes: int) -> bytes:
    """Service n is bit (n-1) mod 8, from the lowest, of byte (n-1) div 8."""
    table = bytearray(size_bytes)
    for number in numbers:
        table[(number - 1) // 8] |= 1 << (number - 1) % 8
    return bytes(table)
