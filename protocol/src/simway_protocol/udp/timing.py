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
BACKOFF_MAX = 4
"""Client: how often repetitions double the first wait of other frames."""

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
QUEUE_MIN_US = 10_000
QUEUE_MAX_US = 100_000
"""Client: the bounds of what a queue may add to the base (RFC 6817 has 100 ms)."""
ROUND_SAMPLES = 8
"""Client: round trips in a round at least."""
REBASE_US = 10 * SECOND_US
"""Client: a queue that stands this long at the smallest window is none; what was measured meanwhile becomes the base."""
PACING_BURST = 8
"""Client: frames that may go out at once."""


class RttEstimator:
    """Smoothed round-trip time and retransmission time-out (RFC 6298), in microseconds."""

    __slots__ = ("_backoff", "srtt_us", "var_us")

    def __init__(self) -> None:
        self.srtt_us: int | None = None
        self.var_us = 0
        self._backoff = 0

    def sample(self, rtt_us: int) -> None:
        """Takes one measurement of a frame that was sent once (Karn)."""
        rtt_us = max(rtt_us, 1)
        self._backoff = 0
        if self.srtt_us is None:
            self.srtt_us, self.var_us = rtt_us, rtt_us // 2
            return
        self.var_us += (abs(self.srtt_us - rtt_us) - self.var_us) // 4
        self.srtt_us += (rtt_us - self.srtt_us) // 8

    def back_off(self) -> None:
        """A frame was repeated: until one is measured, others wait as if they had been repeated as often (RFC 6298, 5.5).

        Without this a link that has become slower than the time-out would never be measured again: each frame is repeated.
        """
        self._backoff = min(self._backoff + 1, BACKOFF_MAX)

    def wait_us(self, attempts: int) -> int:
        """How long a DATA frame waits after its transmission number ``attempts`` (from 1)."""
        return backoff_us(self.rto_us, max(attempts, self._backoff + 1))

    @property
    def patience_us(self) -> int:
        """How long a frame that others overtook is waited for."""
        if self.srtt_us is None:
            return self.rto_us
        return self.srtt_us + max(self.srtt_us // 4, 4 * self.var_us)

    @property
    def rto_us(self) -> int:
        """The time-out of a first transmission; where round trips did not vary it leaves room for a queue."""
        if self.srtt_us is None:
            return RTO_INITIAL_US
        beyond_us = max(4 * self.var_us, self.srtt_us // 2)
        return min(max(self.srtt_us + beyond_us, RTO_MIN_US), RTO_MAX_US)


def backoff_us(first_us: int, attempts: int) -> int:
    """How long to wait after transmission number ``attempts`` (from 1): doubled each time, up to ``RTO_MAX_US``."""
    return int(min(first_us << min(attempts - 1, 10), RTO_MAX_US))
