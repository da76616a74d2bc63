"""``simway-modem`` and ``python -m simway_modem_client``."""

from __future__ import annotations

import os
import sys

from simway_modem_client.cli import run_cli


def main() -> None:
    """The console script."""
    sys.exit(run_cli(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
