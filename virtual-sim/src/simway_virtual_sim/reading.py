"""SELECT, STATUS, READ BINARY and READ RECORD on the card's files (ETSI TS 102 221, 11.1.1 to 11.1.5)."""

from __future__ import annotations

from simway_protocol.sim import files, status, tlv
from simway_protocol.sim.apdu import Command

from simway_virtual_sim.channels import Channel
from simway_virtual_sim.filesystem import Directory, Elementary
from simway_virtual_sim.replies import Refusal, wrong_length

_NO_DATA = 0x0C
_NAME_ALONE = 0x01
_BY_FILE_ID, _PARENT, _FROM_MF, _FROM_CURRENT = 0x00, 0x03, 0x08, 0x09
_NO_CURRENT_EF = status.COMMAND_NOT_ALLOWED
_WRONG_STRUCTURE = 0x6981
_NEXT, _PREVIOUS, _ABSOLUTE = 0x02, 0x03, 0x04


def answers_data(command: Command) -> bool:
    """Whether P2 of a SELECT or STATUS asks for a template."""
    return command.p2 & _NO_DATA != _NO_DATA


def select_file(mf: Directory, channel: Channel, command: Command) -> bytes:
    """SELECT by file id (P1 00), of the parent (03), or by path from the MF (08) or the current directory (09)."""
    data = command.data
    if command.p1 not in (_BY_FILE_ID, _PARENT, _FROM_MF, _FROM_CURRENT):
        raise Refusal(status.WRONG_P1_P2)
    if command.p1 == _PARENT:
        data = files.MF.to_bytes(2, "big")
    if not data or len(data) % 2 or (command.p1 == _BY_FILE_ID and len(data) != 2):
        raise Refusal(status.LC_INCONSISTENT)
    directory = mf if command.p1 == _FROM_MF else channel.directory
    file: Elementary | None = None
    for at in range(0, len(data), 2):
        directory, file = _step(mf, directory, channel, int.from_bytes(data[at : at + 2], "big"))
    _enter(channel, directory, file)
    return _template(channel, command)


def select_adf(channel: Channel, adf: Directory, command: Command) -> bytes:
    """SELECT by AID of a file-system application."""
    channel.application = adf
    _enter(channel, adf, None)
    return _template(channel, command)


def read_status(channel: Channel, command: Command) -> bytes:
    """STATUS: the template of the current directory, its AID alone (P2 01), or nothing (0C)."""
    if command.p2 == _NAME_ALONE:
        return tlv.encode(0x84, channel.directory.aid) if channel.directory.aid else b""
    return channel.directory.fcp() if answers_data(command) else b""


def read_binary(channel: Channel, command: Command) -> bytes:
    """READ BINARY; 6Cxx names what is left of the file when more is asked for."""
    file = channel.file
    offset = (command.p1 & 0x7F) << 8 | command.p2
    if command.p1 & 0x80:
        file, offset = _by_sfi(channel, command.p1 & 0x1F), command.p2
    if file is None:
        raise Refusal(_NO_CURRENT_EF)
    if file.records:
        raise Refusal(_WRONG_STRUCTURE)
    if offset >= len(file.data):
        raise Refusal(status.WRONG_OFFSET)
    length, left = command.le or 0, len(file.data) - offset
    if not 0 < length <= left:
        raise wrong_length(min(left, 256))
    return file.data[offset : offset + length]


def read_record(channel: Channel, command: Command) -> bytes:
    """READ RECORD: absolute, next or previous; 6Cxx names the record's length."""
    sfi = command.p2 >> 3
    file = _by_sfi(channel, sfi) if sfi else channel.file
    if file is None:
        raise Refusal(_NO_CURRENT_EF)
    if not file.records:
        raise Refusal(_WRONG_STRUCTURE)
    number = _record_number(channel, command, len(file.records))
    record = file.records[number - 1]
    if command.le != len(record):
        raise wrong_length(len(record))
    if command.p2 & 0x07 != _ABSOLUTE:
        channel.record = number
    return record


def refuse_update(_channel: Channel, _command: Command) -> bytes:
    """UPDATE BINARY and UPDATE RECORD: 6982, since nobody can have shown ADM 1."""
    raise Refusal(status.SECURITY_STATUS_NOT_SATISFIED)


def _record_number(channel: Channel, command: Command, count: int) -> int:
    match command.p2 & 0x07, command.p1:
        case 0x04, 0:
            number = channel.record
        case 0x04, named:
            number = named
        case 0x02, 0:
            number = channel.record + 1
        case 0x03, 0:
            number = channel.record - 1 if channel.record else count
        case _:
            raise Refusal(status.WRONG_P1_P2)
    if not 1 <= number <= count:
        raise Refusal(status.RECORD_NOT_FOUND)
    return number


def _step(mf: Directory, directory: Directory, channel: Channel, file_id: int) -> tuple[Directory, Elementary | None]:
    if file_id == files.MF:
        return mf, None
    if file_id == files.ADF:
        if channel.application is None:
            raise Refusal(status.FILE_NOT_FOUND)
        return channel.application, None
    file = directory.by_file_id(file_id)
    if file is None:
        raise Refusal(status.FILE_NOT_FOUND)
    return directory, file


def _enter(channel: Channel, directory: Directory, file: Elementary | None) -> None:
    channel.directory, channel.session = directory, None
    _choose(channel, file)


def _choose(channel: Channel, file: Elementary | None) -> None:
    channel.file, channel.record = file, 0


def _template(channel: Channel, command: Command) -> bytes:
    if not answers_data(command):
        return b""
    return channel.directory.fcp() if channel.file is None else channel.file.fcp(channel.directory.arr)


def _by_sfi(channel: Channel, sfi: int) -> Elementary:
    file = channel.directory.by_sfi(sfi)
    if file is None:
        raise Refusal(status.FILE_NOT_FOUND)
    if file is not channel.file:
        _choose(channel, file)
    return file
