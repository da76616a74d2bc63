"""Lines for people, from plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simway_protocol.errors import PeerError
from simway_protocol.messages import KEEP_ENABLED, KEEP_INSTALLED
from simway_protocol.sim.atr import decode_atr

NO_EUICC = "this SIM is no eUICC: it has one profile for life, and nothing to switch to\n"
_RULES = {KEEP_ENABLED: "may not be disabled", KEEP_INSTALLED: "may not be deleted"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; nothing trails."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def info_lines(facts: Mapping[str, Any]) -> str:
    """``sim info``."""
    lines = [
        ("card", _kind(facts)),
        ("EID", facts["eid"] or "-"),
        ("ICCID", _active(facts)),
        ("IMSI", facts["imsi"] or "- (not to be read: no profile enabled, behind a PIN, or a card without files)"),
        ("profiles", _profiles(facts)),
        ("memory", _memory(facts["euicc"])),
        ("SM-DP+", facts["smdp"]),
        ("waiting", _waiting(facts["notifications"])),
        ("key", key_words(facts["applet_key_version"])),
        ("ATR", atr_words(facts["atr"])),
    ]
    return "".join(f"{name:9} {words}\n" for name, words in lines if words)


def key_words(version: int | None) -> str:
    """Where the device key is. ``version``: None without an applet, 0 for one without a key."""
    if version is None:
        return "no Simway applet on this card: the key belongs into a file (KEY_PROVIDER=file)"
    return f"Simway applet with a key, version {version}" if version else "Simway applet, still without a key"


def atr_words(atr: str) -> str:
    """An answer to reset, in hexadecimal, and what it says; empty for none."""
    if not atr:
        return ""
    try:
        said = decode_atr(bytes.fromhex(atr))
    except (PeerError, ValueError):
        return f"{atr} (not well formed)"
    protocols = ", ".join(f"T={number}" for number in said.protocols)
    return f"{atr} ({', '.join([protocols, *said.voltages])})"


def profile_table(profiles: Sequence[Mapping[str, Any]]) -> str:
    """``sim profiles``: the enabled one carries a star."""
    if not profiles:
        return NO_EUICC
    rows = [
        (
            "*" if profile["state"] == "enabled" else "", profile["iccid"], profile["state"], profile["profile_class"],
            profile["provider"], profile["nickname"] or profile["name"], marks(profile),
        )
        for profile in profiles
    ]  # fmt: skip
    return table(("", "ICCID", "state", "class", "provider", "name", "notes"), rows)


def marks(profile: Mapping[str, Any]) -> str:
    """What one must know of a profile before one touches it."""
    said = ["TEST PROFILE: a risk in the field"] if profile["profile_class"] == "test" else []
    said += ["fallback"] if profile.get("fallback") else []
    said += [_RULES.get(rule, rule) for rule in profile.get("rules", [])]
    return ", ".join(said)


def reader_table(readers: Sequence[Mapping[str, Any]]) -> str:
    """``sim readers``."""
    if not readers:
        return "no reader; plug one in\n"
    rows = [(seen["reader"], seen["card"], seen["iccid"] or "-", seen["provider"] or seen["trouble"]) for seen in readers]
    return table(("reader", "card", "ICCID", "carrier"), rows)


def name_of(profile: Mapping[str, Any]) -> str:
    """A profile in a sentence."""
    called = profile["nickname"] or profile["provider"] or profile["name"]
    return f"{profile['iccid']} ({called})" if called else str(profile["iccid"])


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count:,} bytes" if count < 10_240 else f"{count // 1024:,} KiB"


def _kind(facts: Mapping[str, Any]) -> str:
    if facts["refused"]:
        return f"no eUICC that its device may switch, perhaps one of the M2M kind (SGP.02): {facts['refused']}"
    if not facts["eid"]:
        return "a plain SIM, no eUICC: one profile for life"
    euicc = facts["euicc"] or {}
    said = [f"OS {facts['os_version']}"] if facts["os_version"] else []
    said += [f"SGP.22 {euicc['sgp22']}", f"profile packages {euicc['profile_package']}"] if euicc else []
    return ", ".join(["eUICC", *said])


def _active(facts: Mapping[str, Any]) -> str:
    if not facts["active_iccid"]:
        return "- (no profile is enabled: the device is cut off; simway-modem sim switch enables one)"
    return str(facts["active_iccid"]) if facts["profile"] is None else name_of(facts["profile"])


def _profiles(facts: Mapping[str, Any]) -> str:
    if not facts["eid"]:
        return ""
    test = facts["test_profiles"]
    return f"{facts['profiles']}" + (f", {test} of them of class test: a risk in the field" if test else "")


def _memory(euicc: Mapping[str, Any] | None) -> str:
    return f"{size(euicc['free_bytes'])} free for profiles" if euicc and euicc["free_bytes"] is not None else ""


def _waiting(notifications: int | None) -> str:
    return f"{notifications} notifications for the operators' servers" if notifications else ""
