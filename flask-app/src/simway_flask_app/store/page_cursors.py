"""Cursors of pages that are in the order of a number: opaque to callers, and those of one list do not fit another."""

from __future__ import annotations

import base64
import binascii

from simway_flask_app.store.port import BadCursor

_DIGITS_MAX = 18


def encode(mark: str, number: int) -> str:
    """The cursor behind ``number`` of the list ``mark`` (one letter)."""
    return base64.urlsafe_b64encode(f"{mark}{number}".encode()).decode().rstrip("=")


def decode(mark: str, cursor: str) -> int:
    """The number in a cursor; ``BadCursor`` for one that ``encode`` did not make for this list."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        text = ""
    digits = text[1:]
    if text[:1] != mark or not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        raise BadCursor("the cursor is not one that this store gave")
    return int(digits)
