"""SELECT, STATUS, READ BINARY and READ RECORD on the card's files (ETSI TS 102 221, 11.1.1 to 11.1.5)."""

from __future__ import annotations

from simway_protocol.sim import files, status
from simway_protocol.sim.apdu import Command

from simway_virtual_sim.channels import Channel
from simway_virtual_sim.filesystem import Directory, Elementary
from simway_virtual_sim.replies import Refusal, wrong_length

_NO_DATA = 0x0C
_NO_CURRENT_EF = status.COMMAND_NOT_ALLOWED
_WRONG_STRUCTURE = 0x6981
_ABSOLUTE = 0x04


def answers_data(command: Command) -> bool:
    """Whether P2 of a SELECT or STATUS asks for a template."""
    return command.p2 & _NO_DATA != _NO_DATA


def select_file(mf: Directory, channel: Channel, command: Command) -> bytes:
    """SELECT by file id (P1 00), or by path from the MF (08) or the current directory (09)."""
    data = command.data
    if not data or len(data) % 2 or (command.p1 == 0x00 and len(data) != 2):
        raise Refusal(status.LC_INCONSISTENT)
    directory = mf if command.p1 == 0x08 else channel.directory
    file: Elementary | None = None
    for at in range(0, len(data), 2):
        directory, file = _step(mf, directory, channel, int.from_bytes(data[at : at + 2], "big"))
    channel.directory, channel.file, channel.session = directory, file, None
    return _template(directory, file, command)


def select_adf(channel: Channel, adf: Directory, command: Command) -> bytes:
    """SELECT by AID of a file-system application."""
    channel.directory, channel.file, channel.session = adf, None, None
    return _template(adf, None, command)


def read_status(channel: Channel, command: Command) -> bytes:
    """STATUS: the template of the current directory."""
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
    """READ RECORD in absolute mode; 6Cxx names the record's length."""
    sfi = command.p2 >> 3
    file = _by_sfi(channel, sfi) if sfi else channel.file
    if file is None:
        raise Refusal(_NO_CURRENT_EF)
    if not file.records:
        raise Refusal(_WRONG_STRUCTURE)
    if command.p2 & 0x07 != _ABSOLUTE or command.p1 == 0:
        raise Refusal(status.WRONG_P1_P2)
    if command.p1 > len(file.records):
        raise Refusal(status.RECORD_NOT_FOUND)
    record = file.records[command.p1 - 1]
    if command.le != len(record):
        raise wrong_length(len(record))
    return record


def _step(mf: Directory, directory: Directory, channel: Channel, file_id: int) -> tuple[Directory, Elementary | None]:
    if file_id == files.MF:
        return mf, None
    if file_id == files.ADF:
        if not channel.directory.aid:
            raise Refusal(status.FILE_NOT_FOUND)
        return channel.directory, None
    file = directory.by_file_id(file_id)
    if file is None:
        raise Refusal(status.FILE_NOT_FOUND)
    return directory, file


def _template(directory: Directory, file: Elementary | None, command: Command) -> bytes:
    if not answers_data(command):
        return b""
    return directory.fcp() if file is None else file.fcp()


def _by_sfi(channel: Channel, sfi: int) -> Elementary:
    file = channel.directory.by_sfi(sfi)
    if file is None:
        raise Refusal(status.FILE_NOT_FOUND)
    channel.file = file
    return file
