"""Errors of the codecs. Each says whose fault it was; the message is safe to show and holds no secret."""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of what this package raises."""


class PeerError(ProtocolError):
    """The bytes that came in are wrong: the peer's fault.

    ``reason`` is a short constant for counters (``bad_cbor``, ``replayed``, ...), the text is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class LocalError(ProtocolError):
    """A value handed to an encoder cannot be sent: the caller's fault."""
