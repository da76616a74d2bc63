"""The same files in the class A0 of GSM SIMs (3GPP TS 51.011, 9): what old modems and tools speak that know no UICC.

Read-only, on the basic channel, with a selection of its own. DF GSM shows the USIM's files that a SIM has too, DF TELECOM its
numbers and messages. Status words are those of TS 51.011: 9Fxx announces an answer, 67xx names the right length.
"""

from __future__ import annotations

from simway_protocol.sim import files
from simway_protocol.sim.apdu import Command, Ins

from simway_virtual_sim.filesystem import Directory, Elementary
from simway_virtual_sim.replies import Refusal

CLASS = 0xA0
_DF_GSM, _DF_TELECOM = 0x7F20, 0x7F10
_EF_SST = 0x6F38
_SERVICES = (4, 9, 12, 17)
"""Of EF.SST (TS 51.011, 10.3.7), with their files: SMS 4, MSISDN 9, SMSP 12, SPN 17."""
_SST_BYTES = 5
_OF_GSM = frozenset({0x6F05, files.EF_IMSI, 0x6F31, 0x6F46, 0x6F62, 0x6F78, 0x6F7B, 0x6F7E, 0x6FAD})
_OF_TELECOM = frozenset({0x6F3C, 0x6F40, 0x6F42, 0x6F43})
_NOT_FOUND, _NO_EF, _WRONG_KIND, _OUT_OF_RANGE = 0x9404, 0x9400, 0x9408, 0x9402
_WRONG_P1_P2, _UNKNOWN_INSTRUCTION, _NOT_ALLOWED = 0x6B00, 0x6D00, 0x9804
_TYPE_MF, _TYPE_DF, _TYPE_EF = 0x01, 0x02, 0x04
_TRANSPARENT, _LINEAR_FIXED = 0x00, 0x01
_ABSOLUTE = 0x04


class GsmSession:
    """From one reset to the next."""

    def __init__(self, mf: Directory) -> None:
        usim = mf.applications[0].elementary if mf.applications else ()
        self._directories = {
            files.MF: mf.elementary,
            _DF_GSM: (*(file for file in usim if file.file_id in _OF_GSM), Elementary(_EF_SST, _service_table())) if usim else (),
            _DF_TELECOM: tuple(file for file in usim if file.file_id in _OF_TELECOM),
        }
        self._directory = files.MF
        self._file: Elementary | None = None
        self._waiting = b""

    def answer(self, command: Command) -> tuple[bytes, int]:
        """One command; data and status word, or ``Refusal``."""
        waiting, self._waiting = self._waiting, b""
        match command.ins:
            case Ins.SELECT:
                self._waiting = self._select(int.from_bytes(command.data, "big"))
                return b"", 0x9F00 | len(self._waiting)
            case Ins.GET_RESPONSE:
                return _cut(waiting, command.le)
            case Ins.STATUS:
                return _cut(self._header(), command.le)
            case Ins.READ_BINARY:
                return self._read_binary(command)
            case Ins.READ_RECORD:
                return self._read_record(command)
            case Ins.UPDATE_BINARY | Ins.UPDATE_RECORD:
                raise Refusal(_NOT_ALLOWED)
        raise Refusal(_UNKNOWN_INSTRUCTION)

    def _select(self, file_id: int) -> bytes:
        if file_id in self._directories:
            self._directory, self._file = file_id, None
            return self._header()
        file = next((file for file in self._directories[self._directory] if file.file_id == file_id), None)
        if file is None:
            raise Refusal(_NOT_FOUND)
        self._file = file
        return _of_file(file)

    def _header(self) -> bytes:
        kind = _TYPE_MF if self._directory == files.MF else _TYPE_DF
        count = len(self._directories[self._directory])
        dfs = len(self._directories) - 1 if kind == _TYPE_MF else 0
        return bytes(4) + self._directory.to_bytes(2, "big") + bytes((kind, *bytes(5), 9, 0x91, dfs, count, 4, 0, 0, 0, 0, 0))

    def _read_binary(self, command: Command) -> tuple[bytes, int]:
        if self._file is None:
            raise Refusal(_NO_EF)
        if self._file.records:
            raise Refusal(_WRONG_KIND)
        offset, length = command.p1 << 8 | command.p2, command.le or 0
        if offset + length > len(self._file.data):
            raise Refusal(_OUT_OF_RANGE if offset >= len(self._file.data) else 0x6700 | len(self._file.data) - offset)
        return self._file.data[offset : offset + length], 0x9000

    def _read_record(self, command: Command) -> tuple[bytes, int]:
        if self._file is None:
            raise Refusal(_NO_EF)
        if not self._file.records:
            raise Refusal(_WRONG_KIND)
        if command.p2 != _ABSOLUTE:
            raise Refusal(_WRONG_P1_P2)
        if not 1 <= command.p1 <= len(self._file.records):
            raise Refusal(_OUT_OF_RANGE)
        return _cut(self._file.records[command.p1 - 1], command.le, whole=True)


def _service_table() -> bytes:
    """Two bits a service, from the lowest: allocated and activated."""
    return sum(0b11 << 2 * (number - 1) for number in _SERVICES).to_bytes(_SST_BYTES, "little")


def _of_file(file: Elementary) -> bytes:
    size_bytes = len(file.data) or sum(map(len, file.records))
    shape = bytes((_LINEAR_FIXED, len(file.records[0]))) if file.records else bytes((_TRANSPARENT, 0))
    return (
        bytes(2)
        + size_bytes.to_bytes(2, "big")
        + file.file_id.to_bytes(2, "big")
        + bytes((_TYPE_EF, 0, 0, 0xFF, 0xFF, 1, 2))
        + shape
    )


def _cut(data: bytes, length: int | None, *, whole: bool = False) -> tuple[bytes, int]:
    wanted = length or 0
    if not data or wanted > len(data) or (whole and wanted != len(data)):
        raise Refusal(0x6700 | len(data) & 0xFF)
    return data[:wanted], 0x9000
