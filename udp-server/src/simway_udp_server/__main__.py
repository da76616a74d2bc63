"""``python -m simway_udp_server``: the parent; with ``worker INDEX UDP_FD CONTROL_FD``, as the parent calls it: a worker."""

from __future__ import annotations

import os
import socket
import sys

from simway_backbone import logs, open_log
from simway_backbone.log_url import BadLogUrl
from simway_backbone.service import run_service
from simway_backbone.settings import SettingError, load

from simway_udp_server.parent import CANNOT_START, Parent
from simway_udp_server.settings import Settings
from simway_udp_server.worker import run_worker


def main() -> None:
    """Runs the service, or one worker of it."""
    settings = load(Settings.from_env, os.environ)
    if sys.argv[1:2] == ["worker"]:
        index, udp_fd, control_fd = map(int, sys.argv[2:5])
        _work(settings, index, socket.socket(fileno=udp_fd), socket.socket(fileno=control_fd))
        return
    run_service(
        "udp-server",
        lambda service: Parent(settings, service).run(),
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def _work(settings: Settings, index: int, udp: socket.socket, control: socket.socket) -> None:
    logs.configure(f"udp-server/{index}", settings.log_level, settings.log_format)
    try:
        log = open_log(settings.log_url, client_id=f"udp-server-{index}")
        well = run_worker(index, udp, control, settings, log)
    except (BadLogUrl, SettingError) as error:
        print(f"error: udp-server: {error}", file=sys.stderr, flush=True)
        raise SystemExit(CANNOT_START) from None
    if not well:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
