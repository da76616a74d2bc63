"""``simway-modem run``: the device's own work, or feeding readings to a modem client that runs already."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from simway_backbone import logs
from simway_backbone.service import StartError, run_service
from simway_backbone.settings import SettingError
from simway_backbone.sqlite import SqliteUnusable

from simway_modem_client import home
from simway_modem_client.app import ModemClient, feed
from simway_modem_client.settings import ModemSettings
from simway_modem_client.sources import Source, SourceReport
from simway_modem_client.sources.csv_file import CsvSource
from simway_modem_client.sources.csv_format import CsvFormat
from simway_modem_client.sources.host import HostSource
from simway_modem_client.sources.lines import LinesSource

_NO_DELIMITERS = '"\r\n'


def run(settings: ModemSettings, options: argparse.Namespace, _out: TextIO) -> int:
    """Until it is told to stop, or the source has ended; the exit status. Raises ``StartError`` and ``SettingError``."""
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
