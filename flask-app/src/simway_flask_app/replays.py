"""Which dead letters can be stored now, and as what. Pure: the facts are arguments.

A reading whose number had its outcome already (rejected, conflict) comes back without a number, as from a sender that numbers
nothing: the ledger keeps the first outcome, and the replay is one more accepted reading beside it. A whole uplink, or a whole
record of the log, that was put aside was never accounted for: it comes back as it was, with its numbers, which are counted then.
What was no reading when it came is not guessed at: a SenML record says little without the base fields of its pack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from simway_protocol.limits import FUTURE_MAX_US
from simway_protocol.messages import BadMessage, DeadLetter, Uplink, decode
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Value, refuse_reading

from simway_flask_app.store.values import columns_of, same
from simway_flask_app.uplink_rules import wrong

GATEWAY = "replay"
"""The gateway that a replayed reading names."""
RECORDER = "recorder"
NO_READING, UNDECODABLE, BAD_UPLINK = "no_reading", "undecodable", "bad_uplink"
UNKNOWN_DEVICE, CONFLICT, DUPLICATE = "unknown_device", "conflict", "duplicate"


@dataclass(frozen=True, slots=True)
class Facts:
    """What has to be known of the store. ``held``: value and unit that are stored for device, sensor and time (us), or None.

    ``oldest_us``: what is older is beyond raw retention.
    """

    now_us: int
    oldest_us: int
    knows_device: Callable[[str], bool]
    held: Callable[[str, str, int], tuple[Value, str | None] | None]


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter cannot be replayed now. ``reason``: a word of ``outcomes.Reason`` or of this module; ``text``: for people."""

    reason: str
    text: str


def judge(letter: DeadLetter, facts: Facts) -> Sequence[Uplink] | Refused:
    """What is to be put into the log for ``letter``, or why nothing is."""
    found = _of_reading(letter, facts.now_us) if letter.reading is not None else _of_payload(letter)
    if isinstance(found, Refused):
        return found
    for uplink in found:
        if not facts.knows_device(uplink.device):
            return Refused(UNKNOWN_DEVICE, f"No device {uplink.device!a:.80} is registered. Register it, then replay.")
    refused = None if letter.reading is None else _refuse(letter.device, letter.reading, facts)
    return refused or found


def _of_reading(letter: DeadLetter, now_us: int) -> list[Uplink]:
    assert letter.reading is not None
    return [Uplink(letter.device, GATEWAY, now_us, readings=[letter.reading])]


def _of_payload(letter: DeadLetter) -> list[Uplink] | Refused:
    if letter.source != RECORDER:
        return Refused(NO_READING, f"What was put aside is no reading ({letter.reason}): there is nothing that could be stored.")
    try:
        found = _decoded(letter)
    except BadMessage as error:
        return Refused(UNDECODABLE, f"The record does not decode: {error}")
    for uplink in found:
        if fault := wrong(uplink):
            return Refused(BAD_UPLINK, f"The uplink would be put aside again: {fault}.")
    return found


def _decoded(letter: DeadLetter) -> list[Uplink]:
    if letter.reason != BAD_UPLINK:
        batch: list[Uplink] = decode("uplink", letter.payload).uplinks
        return batch
    try:
        return [msgspec.json.decode(letter.payload, type=Uplink)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(str(error)) from error


def _refuse(device: str, reading: Reading, facts: Facts) -> Refused | None:
    reason = refuse_reading(reading)
    if reason is not None:
        return Refused(reason.value, "The reading breaks a rule, now as then.")
    if reading.t_us < facts.oldest_us:
        return Refused(Reason.TOO_OLD.value, "The reading is older than raw readings are kept. Longer raw retention lets it in.")
    if reading.t_us > facts.now_us + FUTURE_MAX_US:
        return Refused(Reason.IN_FUTURE.value, "The reading's time is more than a day ahead. Replay it later.")
    held = facts.held(device, reading.sensor, reading.t_us)
    if held is None:
        return None
    if same(columns_of(held[0]), columns_of(reading.value)) and held[1] == reading.unit:
        return Refused(DUPLICATE, "The store has this reading already.")
    stored = f"{held[0]!a:.80}" + (f" {held[1]}" if held[1] else "")
    return Refused(CONFLICT, f"The store has {stored} for this sensor and time, and what was stored first stays.")
