"""The command line: ``run``, ``status``, ``personalise``, ``sim info``, ``sim profiles``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from simway_backbone import logs
from simway_backbone.service import StartError, run_service
from simway_backbone.settings import SettingError
from simway_backbone.sqlite import SqliteUnusable
from simway_protocol.errors import PeerError

from simway_modem_client import home
from simway_modem_client.app import ModemClient, feed
from simway_modem_client.card import CardError, NoDriver, SimCard, open_card
from simway_modem_client.keys import KeyUnusable, personalise
from simway_modem_client.settings import ModemSettings
from simway_modem_client.sources import Source, SourceReport
from simway_modem_client.sources.csv_file import CsvSource
from simway_modem_client.sources.csv_format import CsvFormat
from simway_modem_client.sources.host import HostSource
from simway_modem_client.sources.lines import LinesSource
from simway_modem_client.status import gather, table

CARD_PATIENCE_S = 8.0
"""A card that the running modem client holds is free again when it was idle for a moment."""

_NO_DELIMITERS = '"\r\n'

_EXAMPLES = """\
examples:
  simway-modem run                                  this machine's CPU, memory, network ... once a second
  simway-modem run --interval 10 --device truck-7 --server iot.example.org:6001 --key-file truck-7.key
  sensor-daemon | simway-modem run --source stdin   one JSON document a line: {"sensor_id": "door", "value": true}
  simway-modem run --csv log.csv                    a column with the time, a sensor in each other column
  simway-modem run --csv log.csv --time-column ts --sensor-column name --value-column v --unit-column u
  simway-modem status                               SIM, session, outbox and last command, from another terminal
  simway-modem sim profiles                         the carriers on the SIM

Readings are on this machine's disk before they are sent, and stay there until the platform has them. Every option can also
be given by its environment variable (`simway-modem run --help` names them in brackets); options win. Logs go to standard error.
"""
_RUN_NOTES = """\
With --source stdin or csv it ends when everything that was read is acknowledged by the platform. When a modem client runs on the
same directory already, the readings are only put into its outbox, and that one sends them.

exit status: 0 all went well; 1 could not go on; 2 wrong settings; 3 ended, but lines were skipped (each is named by its number)
"""


def run_cli(arguments: list[str], environment: Mapping[str, str], out: TextIO | None = None) -> int:
    """Runs one command; its exit status. ``out``: where results go (default: standard output)."""
    options = _parser().parse_args(arguments)
    overlay = {name: str(value) for name, value in vars(options).items() if name.isupper() and value is not None}
    try:
        settings = ModemSettings.from_env({**environment, **overlay})
        chosen: Callable[[ModemSettings, argparse.Namespace, TextIO], int] = options.handler
        return chosen(settings, options, out or sys.stdout)
    except (SettingError, StartError, KeyUnusable, CardError, PeerError) as error:
        print(f"error: simway-modem: {error}", file=sys.stderr)
        return 2


# --- commands ------------------------------------------------------------------------------------------------------------


def _run(settings: ModemSettings, options: argparse.Namespace, _out: TextIO) -> int:
    source = _source(settings, options)
    os.umask(0o077)
    home.prepare(settings.modem_dir)
    lock = home.RunLock(settings.modem_dir)
    if not lock.take():
        return _feed(settings, source, lock.holder())
    try:
        client = ModemClient(settings, source)
        run_service(
            "modem", client.run, metrics_host=settings.metrics_host, metrics_port=settings.metrics_port,
            log_level=settings.log_level, log_format=settings.log_format,
        )  # fmt: skip
        return client.report.exit_code
    finally:
        lock.release()


def _feed(settings: ModemSettings, source: Source, holder: str) -> int:
    """Another modem client has the directory: a source with an end still gets its readings in."""
    if not source.ends:
        raise StartError(f"a modem client (process {holder or 'unknown'}) runs on {settings.modem_dir} (MODEM_DIR) already")
    logs.configure("modem", settings.log_level, settings.log_format)
    print(f"a modem client (process {holder or 'unknown'}) runs on {settings.modem_dir}: it will send", file=sys.stderr)
    try:
        report = feed(settings, source, threading.Event())
    except KeyboardInterrupt:
        report = SourceReport(error="interrupted")
    except SqliteUnusable as error:
        report = SourceReport(error=str(error))
    if report.error:
        print(f"error: simway-modem: {report.error}", file=sys.stderr)
    return report.exit_code


def _status(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
    try:
        status = gather(settings)
    except SqliteUnusable as error:
        print(f"error: simway-modem: {error}", file=sys.stderr)
        return 1
    out.write(json.dumps(status, indent=2) + "\n" if options.json else table(status))
    return 0 if status["running"] and status["session"].get("attached") else 3


def _personalise(settings: ModemSettings, _options: argparse.Namespace, out: TextIO) -> int:
    home.prepare(settings.modem_dir)
    with _Patient(settings) as sim:
        if personalise(sim, settings.key_file, settings.key_version):
            out.write(f"the SIM now holds the key of {settings.key_file}, version {settings.key_version}\n")
            return 0
    out.write("the SIM holds a key already; it takes one once in its life\n")
    return 1


def _sim_info(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
    home.prepare(settings.modem_dir)
    with _Patient(settings) as sim:
        uicc = sim.use()
        inventory = uicc.inventory()
        applet = uicc.applet_status()
        imsi = uicc.imsi()
    key = None if applet is None else applet.key_version if applet.personalised else 0
    info = {"eid": inventory.eid, "active_iccid": inventory.active_iccid, "imsi": imsi, "profiles": len(inventory.profiles),
            "applet_key_version": key}  # fmt: skip
    if options.json:
        out.write(json.dumps(info, indent=2) + "\n")
        return 0
    holds = {None: "no Simway applet", 0: "Simway applet, still without a key"}.get(
        key, f"Simway applet with a key, version {key}"
    )
    out.write(f"EID       {info['eid'] or '- (no eUICC)'}\nICCID     {info['active_iccid'] or '- (no profile enabled)'}\n")
    out.write(f"IMSI      {imsi or '-'}\nprofiles  {info['profiles']}\nkey       {holds}\n")
    return 0


def _sim_profiles(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
    home.prepare(settings.modem_dir)
    with _Patient(settings) as sim:
        profiles = sim.use().inventory().evidence()["profiles"]
    if options.json:
        out.write(json.dumps(profiles, indent=2) + "\n")
        return 0
    if not profiles:
        out.write("this SIM is no eUICC: it has one profile for life\n")
        return 0
    out.write(f"{'ICCID':20}  {'state':8}  {'class':12}  {'provider':20}  name\n")
    for profile in profiles:
        flag = "  (test profile: a risk in the field)" if profile["profile_class"] == "test" else ""
        out.write(
            f"{profile['iccid']:20}  {profile['state']:8}  {profile['profile_class']:12}  {profile['provider']:20}  "
            f"{profile['nickname'] or profile['name']}{flag}\n"
        )
    return 0


class _Patient:
    """The card, waited for while a running modem client holds it, and let go of at once."""

    def __init__(self, settings: ModemSettings) -> None:
        self._sim = SimCard(lambda: open_card(settings.card, settings.card_settings))

    def __enter__(self) -> SimCard:
        deadline_s = time.monotonic() + CARD_PATIENCE_S
        while True:
            try:
                self._sim.use()
            except NoDriver:
                raise
            except CardError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
                continue
            return self._sim

    def __exit__(self, *_error: object) -> None:
        self._sim.drop()


# --- sources -------------------------------------------------------------------------------------------------------------


def _source(settings: ModemSettings, options: argparse.Namespace) -> Source:
    kind = "csv" if options.csv and options.SOURCE is None else settings.source
    if kind == "stdin":
        return LinesSource(open(0, "rb", closefd=False))
    if kind == "csv":
        if not options.csv:
            raise SettingError("the source csv needs a file: simway-modem run --csv FILE")
        return CsvSource(Path(options.csv), _csv_format(options))
    return HostSource(settings.source_interval_s)


def _csv_format(options: argparse.Namespace) -> CsvFormat:
    try:
        zone = ZoneInfo(options.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingError(f"--time-zone {options.time_zone}: no such zone; write one as Europe/Berlin or UTC") from error
    delimiter = options.delimiter.replace("\\t", "\t")
    if len(delimiter) != 1 or delimiter in _NO_DELIMITERS:
        raise SettingError("--delimiter is one character, or \\t; no quotation mark and no end of a line")
    return CsvFormat(
        delimiter=delimiter, time_column=options.time_column, sensor_column=options.sensor_column,
        value_column=options.value_column, unit_column=options.unit_column, time_format=options.time_format, time_zone=zone,
        decimal=options.decimal, unit=options.unit, prefix=options.prefix, text=options.text,
    )  # fmt: skip


# --- the parser ----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    def formatter(prog: str) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=118)

    parser = argparse.ArgumentParser(
        prog="simway-modem", formatter_class=formatter, epilog=_EXAMPLES,
        description="The device side of Simway: takes readings, keeps them safe, sends them, and switches carriers when told to.",
    )  # fmt: skip
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="measure or read, send, and obey", formatter_class=formatter, epilog=_RUN_NOTES)
    _add_device_options(run)
    _add_source_options(run)
    run.set_defaults(handler=_run)

    status = commands.add_parser("status", help="SIM, session, outbox and last command", formatter_class=formatter)
    _add_option(status, "--dir", "MODEM_DIR", "the device's folder")
    status.add_argument("--json", action="store_true", help="for machines")
    status.set_defaults(handler=_status)

    once = commands.add_parser("personalise", help="give a blank SIM its device key, once", formatter_class=formatter)
    _add_option(once, "--key-file", "DEVICE_KEY_FILE", "the key as 64 hexadecimal digits, mode 0600")
    _add_card_options(once)
    once.set_defaults(handler=_personalise)

    sim = commands.add_parser("sim", help="look at the SIM, without any server", formatter_class=formatter)
    looks = sim.add_subparsers(metavar="WHAT", required=True)
    for name, about, handler in (
        ("info", "EID, ICCID, IMSI and where the key is", _sim_info),
        ("profiles", "the carriers on it", _sim_profiles),
    ):
        look = looks.add_parser(name, help=about, formatter_class=formatter)
        look.add_argument("--json", action="store_true", help="for machines")
        _add_card_options(look)
        look.set_defaults(handler=handler)
    return parser


def _add_option(parser: Any, flag: str, setting: str, about: str, **more: Any) -> None:
    """An option that overrides an environment variable of the same meaning."""
    parser.add_argument(flag, dest=setting, help=f"{about} [{setting}]", **more)


def _add_device_options(parser: argparse.ArgumentParser) -> None:
    device = parser.add_argument_group("the device")
    _add_option(device, "--device", "DEVICE_ID", "the device's id")
    _add_option(device, "--key-file", "DEVICE_KEY_FILE", "its key: 64 hexadecimal digits, mode 0600")
    _add_option(device, "--key-provider", "KEY_PROVIDER", "who holds the key: card or file", metavar="WHERE")
    device.add_argument("--server", action=_Server, metavar="HOST[:PORT]", help="the udp-server [SERVER_HOST, SERVER_PORT]")
    _add_card_options(device)


def _add_card_options(parser: Any) -> None:
    _add_option(parser, "--card", "CARD", "card driver: virtual or pcsc", metavar="DRIVER")
    _add_option(parser, "--reader", "CARD_READER", "part of the reader's name", metavar="NAME")
    _add_option(parser, "--dir", "MODEM_DIR", "the device's folder: outbox, journal, virtual SIM")


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("where readings come from")
    _add_option(source, "--source", "SOURCE", "host, stdin or csv", metavar="SOURCE")
    _add_option(source, "--interval", "SOURCE_INTERVAL_S", "between two measurements of the host: 1, 200ms, 5min", metavar="TIME")
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
