"""From the store's values to those of the REST API: the loss ledger and the dead letters."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from math import isfinite
from typing import Any, Literal, TypeAlias

from simway_protocol import messages, senml
from simway_protocol.errors import PeerError
from simway_protocol.limits import INT64_MAX, INT64_MIN

from simway_flask_app.replays import RECORDER
from simway_flask_app.store import bookkeeping
from simway_flask_app.web import schemas_loss
from simway_flask_app.web.present import optional_text
from simway_flask_app.web.schemas_readings import Reading
from simway_flask_app.web.times import to_text

Form: TypeAlias = Literal["cbor", "json", "text", ""]
DEPTH_MAX = 16
"""So deep is a payload shown."""


def loss_ledger(row: bookkeeping.LossLedger) -> schemas_loss.LossLedger:
    """The balance of a device."""
    balanced = all(one.balanced for one in row.epochs)
    return schemas_loss.LossLedger(
        **_balance(row) | {"balanced": balanced}, device=row.device,
        missing_ranges=[schemas_loss.MissingRange(one.epoch, *gap) for one in row.epochs for gap in one.missing_ranges],
        epochs=[_epoch(one) for one in row.epochs], log_gaps=_gaps(row.log_gaps),
    )  # fmt: skip


def fleet_loss(row: bookkeeping.FleetLoss, next_cursor: str | None) -> schemas_loss.FleetLoss:
    """The balance of all devices, and a page of them."""
    totals = schemas_loss.LossTotals(
        **_balance(row.totals) | {"balanced": not row.unbalanced}, devices=row.devices, unbalanced_devices=row.unbalanced,
        missing_devices=row.incomplete,
    )  # fmt: skip
    page = [
        schemas_loss.DeviceLoss(**_balance(one) | {"balanced": one.all_balanced}, device=one.device, epochs=one.epochs)
        for one in row.page
    ]
    return schemas_loss.FleetLoss(totals, page, next_cursor, _gaps(row.log_gaps))


def _balance(row: bookkeeping.Balance) -> dict[str, Any]:
    names = ("sent", "stored", "duplicate", "conflict", "dropped", "missing", "redelivered", "balanced")
    return {name: getattr(row, name) for name in names} | {"rejected": dict(row.rejected)}


def _epoch(row: bookkeeping.EpochLoss) -> schemas_loss.EpochLoss:
    return schemas_loss.EpochLoss(
        **_balance(row), epoch=row.epoch, first_at=to_text(row.first_us), first_us=row.first_us, floor=row.floor,
        missing_ranges=list(row.missing_ranges), dropped_ranges=list(row.dropped_ranges),
    )  # fmt: skip


def _gaps(rows: Iterable[bookkeeping.LogGap]) -> list[schemas_loss.LogGap]:
    return [
        schemas_loss.LogGap(row.topic, row.partition, row.first_offset, row.last_offset, to_text(row.t_us), row.t_us)
        for row in rows
    ]


def dead_letter(row: bookkeeping.KeptLetter) -> schemas_loss.DeadLetter:
    """One line of a list."""
    return schemas_loss.DeadLetter(**_letter(row))


def whole_dead_letter(row: bookkeeping.KeptLetter) -> schemas_loss.DeadLetterWhole:
    """All that was kept."""
    form, payload = decoded(row.letter)
    encoded = base64.b64encode(row.letter.payload).decode()
    return schemas_loss.DeadLetterWhole(**_letter(row), payload_base64=encoded, payload_form=form, payload=payload)


def _letter(row: bookkeeping.KeptLetter) -> dict[str, Any]:
    letter, reading = row.letter, row.letter.reading
    shown = None if reading is None else Reading(reading.sensor, to_text(reading.t_us), reading.t_us, reading.value, reading.unit)
    return {
        "id": row.letter_id, "time": to_text(letter.t_us), "t_us": letter.t_us, "source": letter.source, "reason": letter.reason,
        "device": letter.device, "gateway": letter.gateway, "epoch": letter.epoch, "seq": letter.seq, "detail": letter.detail,
        "reading": shown, "payload_bytes": len(letter.payload), "replayed_at": optional_text(row.replayed_us),
        "replayed_us": row.replayed_us, "replayed_by": row.replayed_by,
    }  # fmt: skip


def decoded(letter: messages.DeadLetter) -> tuple[Form, Any]:
    """A letter's payload as JSON can show it, and what it was: CBOR from a gateway, else a record of the log; else text."""
    if not letter.payload:
        return "", None
    if letter.source != RECORDER:
        try:
            return "cbor", shown(senml.with_texts(senml.decode_item(letter.payload)))
        except PeerError:
            pass
    try:
        return "json", shown(json.loads(letter.payload))
    except (ValueError, RecursionError):
        pass
    try:
        return "text", letter.payload.decode()
    except UnicodeDecodeError:
        return "", None


def shown(item: Any, depth_left: int = DEPTH_MAX) -> Any:
    """What JSON cannot say, as text: bytes in hexadecimal, numbers that are not finite or too large, keys that are no text."""
    if not isinstance(item, dict | list | tuple):
        return _shown_alone(item)
    if depth_left == 0:
        return "..."
    if isinstance(item, dict):
        return {_text(key): shown(value, depth_left - 1) for key, value in item.items()}
    return [shown(value, depth_left - 1) for value in item]


def _shown_alone(item: Any) -> Any:
    if isinstance(item, bytes):
        return f"h'{item.hex()}'"
    if item is None or isinstance(item, bool):
        return item
    plain = INT64_MIN <= item <= INT64_MAX if isinstance(item, int) else isinstance(item, float) and isfinite(item)
    return item if plain else _text(item)


def _text(item: Any) -> str:
    """Any item as text that can be encoded."""
    return str(item).encode("utf-8", "backslashreplace").decode()
