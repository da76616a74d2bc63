"""What an uplink from the log must be like to be stored at all. Pure. No gateway of this release breaks these rules."""

from __future__ import annotations

from simway_protocol.identity import is_device_id
from simway_protocol.limits import SEQUENCE_MAX
from simway_protocol.messages import Uplink

TEXT_MAX = 64
"""Characters of an epoch, and of a reason for rejection."""


def wrong(uplink: Uplink) -> str:
    """What is wrong with an uplink, for people; empty for one that can be stored."""
    return _wrong_names(uplink) or _wrong_numbers(uplink)


def _wrong_names(uplink: Uplink) -> str:
    if not is_device_id(uplink.device):
        return "the device id is none"
    epoch = uplink.epoch
    if epoch is not None and not (epoch.isalnum() and epoch.isascii() and len(epoch) <= TEXT_MAX):
        return "the epoch is no short hexadecimal text"
    if any(not (reason.isascii() and reason.isprintable() and 0 < len(reason) <= TEXT_MAX) for _, _, reason in uplink.rejected):
        return "a reason for rejection is no short word"
    return ""


def _wrong_numbers(uplink: Uplink) -> str:
    first = uplink.first_seq
    if uplink.readings and (first is None) != (uplink.epoch is None):
        return "epoch and first sequence number come together or not at all"
    if first is not None and not 1 <= first <= SEQUENCE_MAX - len(uplink.readings):
        return "the first sequence number is out of range"
    if any(not 1 <= low <= high <= SEQUENCE_MAX for low, high in uplink.dropped):
        return "a dropped range is none"
    lowest = 0 if uplink.epoch is None else 1
    if any(not lowest <= low <= high <= SEQUENCE_MAX for low, high, _ in uplink.rejected):
        return "a rejected range is none"
    return ""
