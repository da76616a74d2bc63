"""The endpoints of ``/api/v1`` that keep the books: the loss ledger of devices and fleet, and the dead letters."""

from __future__ import annotations

from simway_flask_app import replays
from simway_flask_app.web import cursors, present_loss, schemas_loss, times
from simway_flask_app.web.context import ACTOR, services
from simway_flask_app.web.operations import Reply
from simway_flask_app.web.routes import device_id, letter_id, operations


@operations.add(
    "GET",
    "/devices/<device>/loss",
    tag="loss",
    summary="The loss ledger of a device",
    replies={200: schemas_loss.LossLedger},
    problems=(404,),
)
def get_loss(device: str) -> schemas_loss.LossLedger:
    """What became of every reading that the device numbered, whole and by epoch, with the ranges that are missing or were dropped
    at the device; it always balances."""
    store = services().store
    store.require_device(device_id(device))
    return present_loss.loss_ledger(store.loss_ledger(device))


@operations.add(
    "GET",
    "/loss",
    tag="loss",
    summary="The loss ledger of all devices",
    replies={200: schemas_loss.FleetLoss},
    problems=(422,),
    query=schemas_loss.LossQuery,
)
def get_fleet_loss(query: schemas_loss.LossQuery) -> schemas_loss.FleetLoss:
    """The totals, and devices by id: those that ever sent anything."""
    found = services().store.fleet_loss(limit=query.limit, after=cursors.decode(query.cursor), only=query.only)
    return present_loss.fleet_loss(found, cursors.encode(found.page[-1].device) if found.more else None)


@operations.add(
    "GET",
    "/dead-letters",
    tag="dead letters",
    summary="Dead letters",
    replies={200: schemas_loss.DeadLettersPage},
    problems=(422,),
    query=schemas_loss.DeadLettersQuery,
)
def list_dead_letters(query: schemas_loss.DeadLettersQuery) -> schemas_loss.DeadLettersPage:
    """What could not be admitted or stored, of gateways and recorder alike, those that came last first. They are kept as long as
    their topic keeps them."""
    from_us, to_us = times.parse_parameter("from", query.from_), times.parse_parameter("to", query.to)
    times.check_range(from_us, to_us)
    page = services().store.dead_letters(
        device=query.device, reason=query.reason, source=query.source, from_us=from_us, to_us=to_us, limit=query.limit,
        cursor=query.cursor,
    )  # fmt: skip
    return schemas_loss.DeadLettersPage([present_loss.dead_letter(row) for row in page.letters], page.next_cursor)


@operations.add(
    "GET",
    "/dead-letters/counts",
    tag="dead letters",
    summary="Dead letters by reason",
    replies={200: schemas_loss.DeadLetterCounts},
    problems=(422,),
    query=schemas_loss.DeadLetterCountsQuery,
)
def count_dead_letters(query: schemas_loss.DeadLetterCountsQuery) -> schemas_loss.DeadLetterCounts:
    """How many are kept now. What was rejected since the beginning is in the loss ledger."""
    counts = services().store.dead_letter_counts(query.device)
    return schemas_loss.DeadLetterCounts(sum(counts.values()), counts)


@operations.add(
    "GET",
    "/dead-letters/<letter>",
    tag="dead letters",
    summary="Show a dead letter",
    replies={200: schemas_loss.DeadLetterWhole},
    problems=(404,),
)
def get_dead_letter(letter: str) -> schemas_loss.DeadLetterWhole:
    """All that was kept of it, decoded as far as it can be."""
    return present_loss.whole_dead_letter(services().store.dead_letter(letter_id(letter)))


@operations.add(
    "POST",
    "/dead-letters/<letter>/replay",
    tag="dead letters",
    summary="Replay a dead letter",
    replies={202: schemas_loss.DeadLetter},
    problems=(404, 409),
)
def replay_dead_letter(letter: str) -> Reply:
    """Puts what it holds into the log anew, where that can be stored now: as a reading without a number, since its own had its
    outcome; a whole uplink or record that was put aside, as it was. Asked for again, it happens once. 409 says why not:
    no_reading, undecodable, bad_uplink, unknown_device, too_old, in_future, conflict, duplicate, or the rule that it breaks."""
    ports = services()
    row = ports.store.replay_letter(letter_id(letter), replays.judge, actor=ACTOR, now_us=ports.now_us())
    return Reply(present_loss.dead_letter(row), 202)
