"""What the web measures of itself. Its ``/metrics`` and health have a port of their own, as those of the other services have."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request
from simway_backbone import metrics

from simway_flask_app.web.live import LiveEvents

NO_ROUTE = "none"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def install(app: Flask, live: LiveEvents) -> None:
    """Counts and times every request of ``app``; the streams of ``live`` are counted when somebody asks."""
    app.before_request(_begin)
    app.after_request(_end)
    metrics.HTTP_STREAMS.set_function(lambda: live.open_streams)


def _begin() -> None:
    g.started_s = time.perf_counter()


def _end(response: Response) -> Response:
    """Labels are of a fixed number: what a client makes up, a path or a method, is one label."""
    route = request.url_rule.rule if request.url_rule is not None else NO_ROUTE
    method = request.method if request.method in METHODS else "other"
    metrics.HTTP_REQUESTS.labels(method, route, response.status_code).inc()
    if "started_s" in g:
        metrics.HTTP_SECONDS.labels(method, route).observe(time.perf_counter() - g.started_s)
    return response
