"""What crossed the card, in names, status words and times: evidence that holds no byte of data, so no secret."""

from __future__ import annotations

from typing import Any, NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import applet, es10b, es10c, euicc_info, memory_reset, store_data, tlv
from simway_protocol.sim.apdu import Command, Ins
from simway_protocol.sim.status import hex_of

_NAMES: dict[int, str] = {ins: ins.name.replace("_", " ") for ins in Ins} | {
    0x04: "DEACTIVATE FILE", 0x20: "VERIFY PIN", 0x24: "CHANGE PIN", 0x26: "DISABLE PIN", 0x28: "ENABLE PIN", 0x2C: "UNBLOCK PIN",
    0x32: "INCREASE", 0x44: "ACTIVATE FILE", 0x82: "EXTERNAL AUTHENTICATE", 0x84: "GET CHALLENGE", 0x88: "AUTHENTICATE",
    0x89: "AUTHENTICATE", 0xA2: "SEARCH RECORD", 0xCB: "GET DATA", 0xD6: "UPDATE BINARY", 0xDC: "UPDATE RECORD",
}  # fmt: skip
CARD_INS = frozenset(Ins)
"""Instructions that mean the same whichever application is selected."""
_APPLET_NAMES: dict[int, str] = {ins: ins.name.replace("_", " ") for ins in applet.Ins}
FILES = {0x3F00: "MF", 0x2F00: "EF.DIR", 0x2FE2: "EF.ICCID", 0x6F07: "EF.IMSI", 0x7FFF: "ADF"}
_APPLICATIONS = {es10c.ISD_R_AID: "ISD-R", applet.AID: "Simway applet"}
FUNCTIONS = {
    es10c.TAG_GET_EID: "GetEID",
    es10c.TAG_GET_PROFILES_INFO: "GetProfilesInfo",
    es10c.TAG_SET_NICKNAME: "SetNickname",
    es10c.TAG_ENABLE_PROFILE: "EnableProfile",
    es10c.TAG_DISABLE_PROFILE: "DisableProfile",
    es10c.TAG_DELETE_PROFILE: "DeleteProfile",
    memory_reset.TAG_MEMORY_RESET: "eUICCMemoryReset",
    euicc_info.TAG_GET_EUICC_INFO_1: "GetEUICCInfo1",
    euicc_info.TAG_GET_EUICC_INFO_2: "GetEUICCInfo2",
    euicc_info.TAG_GET_CHALLENGE: "GetEUICCChallenge",
    euicc_info.TAG_SET_DEFAULT_SMDP: "SetDefaultDpAddress",
    es10b.TAG_RETRIEVE_NOTIFICATIONS: "RetrieveNotificationsList",
    euicc_info.TAG_GET_RAT: "GetRAT",
    es10b.TAG_LIST_NOTIFICATION: "ListNotification",
    es10b.TAG_NOTIFICATION_SENT: "RemoveNotificationFromList",
    euicc_info.TAG_GET_ADDRESSES: "GetEuiccConfiguredAddresses",
}


class Exchange(NamedTuple):
    """One APDU and its status word. ``duration_us``: from sending it to having its answer; ``sw`` None where none came."""

    name: str
    sw: int | None
    duration_us: int

    def evidence(self) -> dict[str, Any]:
        """As RESULT carries it: ``{"name", "sw", "ms"}``; ``sw`` is empty where the answer was lost."""
        return {"name": self.name, "sw": "" if self.sw is None else hex_of(self.sw), "ms": round(self.duration_us / 1000, 2)}


def name_of(apdu: bytes, *, in_applet: bool = False) -> str:
    """What a command is called, with the file, application or ES10 function that it is about.

    ``in_applet``: the Simway applet is selected, whose instructions other applications use in another sense.
    """
    try:
        command = Command.decode(apdu)
    except PeerError:
        return "malformed APDU"
    if in_applet and command.proprietary and command.ins in _APPLET_NAMES:
        return _APPLET_NAMES[command.ins]
    name = _NAMES.get(command.ins, f"INS {command.ins:02X}")
    about = _about(command)
    return f"{name} {about}" if about else name


def application_of(apdu: bytes) -> bytes | None:
    """The AID that a SELECT names; None for any other command."""
    try:
        command = Command.decode(apdu)
    except PeerError:
        return None
    return command.data if command.ins == Ins.SELECT and command.p1 == 0x04 else None


def _about(command: Command) -> str:
    if command.ins == Ins.SELECT and command.p1 == 0x04:
        return _APPLICATIONS.get(command.data, command.data.hex().upper())
    if command.ins == Ins.SELECT:
        return FILES.get(int.from_bytes(command.data, "big"), command.data.hex().upper())
    if command.ins == Ins.MANAGE_CHANNEL:
        return "close" if command.p1 & 0x80 else "open"
    if command.ins == Ins.STORE_DATA:
        return _function(command) if command.p2 == 0 else f"block {command.p2}"
    return ""


def _function(command: Command) -> str:
    try:
        tag = tlv.decode_tag(command.data)
    except PeerError:
        return "" if command.p1 == store_data.P1_LAST else "block 0"
    return FUNCTIONS.get(tag, f"{tag:X}")
