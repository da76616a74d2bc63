"""``simway`` and ``python -m simway_cli``."""

from __future__ import annotations

import io
import os
import sys

from simway_cli.app import guard_signals, run


def main() -> None:
    """The console script."""
    guard_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:], os.environ, sys.stdout, sys.stderr))


if __name__ == "__main__":
    main()
