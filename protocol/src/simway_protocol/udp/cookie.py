"""The stateless cookie of CHALLENGE: all that the server must remember between CHALLENGE and ATTACH, sealed and handed out."""

from __future__ import annotations

from typing import NamedTuple


class CookiePeriod(NamedTuple):
    """Secrets of one cookie period: 32 random bytes each, made by the parent and shared by its workers."""

    started_us: int
    cookie_key: bytes
    share_private: bytes
