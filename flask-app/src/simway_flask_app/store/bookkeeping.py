"""The part of the store port that keeps the books: what became of every reading, and what was put aside. Rules: see ``port``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from simway_protocol.messages import DeadLetter, Range, Uplink

from simway_flask_app.replays import Facts, Refused

# --- the loss ledger -----------------------------------------------------------------------------------------------------

Only = Literal["unbalanced", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What became of readings: sent = stored + duplicate + conflict + rejected + dropped + missing.

    ``sent``: the highest sequence number of each epoch, or the readings of a sender that numbers nothing. ``missing``: numbers
    below the highest that never came and were not given up; ``redelivered`` stands beside the balance.
    """

    sent: int = 0
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: Mapping[str, int]
    dropped: int = 0
    missing: int = 0
    redelivered: int = 0

    @property
    def balanced(self) -> bool:
        """Whether the sum is right. It always is: anything else is a defect of ours."""
        known = self.stored + self.duplicate + self.conflict + self.dropped + self.missing
        return self.sent == known + sum(self.rejected.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLoss(Balance):
    """One epoch: one life of the device's outbox; empty where the sender numbers nothing.

    Ranges are first to last, both included, sorted. Those up to ``floor`` are only counted: there were too many.
    """

    epoch: str
    first_us: int
    floor: int
    missing_ranges: Sequence[Range] = ()
    dropped_ranges: Sequence[Range] = ()


@dataclass(frozen=True, slots=True)
class LogGap:
    """Records of the log, by offset, both included, that its retention took unread. Whose readings, nobody knows."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    t_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLedger(Balance):
    """The balance of a device. ``epochs``: the oldest first.

    ``log_gaps``: of the device's partition, newest first: what lay there is among the missing once a later number comes.
    """

    device: str
    epochs: Sequence[EpochLoss] = ()
    log_gaps: Sequence[LogGap] = ()

    @property
    def missing_ranges(self) -> dict[str, tuple[Range, ...]]:
        """By epoch, of those epochs where something is missing."""
        return {one.epoch: tuple(one.missing_ranges) for one in self.epochs if one.missing_ranges}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLoss(Balance):
    """The balance of a device among others. ``epochs``: how many it has had."""

    device: str
    epochs: int
    all_balanced: bool
    """Whether each of its epochs is."""


@dataclass(frozen=True, slots=True)
class FleetLoss:
    """The balance of all devices, and a page of them by id. ``devices``: how many ever sent anything."""

    totals: Balance
    devices: int
    unbalanced: int
    incomplete: int
    """How many devices miss something."""
    page: Sequence[DeviceLoss]
    more: bool
    """Whether devices come after the page."""
    log_gaps: Sequence[LogGap]


# --- dead letters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter in the store. ``replayed_us``: when it was put into the log anew, and by whom; None and empty: never."""

    letter_id: int
    letter: DeadLetter
    replayed_us: int | None = None
    replayed_by: str = ""


@dataclass(frozen=True, slots=True)
class LettersPage:
    """Dead letters, those that came last first."""

    letters: list[KeptLetter]
    next_cursor: str | None


Judge = Callable[[DeadLetter, Facts], Sequence[Uplink] | Refused]


class Bookkeeping(Protocol):
    """What the REST API asks of it."""

    def loss_ledger(self, device: str) -> LossLedger:
        """The balance of a device, as of one moment; all zeros for one that sent nothing."""

    def fleet_loss(self, *, limit: int = 100, after: str = "", only: Only | None = None) -> FleetLoss:
        """The balance of all devices, and of those with ids greater than ``after``, as of one moment.

        ``only``: the page holds devices with an unbalanced epoch, or with missing readings. Reads counts, no ranges: some
        0.1 s for 100,000 devices.
        """

    def dead_letters(
        self, *, device: str | None = None, reason: str | None = None, source: str | None = None, from_us: int | None = None,
        to_us: int | None = None, limit: int = 100, cursor: str | None = None,
    ) -> LettersPage:  # fmt: skip
        """Dead letters with ``from_us <= t_us < to_us``, the last kept first. Raises ``BadCursor``."""

    def dead_letter_counts(self, device: str | None = None) -> dict[str, int]:
        """How many are kept now, by reason."""

    def dead_letter(self, letter_id: int) -> KeptLetter:
        """Raises ``UnknownLetter``."""

    def replay_letter(self, letter_id: int, judge: Judge, *, actor: str, now_us: int) -> KeptLetter:
        """Queues what the letter holds for the log, once: a letter that was replayed is answered as it is.

        ``judge`` says what is to be queued, by facts of the same transaction. Raises ``UnknownLetter`` and ``LetterRefused``.
        """
