"""``admit()``: what becomes of the readings of one frame or request. Pure: the clock is an argument, the answer a value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import cbor2
import msgspec
from msgspec import structs
from simway_protocol.limits import (
    FUTURE_MAX_US,
    INT64_MAX,
    INT64_MIN,
    RANGES_MAX_PER_FRAME,
    RAW_RETENTION_US,
    READINGS_MAX_PER_UPLINK,
    SEQUENCE_MAX,
)
from simway_protocol.messages import DeadLetter, Range, Uplink
from simway_protocol.outcomes import Outcome, Reason
from simway_protocol.readings import Reading, Refusal
from simway_protocol.senml import Entry, resolve

Verdict = tuple[int, int, Outcome, str]
"""First and last sequence number, the outcome, and the reason of a rejection (else empty)."""

_PAYLOAD_MAX_BYTES = 4_096
_EPOCH_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


class Admission(msgspec.Struct):
    """What is to be done with one frame.

    ``uplinks``: for the log, in order; one, unless refusals split the run of numbers; none when there is nothing to say.
    ``verdicts``: what the sender is told once *all* uplinks are durable, not before; empty for a sender that numbers nothing.
    ``refusals``: position in the input and why, for gateways that answer per reading. ``letters``: for ``dead-letter``.
    """

    uplinks: list[Uplink]
    verdicts: list[Verdict]
    refusals: Sequence[tuple[int, Refusal]] = ()
    letters: Sequence[DeadLetter] = ()


def admit_pack(records: Sequence[Any], head: Uplink, dropped: Sequence[Range], retention_us: int = RAW_RETENTION_US) -> Admission:
    """Admits a SenML pack with CBOR's integer labels, as a DATA frame carries it. See ``admit``."""
    relative_to_us = head.received_us if head.epoch is None else None
    if len(records) <= READINGS_MAX_PER_UPLINK:
        return admit(resolve(records, relative_to_us), head, dropped, retention_us)
    entries = resolve(records[:READINGS_MAX_PER_UPLINK], relative_to_us)
    entries += [Refusal(Reason.TOO_MANY, _TOO_MANY, record) for record in records[READINGS_MAX_PER_UPLINK:]]
    return admit(entries, head, dropped, retention_us)


def admit(entries: list[Entry], head: Uplink, dropped: Sequence[Range], retention_us: int = RAW_RETENTION_US) -> Admission:
    """Admits resolved readings; ``entries[i]`` has the number ``head.first_seq + i``. Never raises, whatever comes in.

    ``head``: an uplink without readings, which says whose they are and when they came; it becomes part of the answer. Its
    ``epoch`` (16 hexadecimal digits) and ``first_seq`` are None for a sender that numbers nothing.

    The entries keep the rules of ``readings`` already (``senml`` and ``plain`` see to it); here their times are held against
    the clock (not before ``retention_us`` ago, not more than a day ahead) and their number and numbering against the limits.
    """
    first_seq, count = head.first_seq, len(entries)
    if head.epoch is not None:
        if first_seq is None or not 1 <= first_seq <= SEQUENCE_MAX - count or not _is_epoch(head.epoch):
            return _refuse_all(head)
        if dropped and not _are_ranges(dropped, first_seq, count):
            rest = admit(entries, head, (), retention_us)
            return structs.replace(rest, letters=[*rest.letters, _bad_sequence(head, f"dropped {dropped!a:.200}")])
    oldest_us, newest_us = head.received_us - retention_us, head.received_us + FUTURE_MAX_US
    if count > READINGS_MAX_PER_UPLINK:
        return _admit_mixed(entries, head, dropped, oldest_us)
    for entry in entries:
        if type(entry) is not Reading or not oldest_us <= entry[1] <= newest_us:
            return _admit_mixed(entries, head, dropped, oldest_us)
    verdicts: list[Verdict] = []
    if count and first_seq is not None:
        verdicts.append((first_seq, first_seq + count - 1, Outcome.LOGGED, ""))
    if dropped:
        head.dropped = list(dropped)
        verdicts += _verdicts_of_dropped(dropped)
    elif not count:
        return _NOTHING
    head.readings = entries  # type: ignore[assignment]
    return Admission([head], verdicts)


_TOO_MANY = f"more than {READINGS_MAX_PER_UPLINK} readings at once"
_NOTHING = Admission([], [])


@lru_cache(maxsize=50_000)
def _is_epoch(epoch: str) -> bool:
    return len(epoch) == _EPOCH_DIGITS and _HEX.issuperset(epoch)


def _are_ranges(dropped: Sequence[Range], first_seq: int, count: int) -> bool:
    """Whether dropped ranges can be: few enough, in bounds, and none of them about a reading that is here."""
    return len(dropped) <= RANGES_MAX_PER_FRAME and all(
        1 <= first <= last <= SEQUENCE_MAX and (not count or last < first_seq or first >= first_seq + count)
        for first, last in dropped
    )


def _refuse_all(head: Uplink) -> Admission:
    """Numbers that cannot be leave nothing that could be told by number: the frame is kept as a dead letter and not answered."""
    return Admission([], [], letters=[_bad_sequence(head, f"epoch {head.epoch!a:.40}, first {head.first_seq}")])


def _bad_sequence(head: Uplink, detail: str) -> DeadLetter:
    return DeadLetter("admit", Reason.BAD_SEQUENCE, head.received_us, head.device, head.gateway, detail=detail)


def _verdicts_of_dropped(dropped: Sequence[Range]) -> list[Verdict]:
    return [(first, last, Outcome.LOGGED, "") for first, last in dropped]


def _admit_mixed(entries: list[Entry], head: Uplink, dropped: Sequence[Range], oldest_us: int) -> Admission:
    judged = [_judge(entry, oldest_us, head.received_us, index) for index, entry in enumerate(entries)]
    refusals = [(index, entry) for index, entry in enumerate(judged) if type(entry) is Refusal]
    letters = [_letter(refusal, head, index) for index, refusal in refusals]
    if head.first_seq is None:
        head.readings = [entry for entry in judged if type(entry) is Reading]
        return Admission([head] if head.readings else [], [], refusals, letters)
    uplinks, verdicts, rejected = [], [], []
    seq = head.first_seq
    for reason, group in groupby(judged, key=lambda entry: entry.reason if type(entry) is Refusal else None):
        run = list(group)
        last = seq + len(run) - 1
        if reason is None:
            uplinks.append(structs.replace(head, first_seq=seq, readings=run))
            verdicts.append((seq, last, Outcome.LOGGED, ""))
        else:
            rejected.append((seq, last, reason.value))
            verdicts.append((seq, last, Outcome.REJECTED, reason.value))
        seq = last + 1
    # the dropped and rejected ranges are said once, in the first uplink; in one without readings where all were refused
    first = uplinks[0] if uplinks else head
    first.dropped, first.rejected = list(dropped), rejected
    return Admission(uplinks or [head], verdicts + _verdicts_of_dropped(dropped), refusals, letters)


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


def _letter(refusal: Refusal, head: Uplink, index: int) -> DeadLetter:
    """The dead letter of a refusal: the reading where it is sound, else the raw item as CBOR, cut off where it is large."""
    letter = DeadLetter(
        "admit", refusal.reason, head.received_us, head.device, head.gateway, head.epoch,
        None if head.first_seq is None else head.first_seq + index, refusal.detail,
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
