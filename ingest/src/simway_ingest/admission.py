"""``admit()``: what becomes of the readings of one frame or request. Pure: the clock is an argument, the answer a value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import cbor2
from simway_protocol.limits import (
    FUTURE_MAX_US,
    INT64_MAX,
    INT64_MIN,
    RANGES_MAX_PER_FRAME,
    RAW_RETENTION_US,
    READINGS_MAX_PER_UPLINK,
    SEQUENCE_MAX,
)
from simway_protocol.messages import DeadLetter, Range, RejectedRange, Uplink
from simway_protocol.outcomes import Outcome, Reason
from simway_protocol.readings import Reading, Refusal
from simway_protocol.senml import Entry, resolve

Verdict = tuple[int, int, Outcome, str]
"""First and last sequence number, the outcome, and the reason of a rejection (else empty)."""

_PAYLOAD_MAX_BYTES = 4_096
_EPOCH_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


class Admission(NamedTuple):
    """What is to be done with one frame.

    ``uplinks``: for the log, in order; one, unless refusals split the run of numbers; none when there is nothing to say.
    ``verdicts``: what the sender is told once *all* uplinks are durable, not before; empty for a sender that numbers nothing.
    ``refusals``: position in the input and why, for gateways that answer per reading. ``letters``: for ``dead-letter``.
    """

    uplinks: list[Uplink]
    verdicts: list[Verdict]
    refusals: Sequence[tuple[int, Refusal]] = ()
    letters: Sequence[DeadLetter] = ()


class Origin(NamedTuple):
    """Whose readings they are. ``epoch`` (16 hexadecimal digits) and ``first_seq`` are None for a sender that numbers nothing."""

    device: str
    gateway: str
    epoch: str | None = None
    first_seq: int | None = None


def admit_pack(
    records: Sequence[Any],
    origin: Origin,
    dropped: Sequence[Range],
    now_us: int,
    retention_us: int = RAW_RETENTION_US,
) -> Admission:
    """Admits a SenML pack with CBOR's integer labels, as a DATA frame carries it. Never raises, whatever the records are."""
    relative_to_us = now_us if origin.epoch is None else None
    entries = resolve(records[:READINGS_MAX_PER_UPLINK], relative_to_us)
    if len(records) > READINGS_MAX_PER_UPLINK:
        entries += [Refusal(Reason.TOO_MANY, _TOO_MANY, record) for record in records[READINGS_MAX_PER_UPLINK:]]
    return admit(entries, origin, dropped, now_us, retention_us)


_TOO_MANY = f"more than {READINGS_MAX_PER_UPLINK} readings at once"


def admit(
    entries: Sequence[Entry],
    origin: Origin,
    dropped: Sequence[Range],
    now_us: int,
    retention_us: int = RAW_RETENTION_US,
) -> Admission:
    """Admits resolved readings; ``entries[i]`` has the number ``first_seq + i``.

    The entries keep the rules of ``readings`` already (``senml`` and ``plain`` see to it); here their times are held against
    the clock (not before ``retention_us`` ago, not more than a day ahead) and their number and numbering against the limits.
    """
    device, gateway, epoch, first_seq = origin
    if epoch is not None:
        if not _is_numbering(epoch, first_seq, len(entries)):
            return _refuse_all(origin, now_us)
        if dropped and not _are_ranges(dropped, first_seq or 0, len(entries)):
            rest = admit(entries, origin, (), now_us, retention_us)
            return rest._replace(letters=[*rest.letters, _bad_sequence(origin, f"dropped {dropped!a:.200}", now_us)])
    oldest_us, newest_us = now_us - retention_us, now_us + FUTURE_MAX_US
    if len(entries) > READINGS_MAX_PER_UPLINK:
        return _admit_mixed(entries, origin, dropped, now_us, oldest_us)
    for entry in entries:
        if type(entry) is not Reading or not oldest_us <= entry[1] <= newest_us:
            return _admit_mixed(entries, origin, dropped, now_us, oldest_us)
    verdicts: list[Verdict] = []
    if first_seq is not None and entries:
        verdicts.append((first_seq, first_seq + len(entries) - 1, Outcome.LOGGED, ""))
    if dropped:
        verdicts += _verdicts_of_dropped(dropped)
    if not entries and not dropped:
        return Admission([], verdicts)
    given_up = list(dropped) if dropped else []
    return Admission([Uplink(device, gateway, now_us, epoch, first_seq, entries, given_up)], verdicts)  # type: ignore[arg-type]


def _is_numbering(epoch: str, first_seq: int | None, count: int) -> bool:
    return (
        first_seq is not None
        and 1 <= first_seq <= SEQUENCE_MAX - count
        and len(epoch) == _EPOCH_DIGITS
        and _HEX.issuperset(epoch)
    )


def _are_ranges(dropped: Sequence[Range], first_seq: int, count: int) -> bool:
    """Whether dropped ranges can be: few enough, in bounds, and none of them about a reading that is here."""
    return len(dropped) <= RANGES_MAX_PER_FRAME and all(
        1 <= first <= last <= SEQUENCE_MAX and (last < first_seq or first >= first_seq + count) for first, last in dropped
    )


def _refuse_all(origin: Origin, now_us: int) -> Admission:
    """Numbers that cannot be leave nothing that could be told by number: the frame is kept as a dead letter and not answered."""
    return Admission([], [], letters=[_bad_sequence(origin, f"epoch {origin.epoch!a:.40}, first {origin.first_seq}", now_us)])


def _bad_sequence(origin: Origin, detail: str, now_us: int) -> DeadLetter:
    return DeadLetter("admit", Reason.BAD_SEQUENCE, now_us, origin.device, origin.gateway, detail=detail)


def _verdicts_of_dropped(dropped: Sequence[Range]) -> list[Verdict]:
    return [(first, last, Outcome.LOGGED, "") for first, last in dropped]


def _admit_mixed(entries: Sequence[Entry], origin: Origin, dropped: Sequence[Range], now_us: int, oldest_us: int) -> Admission:
    judged = [_judge(entry, oldest_us, now_us, index) for index, entry in enumerate(entries)]
    refusals = [(index, entry) for index, entry in enumerate(judged) if type(entry) is Refusal]
    letters = [_letter(refusal, origin, index, now_us) for index, refusal in refusals]
    device, gateway, epoch, first_seq = origin
    if epoch is None or first_seq is None:
        accepted = [entry for entry in judged if type(entry) is Reading]
        uplinks = [Uplink(device, gateway, now_us, readings=accepted)] if accepted else []
        return Admission(uplinks, [], refusals, letters)
    uplinks, verdicts, rejected = [], [], []
    seq = first_seq
    for reason, group in groupby(judged, key=lambda entry: entry.reason if type(entry) is Refusal else None):
        run = list(group)
        last = seq + len(run) - 1
        if reason is None:
            uplinks.append(Uplink(device, gateway, now_us, epoch, seq, run))  # type: ignore[arg-type]
            verdicts.append((seq, last, Outcome.LOGGED, ""))
        else:
            rejected.append((seq, last, reason.value))
            verdicts.append((seq, last, Outcome.REJECTED, reason.value))
        seq = last + 1
    _tell(uplinks, origin, dropped, rejected, now_us)
    return Admission(uplinks, verdicts + _verdicts_of_dropped(dropped), refusals, letters)


def _tell(uplinks: list[Uplink], origin: Origin, dropped: Sequence[Range], rejected: list[RejectedRange], now_us: int) -> None:
    """Says the dropped and rejected ranges once, in the first uplink; in one without readings where all were refused."""
    if not uplinks:
        uplinks.append(Uplink(origin.device, origin.gateway, now_us, origin.epoch, origin.first_seq))
    uplinks[0].dropped, uplinks[0].rejected = list(dropped), rejected


def _judge(entry: Entry, oldest_us: int, now_us: int, index: int) -> Entry:
    if type(entry) is not Reading:
        return entry
    if index >= READINGS_MAX_PER_UPLINK:
        return Refusal(Reason.TOO_MANY, _TOO_MANY, entry)
    if entry.t_us < oldest_us:
        return Refusal(Reason.TOO_OLD, "before raw retention", entry)
    if entry.t_us > now_us + FUTURE_MAX_US:
        return Refusal(Reason.IN_FUTURE, "more than a day ahead", entry)
    return entry


def _letter(refusal: Refusal, origin: Origin, index: int, now_us: int) -> DeadLetter:
    """The dead letter of a refusal: the reading where it is sound, else the raw item as CBOR, cut off where it is large."""
    letter = DeadLetter(
        "admit", refusal.reason, now_us, origin.device, origin.gateway, origin.epoch,
        None if origin.first_seq is None else origin.first_seq + index, refusal.detail,
    )  # fmt: skip
    if type(refusal.raw) is Reading and INT64_MIN <= refusal.raw.t_us <= INT64_MAX:
        letter.reading = refusal.raw
    else:
        letter.payload = _as_cbor(refusal.raw)
    return letter


def _as_cbor(item: Any) -> bytes:
    try:
        return cbor2.dumps(item)[:_PAYLOAD_MAX_BYTES]
    except Exception:  # cbor2 raises many kinds; what cannot be encoded (lone surrogates, say) is kept as text
        return ascii(item).encode()[:_PAYLOAD_MAX_BYTES]
