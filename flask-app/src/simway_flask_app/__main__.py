"""``python -m simway_flask_app web|recorder|dispatcher|init``: one program, four processes."""

from __future__ import annotations

import argparse
import os

from simway_backbone.settings import load

from simway_flask_app import entry
from simway_flask_app.settings import DispatcherSettings, InitSettings, RecorderSettings, WebSettings

_EPILOG = "Settings are environment variables: docs/settings.md lists them all. Nothing has to be set for a run on one machine."
_COMMANDS = {
    "web": "the REST API and the page",
    "recorder": "the log's readings into the store",
    "dispatcher": "commands out, what devices say of them in",
    "init": "make what is missing: secrets, schema, topics, the demo device",
}


def main() -> None:
    """Parses the command line and runs one of the four."""
    parser = argparse.ArgumentParser(prog="python -m simway_flask_app", description=__doc__, epilog=_EPILOG)
    chosen = parser.add_subparsers(dest="command", required=True, metavar="web|recorder|dispatcher|init")
    for name, help_text in _COMMANDS.items():
        chosen.add_parser(name, help=help_text, description=help_text, epilog=_EPILOG)
    command = parser.parse_args().command
    if command == "web":
        entry.run_web(load(WebSettings.from_env, os.environ))
    elif command == "recorder":
        entry.run_recorder(load(RecorderSettings.from_env, os.environ))
    elif command == "dispatcher":
        entry.run_dispatcher(load(DispatcherSettings.from_env, os.environ))
    else:
        entry.run_init(load(InitSettings.from_env, os.environ))


if __name__ == "__main__":
    main()
