"""Commands as the device gets them: the canonical body, sealed with the device's key (design, section 8). Pure."""

from __future__ import annotations

from typing import Protocol

from simway_protocol.commands import FLAG_FORCE, SWITCH_FLOOR_MAX_S, Body, BodyType, Kind, command_mac, encode_body
from simway_protocol.identity import derive_device_key
from simway_protocol.messages import Downlink
from simway_protocol.sim.es10c import EnableProfile, ProfileId

CONFIRM_DEADLINES = 3
"""A device starts its deadline anew at boot, at most this often: after so many, a CONFIRM can find nothing to confirm."""


class CommandRow(Protocol):
    """A row of ``commands``, as far as it goes into a body."""

    command_id: str
    device: str
    kind: str
    target_iccid: str
    deadline_s: int
    expires_us: int
    answer_by_us: int
    forced: int


def seal_command(master_secret: bytes, row: CommandRow, counter: int, key_version: int) -> Downlink:
    """The COMMAND. Raises ``LocalError`` when the target is no ICCID."""
    apdus = (EnableProfile(ProfileId.of(row.target_iccid)).encode(),) if row.kind == "switch" else ()
    return _seal(master_secret, row, BodyType.COMMAND, counter, key_version, row.expires_us, apdus)


def seal_cancel(master_secret: bytes, row: CommandRow, counter: int, key_version: int) -> Downlink:
    """The CANCEL of a command, under that command's counter; it is good as long as an answer is waited for."""
    return _seal(master_secret, row, BodyType.CANCEL, counter, key_version, row.answer_by_us)


def seal_confirm(master_secret: bytes, row: CommandRow, counter: int, key_version: int, now_us: int) -> Downlink:
    """The CONFIRM of a switch, under that command's counter, good until the switch's last possible deadline."""
    return _seal(master_secret, row, BodyType.CONFIRM, counter, key_version, last_deadline_us(row, now_us))


def last_deadline_us(row: CommandRow, now_us: int) -> int:
    """When the device has certainly gone back by itself."""
    return max(row.expires_us, now_us) + CONFIRM_DEADLINES * max(row.deadline_s, SWITCH_FLOOR_MAX_S) * 1_000_000


def _seal(
    master_secret: bytes, row: CommandRow, body_type: BodyType, counter: int, key_version: int, expires_us: int,
    apdus: tuple[bytes, ...] = (),
) -> Downlink:  # fmt: skip
    body = encode_body(
        Body(
            body_type, row.device, bytes.fromhex(row.command_id), counter, key_version, expires_us, Kind[row.kind.upper()],
            row.target_iccid, apdus, FLAG_FORCE if row.forced else 0, row.deadline_s,
        )
    )  # fmt: skip
    mac = command_mac(derive_device_key(master_secret, row.device, key_version), body)
    return Downlink(row.device, body_type.name.lower(), row.command_id, counter, expires_us, body, mac)
