"""``python -m simway_virtual_sim --vpcd``: the simulated card as a card in a reader of pcscd."""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path

from simway_protocol.sim.card import CardError, CardGone

from simway_virtual_sim import sim_file, vpcd
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import Uicc

_RETRY_S = 1.0
_USAGE_ERROR = 2
_STATE_FILE = Path("var/modem/sim.json")


def main(arguments: list[str] | None = None) -> int:
    """Puts the card into the reader again and again until SIGTERM or Ctrl-C; the exit code."""
    options = _parser().parse_args(arguments)
    host, _, port = options.vpcd.rpartition(":")
    if not host or not port.isdecimal():
        print(f"--vpcd takes HOST:PORT, not {options.vpcd!r}", file=sys.stderr)
        return _USAGE_ERROR
    try:
        wanted = sim_file.read(options.sim_file) if options.sim_file else sim_file.NO_FILE
        store = StateFile(options.state_file, lambda: wanted.card(secrets.token_bytes))
        card = Uicc(store, wanted.faults, wanted.document.report_interval_s)
    except CardError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _insert_for_ever(card, host, int(port))
    except KeyboardInterrupt:
        return 0
    finally:
        card.close()
    return 0


def _insert_for_ever(card: Uicc, host: str, port: int) -> None:
    waiting = threading.Event()
    told = False
    while True:
        try:
            card.reset()
            with socket.create_connection((host, port)) as connection:
                print(f"the card is in the reader at {host}:{port}", file=sys.stderr)
                told = False
                vpcd.serve(card, connection)
                print("the card is out of the reader", file=sys.stderr)
        except CardGone:
            pass
        except OSError as error:
            if not told:
                print(f"no reader at {host}:{port} ({error.strerror}): is pcscd running, with vpcd? Trying on.", file=sys.stderr)
            told = True
        waiting.wait(_RETRY_S)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simway_virtual_sim", description=__doc__)
    parser.add_argument(
        "--vpcd",
        metavar="HOST:PORT",
        nargs="?",
        const=f"127.0.0.1:{vpcd.PORT}",
        default=f"127.0.0.1:{vpcd.PORT}",
        help=f"the vpcd reader to sit in (default 127.0.0.1:{vpcd.PORT}; the second reader is one port higher)",
    )
    parser.add_argument(
        "--state-file",
        metavar="PATH",
        type=Path,
        default=_STATE_FILE,
        help=f"where the card's memory lies; a new card when there is none (default {_STATE_FILE})",
    )
    parser.add_argument(
        "--sim-file",
        metavar="PATH",
        type=Path,
        help="profiles for a new card, and faults (docs/virtual-sim.md); without it the card is made up and nothing goes wrong",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
