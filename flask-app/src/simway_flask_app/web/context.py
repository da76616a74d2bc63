"""What the endpoints work with, handed to them by the app they run in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from simway_flask_app.clock import utc_now_us
from simway_flask_app.policy import SWITCHES_PER_DAY_DEFAULT
from simway_flask_app.store.port import WebStore
from simway_flask_app.trail import Signer
from simway_flask_app.web.auth import Gate
from simway_flask_app.web.live import LiveEvents
from simway_flask_app.web.transfers import Transfers

EXTENSION = "simway"
ACTOR = "api"
"""Who asked for a command, in its history."""


@dataclass(frozen=True)
class Services:
    """The ports of one app. ``master_secret``: 32 bytes, for the key that a new device is shown once, for what SIMs say, and for
    the signatures of the audit trail. ``switches_per_day``: of one device, 0 for no cap.
    """

    store: WebStore
    gate: Gate
    live: LiveEvents
    master_secret: bytes = field(repr=False)
    now_us: Callable[[], int] = utc_now_us
    switches_per_day: int = SWITCHES_PER_DAY_DEFAULT
    transfers: Transfers = field(default_factory=Transfers)

    @property
    def signer(self) -> Signer:
        """Who signs the heads of the audit trail."""
        return Signer.of(self.master_secret)


def services() -> Services:
    """The services of the app that handles this request."""
    return cast(Services, current_app.extensions[EXTENSION])
