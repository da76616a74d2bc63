"""The endpoints of ``/api/v1`` that show who records what, and tell whether a write right holds."""

from __future__ import annotations

from simway_flask_app.rights import Refusal, Right
from simway_flask_app.store.fencing import WriterState
from simway_flask_app.web import schemas_writers
from simway_flask_app.web.context import services
from simway_flask_app.web.problems import Problem
from simway_flask_app.web.routes import operations
from simway_flask_app.web.times import to_text

_DETAILS = {
    Refusal.UNKNOWN_WRITER: "No recorder of this name is known here: it held no right in this store, or was forgotten since.",
    Refusal.FORGED: "Its recorder never held this right: the signature is not that recorder's, or the store never granted it.",
    Refusal.OTHER_PARTITION: "This is the right to write another partition than the one it is shown for.",
    Refusal.OTHER_WRITER: "This is the right of another recorder than the one it is shown for.",
    Refusal.SUPERSEDED: "Another right with a higher number has been granted for this partition: nothing is written by this one.",
    Refusal.EXPIRED: "This right was not renewed in time: nothing is written by it until it is granted anew.",
}


@operations.add("GET", "/writers", tag="writers", summary="Who records what", replies={200: schemas_writers.Writers})
def list_writers() -> schemas_writers.Writers:
    """Every recorder that was seen within a week or whose name a partition's right still bears: where it runs, whether it lives,
    and each right that it holds, with its fencing number and since when and until when it holds."""
    return schemas_writers.Writers([_writer(state) for state in services().store.writers()])


@operations.add(
    "POST",
    "/writers/verify",
    tag="writers",
    summary="Does this write right hold?",
    replies={200: schemas_writers.Verdict},
    problems=(400, 403, 413, 415, 422),
    body=schemas_writers.VerifyRequest,
)
def verify_right(body: schemas_writers.VerifyRequest) -> schemas_writers.Verdict:
    """200 while it does; else 403 with the reason: unknown_writer, forged, other_partition, other_writer, superseded or expired.
    The answer is of this moment: what counts is what the store says in the transaction that writes."""
    refusal = services().store.verify_right(body.right, partition=body.partition, writer=body.writer)
    if refusal is not None:
        raise Problem(403, refusal.value, _DETAILS[refusal])
    return schemas_writers.Verdict(True, to_text(body.right.expires_us))


def _writer(state: WriterState) -> schemas_writers.Writer:
    return schemas_writers.Writer(
        state.writer, state.host, state.pid, state.public_key, to_text(state.started_us), state.started_us,
        to_text(state.seen_us), state.seen_us, state.live, [_held(right, state.now_us) for right in state.rights],
    )  # fmt: skip


def _held(right: Right, now_us: int) -> schemas_writers.HeldRight:
    return schemas_writers.HeldRight(right, to_text(right.granted_us), to_text(right.expires_us), right.expires_us <= now_us)
