"""Grafana as a view: readings pushed to Grafana Live as they are stored (design, sections 2 and 9). Nothing waits for it."""

from simway_flask_app.grafana.account import Account
from simway_flask_app.grafana.pusher import LivePusher, PusherTimes
from simway_flask_app.grafana.setup import make_pusher

__all__ = ["Account", "LivePusher", "PusherTimes", "make_pusher"]
