"""Options that several commands share: each overrides an environment variable of the same meaning, which its help names."""

from __future__ import annotations

import argparse
from typing import Any


def formatter(prog: str) -> argparse.HelpFormatter:
    """Help as it is written, examples included."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=118)


def add_option(parser: Any, flag: str, setting: str, about: str, **more: Any) -> None:
    """An option that overrides an environment variable of the same meaning."""
    parser.add_argument(flag, dest=setting, help=f"{about} [{setting}]", **more)


def add_card_options(parser: Any) -> None:
    """Which card."""
    add_option(parser, "--card", "CARD", "card driver: virtual, pcsc (a reader) or at (a modem)", metavar="DRIVER")
    add_option(parser, "--reader", "CARD_READER", "pcsc: part of the reader's name", metavar="NAME")
    add_option(parser, "--iccid", "CARD_ICCID", "pcsc: the card that has a profile with this ICCID", metavar="ICCID")
    add_option(parser, "--sim-file", "SIM_FILE", "virtual: profiles of a new card, and faults, as TOML", metavar="FILE")
    add_option(parser, "--modem-port", "MODEM_PORT", "at: the modem's serial port", metavar="PATH")
    add_option(parser, "--dir", "MODEM_DIR", "the device's folder: outbox, journal, virtual SIM")


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Who the device is, and where its server and card are."""
    device = parser.add_argument_group("the device")
    add_option(device, "--device", "DEVICE_ID", "the device's id")
    add_option(device, "--key-file", "DEVICE_KEY_FILE", "its key: 64 hexadecimal digits, mode 0600")
    add_option(device, "--key-provider", "KEY_PROVIDER", "who holds the key: card or file", metavar="WHERE")
    device.add_argument("--server", action=_Server, metavar="HOST[:PORT]", help="the udp-server [SERVER_HOST, SERVER_PORT]")
    add_option(
        device, "--bearer", "BEARER", "what carries datagrams: virtual, at (a modem) or none (this network)", metavar="NAME"
    )
    add_card_options(device)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Where readings come from."""
    source = parser.add_argument_group("where readings come from")
    add_option(source, "--source", "SOURCE", "host, stdin or csv", metavar="SOURCE")
    add_option(source, "--interval", "SOURCE_INTERVAL_S", "between two measurements of the host: 1, 200ms, 5min", metavar="TIME")
    source.add_argument("--csv", metavar="FILE", help="import this file (the same as --source csv)")
    columns = parser.add_argument_group("columns of the CSV file (its first line names them)")
    columns.add_argument("--time-column", default="", metavar="NAME", help="default: time, timestamp, ts ..., or the first")
    columns.add_argument("--sensor-column", default="", metavar="NAME", help="a reading a line: which sensor it is of")
    columns.add_argument("--value-column", default="", metavar="NAME", help="a reading a line: its value")
    columns.add_argument("--unit-column", default="", metavar="NAME", help="a reading a line: its unit")
    columns.add_argument("--unit", default="", help="one unit for all readings")
    columns.add_argument("--prefix", default="", help="put before every sensor's name, as in boiler/")
    columns.add_argument("--text", action="store_true", help="keep cells that are no number as text; else their line is bad")
    columns.add_argument("--time-format", default="", metavar="FORMAT",
                         help="as of strptime, '%%d.%%m.%%Y %%H:%%M'; default: s, ms, us, ns or RFC 3339, detected")  # fmt: skip
    columns.add_argument("--time-zone", default="UTC", metavar="ZONE", help="for a --time-format without one (default UTC)")
    columns.add_argument("--delimiter", default=",", help="between cells (default: comma)")
    columns.add_argument("--decimal", default=".", help="decimal separator (default: point)")


class _Server(argparse.Action):
    """``HOST`` or ``HOST:PORT`` (an IPv6 address in brackets) as two settings."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, value: Any, _flag: str | None = None) -> None:
        host, _colon, port = str(value).rpartition(":")
        if not port.isdigit() or (":" in host and not host.endswith("]")):
            host, port = str(value), ""
        namespace.SERVER_HOST = host.strip("[]")
        namespace.SERVER_PORT = port or None
