"""The pusher that the recorder's settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simway_flask_app.grafana.account import Account, is_usable_url
from simway_flask_app.grafana.pusher import LivePusher, PusherTimes


def make_pusher(
    *, url: str, user: str, password_file: Path | None, token_file: Path, times: PusherTimes | None = None
) -> LivePusher:
    """Raises ``ValueError`` for a ``url`` that is no http(s) address. Touches neither network nor files."""
    if not is_usable_url(url):
        raise ValueError(f"GRAFANA_URL is {url!r}: it must be like http://127.0.0.1:3000, or empty for no Grafana")
    account = Account(url, user=user, read_password=_reader(password_file), token_file=token_file)
    return LivePusher(url, account, times=times)


def _reader(password_file: Path | None) -> Callable[[], str]:
    def read() -> str:
        if password_file is None:
            raise OSError("GRAFANA_ADMIN_PASSWORD_FILE is not set")
        return password_file.read_text().strip()

    return read
