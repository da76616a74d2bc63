"""Whether frames wait behind each other on the way to the server, judged once a round by the shortest round trip in it.

What a radio adds to single frames (scheduling, retransmission, a sleeping cell) spares some frame of each round, a queue spares
none: therefore the shortest of a round stands for it, as RFC 6817 (CURRENT_FILTER) and RFC 9406 (HyStart++) do it. It is compared
with the shortest that was seen without a queue, the base. A base may become wrong for good, when a device moves to a slower
radio: delay that stays although next to nothing is in flight is no queue of this device, and becomes the base.
"""

from __future__ import annotations

from simway_protocol.udp.timing import QUEUE_MAX_US, QUEUE_MIN_US, REBASE_US, ROUND_SAMPLES


class QueueGauge:
    """Takes round trips of DATA alone: a PING does not wait for the log, and would make a base that no DATA reaches."""

    __slots__ = ("_base_us", "_floor_least_us", "_floor_since_us", "_left", "_round_end", "_round_least_us", "standing")

    def __init__(self) -> None:
        self.standing = False
        """Whether a queue stood in the last whole round."""
        self._base_us = 0
        self._round_end, self._round_least_us, self._left = 0, 0, ROUND_SAMPLES
        self._floor_since_us: int | None = None
        self._floor_least_us = 0

    def sample(self, rtt_us: int, serial: int, newest_serial: int, var_us: int) -> bool:
        """Takes the round trip of transmission ``serial``; True at the end of a round, which is judged then.

        A round ends with the first frame that was sent after it began, and not before ``ROUND_SAMPLES`` were taken.
        ``newest_serial``: the last transmission; ``var_us``: how much round trips vary.
        """
        self._base_us = min(self._base_us or rtt_us, rtt_us)
        self._round_least_us = min(self._round_least_us or rtt_us, rtt_us)
        self._left -= 1
        if self._left > 0 or serial < self._round_end:
            return False
        target_us = min(max(self._base_us + 2 * var_us, QUEUE_MIN_US), QUEUE_MAX_US)
        self.standing = self._round_least_us - self._base_us > target_us
        if self._floor_since_us is not None:
            self._floor_least_us = min(self._floor_least_us or self._round_least_us, self._round_least_us)
        self._round_end, self._round_least_us, self._left = newest_serial + 1, 0, ROUND_SAMPLES
        return True

    def rebase(self, at_floor: bool, now_us: int) -> bool:
        """At the end of a round; ``at_floor``: a queue stands although the window is as small as it gets. True: it was none."""
        if not at_floor:
            self._floor_since_us = None
        elif self._floor_since_us is None:
            self._floor_since_us, self._floor_least_us = now_us, 0
        elif now_us - self._floor_since_us >= REBASE_US:
            self._base_us, self.standing, self._floor_since_us = self._floor_least_us, False, None
            return True
        return False
