"""What a device says in RESULT, made safe for the log: JSON can hold it, PostgreSQL can store it, and it is bounded. Pure."""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec
from simway_protocol.limits import INT64_MAX, INT64_MIN
from simway_protocol.messages import Profile

DEPTH_MAX = 8
ITEMS_MAX = 256
TEXT_MAX_CHARS = 4_096
PROFILES_MAX = 64
STATES = frozenset({"enabled", "disabled"})
CLASSES = frozenset({"test", "provisioning", "operational", "unknown"})


class InventoryFields(msgspec.Struct):
    """The ``inventory`` of an evidence map."""

    eid: str
    active_iccid: str
    profiles: list[Profile] = []
    os_version: str = ""
    smdp: str = ""


def clean(value: Any, depth_left: int = DEPTH_MAX) -> Any:
    """``value`` as JSON can say it: bytes as hexadecimal text, NaN and infinities as text, NUL and surrogates replaced, cut off
    where it is too deep, too long or of another kind. Never raises.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | str | bytes):
        return _clean_scalar(value)
    if depth_left == 0 or not isinstance(value, dict | list | tuple):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        items = list(value.items())[:ITEMS_MAX]
        return {clean_text(key if isinstance(key, str) else ascii(key)): clean(item, depth_left - 1) for key, item in items}
    return [clean(item, depth_left - 1) for item in value[:ITEMS_MAX]]


def _clean_scalar(value: float | str | bytes) -> Any:
    if isinstance(value, int):
        return value if INT64_MIN <= value <= INT64_MAX else "out of range"
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return clean_text(value) if isinstance(value, str) else value[:TEXT_MAX_CHARS].hex()


def clean_text(text: str, chars_max: int = TEXT_MAX_CHARS) -> str:
    """Text without NUL and surrogates, cut off at ``chars_max``."""
    return text[:chars_max].replace("\x00", "\ufffd").encode(errors="replace").decode()


def inventory_of(evidence: dict[str, Any]) -> InventoryFields | None:
    """The inventory in a cleaned evidence map; None when there is none or it breaks a rule (docs/protocol.md, section 8)."""
    try:
        found = msgspec.convert(evidence.get("inventory"), InventoryFields)
    except msgspec.ValidationError:
        return None
    if not all(profile.state in STATES and profile.profile_class in CLASSES for profile in found.profiles):
        return None
    found.profiles = found.profiles[:PROFILES_MAX]
    return found
