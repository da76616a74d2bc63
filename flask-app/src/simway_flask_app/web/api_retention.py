"""The endpoints of ``/api/v1`` that tell and set how long readings are kept."""

from __future__ import annotations

from collections.abc import Iterable

from simway_flask_app.store import oversight
from simway_flask_app.web import schemas_retention as schemas
from simway_flask_app.web.context import ACTOR, services
from simway_flask_app.web.routes import operations
from simway_flask_app.web.times import to_text


@operations.add("GET", "/retention", tag="retention", summary="How long readings are kept", replies={200: schemas.Retention})
def get_retention() -> schemas.Retention:
    """Raw readings and each rollup have a time of their own. The newest values and the loss ledger are kept for good."""
    return _shown(services().store.retention())


@operations.add(
    "PUT",
    "/retention",
    tag="retention",
    summary="Set how long readings are kept",
    replies={200: schemas.Retention},
    problems=(400, 413, 415, 422),
    body=schemas.RetentionRequest,
)
def put_retention(body: schemas.RetentionRequest) -> schemas.Retention:
    """Takes effect within two minutes, without a restart: what is older then is deleted for good, and no longer time brings it
    back. Each tier that is named becomes an entry of the audit trail."""
    ports = services()
    changes: dict[str, int] = {change.tier: change.keep_s for change in body.tiers}
    return _shown(ports.store.set_retention(changes, actor=ACTOR, now_us=ports.now_us()))


def _shown(tiers: Iterable[oversight.Tier]) -> schemas.Retention:
    return schemas.Retention(
        [
            schemas.Tier(
                one.tier,  # type: ignore[arg-type]  # the table holds no other
                one.keep_s, one.actor, to_text(one.updated_us) if one.updated_us else None, one.updated_us or None,
            )
            for one in tiers
        ]
    )  # fmt: skip
