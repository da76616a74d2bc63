"""Which trace something belongs to, as it travels: the header ``traceparent`` of W3C Trace Context (level 1, section 3.2).

00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01        version, trace id, span id, flags; 01 is: sampled
"""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLED = 0x01
TRACE_ID_BITS, SPAN_ID_BITS = 128, 64
_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?\Z"
)


class TraceContext(NamedTuple):
    """A span, by the trace that it is part of. Neither id is 0."""

    trace_id: int
    span_id: int
    sampled: bool = True

    @property
    def trace_hex(self) -> str:
        """The trace id as people and log lines write it: 32 hexadecimal digits."""
        return f"{self.trace_id:032x}"

    def encode(self) -> str:
        """The header's value, version 00."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{SAMPLED if self.sampled else 0:02x}"


def parse(text: str) -> TraceContext | None:
    """The context that ``text`` names; None for what is no ``traceparent``, which section 4.3 says to ignore.

    A version above 00 is read by the fields of version 00, and may say more behind them (section 3.2.4).
    """
    match = _FORM.match(text)
    if match is None or match["version"] == "ff" or (match["rest"] and match["version"] == "00"):
        return None
    trace_id, span_id = int(match["trace"], 16), int(match["span"], 16)
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(match["flags"], 16) & SAMPLED))
