"""The app factory: REST API under ``/api/v1``, the console page at ``/``, one error shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask, Response

from simway_flask_app.clock import utc_now_us
from simway_flask_app.policy import SWITCHES_PER_DAY_DEFAULT
from simway_flask_app.store.port import WebStore
from simway_flask_app.web import api, limits, measuring, pages, problems
from simway_flask_app.web.auth import Gate
from simway_flask_app.web.changes import Changes
from simway_flask_app.web.context import EXTENSION, Services
from simway_flask_app.web.live import LiveEvents


@dataclass(frozen=True)
class WebConfig:
    """What the app needs to know. The secrets have no default; the rest are limits."""

    admin_token: str = field(repr=False)
    session_secret: bytes = field(repr=False)
    master_secret: bytes = field(repr=False)
    streams_max: int = limits.STREAMS_MAX
    stream_max_s: float = limits.STREAM_MAX_S
    stream_heartbeat_s: float = limits.STREAM_HEARTBEAT_S
    stream_poll_s: float = 0.4
    switches_per_day: int = SWITCHES_PER_DAY_DEFAULT


def create_app(config: WebConfig, store: WebStore, *, now_us: Callable[[], int] = utc_now_us) -> Flask:
    """The WSGI application on ``store``, which it does not close. Threads may share it."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.BODY_MAX_BYTES
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    gate = Gate(config.admin_token, config.session_secret)
    live = LiveEvents(
        lambda: Changes(store), streams_max=config.streams_max, poll_s=config.stream_poll_s,
        heartbeat_s=config.stream_heartbeat_s, stream_max_s=config.stream_max_s,
    )  # fmt: skip
    app.extensions[EXTENSION] = Services(store, gate, live, config.master_secret, now_us, config.switches_per_day)
    problems.install(app)
    app.register_blueprint(api.make_blueprint(gate))
    app.register_blueprint(pages.make_blueprint())
    app.after_request(_harden)
    measuring.install(app, live)
    return app


def services_of(app: Flask) -> Services:
    """The services of an app, for who runs it."""
    found = app.extensions[EXTENSION]
    assert isinstance(found, Services)
    return found


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def _harden(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
