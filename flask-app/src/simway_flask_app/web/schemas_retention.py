"""What goes over the REST API of retention, in and out."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from simway_flask_app.store.tiers import KEEP_MAX_S, KEEP_MIN_S
from simway_flask_app.web.fields import Time, TimeUs

TierName = Literal["raw", "minute", "hour", "day"]
KeepS = Annotated[
    int,
    Meta(
        ge=0, le=KEEP_MAX_S,
        description=f"seconds; 0: for ever, else at least {KEEP_MIN_S}, a day",
        extra_json_schema={"anyOf": [{"const": 0}, {"minimum": KEEP_MIN_S}]},
    ),
]  # fmt: skip


class TierChange(Struct, forbid_unknown_fields=True):
    """How long a tier is to be kept."""

    tier: TierName
    keep_s: KeepS

    def __post_init__(self) -> None:
        if 0 < self.keep_s < KEEP_MIN_S:
            raise ValueError(f"keep_s is 0, for ever, or at least {KEEP_MIN_S}, a day")


class RetentionRequest(Struct, forbid_unknown_fields=True):
    """The tiers to change; the others stay as they are."""

    tiers: Annotated[list[TierChange], Meta(min_length=1, max_length=4)]

    def __post_init__(self) -> None:
        if len({change.tier for change in self.tiers}) < len(self.tiers):
            raise ValueError("a tier is named twice")


class Tier(Struct):
    """How long a tier is kept, and who said so; ``settings``: the recorder's RAW_RETENTION_DAYS, or the default."""

    tier: TierName
    keep_s: KeepS
    actor: str
    updated_at: Annotated[Time | None, Meta(description="null: never set")] = None
    updated_us: TimeUs | None = msgspec.field(default=None)


class Retention(Struct):
    """Raw readings, and their windows of a minute, an hour and a day."""

    tiers: list[Tier]
