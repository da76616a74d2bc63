"""What goes over the REST API of the loss ledger and the dead letters, in and out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from simway_flask_app.web import limits
from simway_flask_app.web.fields import Cursor, DeviceId, NextCursor, Time, TimeParameter, TimeUs
from simway_flask_app.web.schemas_readings import Reading

_Word = Annotated[str, Meta(pattern="^[a-z_]{1,64}$")]

# --- in ----------------------------------------------------------------------------------------------------------------


class LossQuery(Struct, forbid_unknown_fields=True):
    """Which devices; the totals are of all of them."""

    limit: Annotated[int, Meta(ge=1, le=limits.LOSS_LIMIT_MAX)] = limits.LOSS_LIMIT_DEFAULT
    only: Annotated[Literal["unbalanced", "missing"], Meta(description="devices with such an epoch; none means all")] | None = (
        None
    )
    cursor: Cursor | None = None


class DeadLettersQuery(Struct, forbid_unknown_fields=True):
    """Which dead letters: ``from <= time < to``."""

    device: Annotated[DeviceId, Meta(description="of this device; none means all, and those of no known device")] | None = None
    reason: Annotated[_Word, Meta(description="too_old, conflict, corrupt_record, ...")] | None = None
    source: Annotated[_Word, Meta(description="who put it aside: admit (a gateway), recorder, dispatcher, ...")] | None = None
    from_: TimeParameter | None = field(name="from", default=None)
    to: TimeParameter | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.LETTERS_LIMIT_MAX)] = limits.LETTERS_LIMIT_DEFAULT
    cursor: Cursor | None = None


class DeadLetterCountsQuery(Struct, forbid_unknown_fields=True):
    """Of what device."""

    device: Annotated[DeviceId, Meta(description="of this device; none means all")] | None = None


# --- the loss ledger -----------------------------------------------------------------------------------------------------


class MissingRange(Struct):
    """Sequence numbers of one epoch, both ends included."""

    epoch: str
    first: int
    last: int


class Balance(Struct):
    """What became of readings: sent = stored + duplicate + conflict + rejected (by reason) + dropped + missing.

    ``sent``: the highest sequence number of each epoch that was heard of: what still waits in a device's outbox is not missing
    unless something later came. Where a sender numbers nothing, its accepted readings. ``redelivered`` stands beside the balance.
    """

    sent: int
    stored: int
    duplicate: int
    conflict: int
    rejected: dict[str, int]
    dropped: int
    missing: int
    redelivered: int
    balanced: bool


class EpochLoss(Balance):
    """One epoch, one life of a device's outbox; empty where the sender numbers nothing. Up to ``floor`` numbers are only
    counted, not told apart: there were too many gaps.
    """

    epoch: str
    first_at: Time
    first_us: TimeUs
    floor: int
    missing_ranges: list[tuple[int, int]]
    dropped_ranges: list[tuple[int, int]]


class LogGap(Struct):
    """Records of the log (offsets, both included) that its retention took before they were read: whose readings, nobody knows."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    time: Time
    t_us: TimeUs


class LossLedger(Balance):
    """What became of every reading of a device. ``epochs``: the oldest first; ``log_gaps``: of the partition that it shares with
    other devices, the newest first, beside the balance.
    """

    device: DeviceId
    missing_ranges: list[MissingRange]
    epochs: list[EpochLoss]
    log_gaps: list[LogGap]


class DeviceLoss(Balance):
    """The balance of one device. ``epochs``: how many it has had."""

    device: DeviceId
    epochs: int


class LossTotals(Balance):
    """The balance of all devices. ``devices``: those that ever sent anything; ``unbalanced_devices`` is 0, else we have a
    defect.
    """

    devices: int
    unbalanced_devices: int
    missing_devices: int


class FleetLoss(Struct):
    """The balance of all devices as of one moment, a page of them, and what retention of the log took, newest first."""

    totals: LossTotals
    devices: list[DeviceLoss]
    next_cursor: NextCursor
    log_gaps: list[LogGap]


# --- dead letters --------------------------------------------------------------------------------------------------------


class DeadLetter(Struct):
    """What could not be admitted or stored. ``reading``: where it is one; ``payload_bytes``: of what else was kept of it.

    ``device`` is empty where nobody knows it, ``epoch`` and ``seq`` null where nothing was numbered.
    """

    id: int
    time: Time
    t_us: TimeUs
    source: str
    reason: str
    device: str
    gateway: str
    epoch: str | None
    seq: int | None
    detail: str
    reading: Reading | None
    payload_bytes: int
    replayed_at: Time | None
    replayed_us: TimeUs | None
    replayed_by: str


class DeadLetterWhole(DeadLetter):
    """A dead letter with what was kept of it. ``payload_form``: what ``payload`` was decoded from; empty where it does not
    decode: then only ``payload_base64`` has it.
    """

    payload_base64: Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]
    payload_form: Literal["cbor", "json", "text", ""]
    payload: Any


class DeadLettersPage(Struct):
    """Dead letters, those that came last first."""

    dead_letters: list[DeadLetter]
    next_cursor: NextCursor


class DeadLetterCounts(Struct):
    """How many are kept now."""

    total: int
    by_reason: dict[str, int]
