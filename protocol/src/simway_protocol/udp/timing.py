"""Every timer and pace of the UDP protocol, named once; the reasons are in docs/protocol.md, "Timers"."""

from __future__ import annotations

SECOND_US = 1_000_000

COOKIE_PERIOD_US = 30 * SECOND_US
"""The parent makes a new cookie period this often and keeps two alive."""
COOKIE_LIFETIME_US = 60 * SECOND_US
"""A cookie older than this is refused."""

IDLE_TIMEOUT_US = 120 * SECOND_US
"""Server: a session that showed no valid frame for this long is over."""
UNCONFIRMED_TIMEOUT_US = 30 * SECOND_US
"""Server: how long a session waits for its first valid frame."""
COMMAND_RTO_US = 1 * SECOND_US
"""Server: first retransmission of COMMAND, CANCEL, CONFIRM and of the validating PING; doubled up to ``RTO_MAX_US``."""
VALIDATION_PINGS_MAX = 6
"""Server: validating PINGs to one address without an answer."""

RTO_INITIAL_US = 1 * SECOND_US
RTO_MIN_US = 250_000
RTO_MAX_US = 15 * SECOND_US

HELLO_WAITS_US = (1 * SECOND_US, 2 * SECOND_US, 4 * SECOND_US, 8 * SECOND_US, 15 * SECOND_US)
"""Client: waits between HELLOs; the last one repeats."""
ATTACH_WAITS_US = (1 * SECOND_US, 2 * SECOND_US, 2 * SECOND_US)
"""Client: waits after each ATTACH; after the last one it begins again with HELLO. Their sum is what a forged CHALLENGE costs."""
UNPROVED_WAIT_MAX_MS = 5_000
"""Client: the most that an unauthenticated BUSY or RESET may make it wait."""
DOUBT_MIN_US = 1 * SECOND_US
DOUBT_MAX_US = 5 * SECOND_US
"""Client: a RESET that fits starts a PING; a session that stays silent this long is over."""
KEEPALIVE_US = 25 * SECOND_US
"""Client: a PING after this long without sending (NAT bindings for UDP live 30 s and more)."""
SILENCE_US = 20 * SECOND_US
"""Client: something waits for an answer and nothing valid came for this long: the session is over."""
LATER_MAX_MS = 300_000
"""Client: the longest pause that one ACK may ask for."""

WINDOW_INITIAL = 8
WINDOW_MAX = 64
"""Client: DATA frames in flight."""
QUEUE_TARGET_US = 10_000
"""Client: round trips longer than the shortest one by more than this, and by more than that itself, are a queue of our making."""
PACING_BURST = 8
"""Client: frames that may go out at once."""


class RttEstimator:
    """Smoothed round-trip time and retransmission time-out (RFC 6298), in microseconds."""

    __slots__ = ("_least_us", "_var_us", "srtt_us")

    def __init__(self) -> None:
        self.srtt_us: int | None = None
        self._var_us = 0
        self._least_us = 0

    def sample(self, rtt_us: int) -> None:
        """Takes one measurement of a frame that was sent once (Karn)."""
        rtt_us = max(rtt_us, 1)
        if self.srtt_us is None:
            self.srtt_us, self._var_us, self._least_us = rtt_us, rtt_us // 2, rtt_us
            return
        self._least_us = min(self._least_us, rtt_us)
        self._var_us += (abs(self.srtt_us - rtt_us) - self._var_us) // 4
        self.srtt_us += (rtt_us - self.srtt_us) // 8

    @property
    def is_queueing(self) -> bool:
        """Whether frames wait on the way, for those before them, longer than they should (RFC 6817, 2.4.2: off the target)."""
        return self.srtt_us is not None and self.srtt_us - self._least_us > max(QUEUE_TARGET_US, self._least_us)

    @property
    def rto_us(self) -> int:
        """The time-out of a first transmission."""
        if self.srtt_us is None:
            return RTO_INITIAL_US
        return min(max(self.srtt_us + 4 * self._var_us, RTO_MIN_US), RTO_MAX_US)


def backoff_us(first_us: int, attempts: int) -> int:
    """How long to wait after transmission number ``attempts`` (from 1): doubled each time, up to ``RTO_MAX_US``."""
    return int(min(first_us << min(attempts - 1, 10), RTO_MAX_US))
