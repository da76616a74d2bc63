"""The endpoints of ``/api/v1`` that move many readings: exports as files, and the import of CSV history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

import structlog
from flask import Response, request
from msgspec import structs
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from simway_flask_app import imports
from simway_flask_app.csv_history import Shape
from simway_flask_app.csv_records import BadFile
from simway_flask_app.store.port import StoreError
from simway_flask_app.web import export_formats, limits, schemas_readings, times
from simway_flask_app.web.context import services
from simway_flask_app.web.export_formats import MEDIA_TYPES, TEXTS
from simway_flask_app.web.problems import FieldError, Problem
from simway_flask_app.web.routes import device_id, operations
from simway_flask_app.web.transfers import Transfer

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_READ_BYTES = 64 * 1024
_FILES = (*MEDIA_TYPES.values(), "application/gzip")
_FILE_HEADERS = {"Content-Disposition": "attachment, with a file name"}


@operations.add(
    "GET",
    "/devices/<device>/export",
    tag="readings",
    summary="Export the readings of a device as a file",
    replies={200: _FILES},
    problems=(404, 422, 429, 505),
    query=schemas_readings.ExportQuery,
    headers={200: _FILE_HEADERS},
)
def export_device(device: str, query: schemas_readings.ExportQuery) -> Response:
    """CSV, NDJSON, Parquet or an Arrow IPC file, streamed: sensor by sensor, each in order of time. A failure midway breaks the
    transfer off, so that a short file never looks whole. What is stored meanwhile may be missing."""
    return _export([device], device.replace(":", "_"), query)


@operations.add(
    "GET",
    "/export",
    tag="readings",
    summary="Export the readings of several devices or of all as one file",
    replies={200: _FILES},
    problems=(404, 422, 429, 505),
    query=schemas_readings.FleetExportQuery,
    headers={200: _FILE_HEADERS},
)
def export_fleet(query: schemas_readings.FleetExportQuery) -> Response:
    """As of one device, device by device; 404 when one of them is unknown."""
    return _export(query.device or None, "fleet", query)


def _export(devices: Sequence[str] | None, name: str, query: schemas_readings.ExportQuery) -> Response:
    from_us, to_us = times.parse_parameter("from", query.from_), times.parse_parameter("to", query.to)
    times.check_range(from_us, to_us)
    if query.compress == "gzip" and query.format not in TEXTS:
        errors = [FieldError("query.compress", "only for csv and ndjson: the other formats are binary already")]
        raise Problem(422, "bad_request", "A query parameter does not fit; see errors.", errors=errors)
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        detail = "An export needs HTTP/1.1: in HTTP/1.0 a transfer that breaks off looks like one that is over."
        raise Problem(505, "http_version", detail)
    store = services().store
    for device in devices or ():
        store.require_device(device_id(device))
    columns = _columns(query.columns)
    response = Response(mimetype="application/gzip" if query.compress == "gzip" else MEDIA_TYPES[query.format])
    suffix = query.format + (".gz" if query.compress == "gzip" else "")
    response.headers["Content-Disposition"] = f'attachment; filename="readings-{name}.{suffix}"'
    packed = query.compress == "gzip"
    if query.format in TEXTS and not packed:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            response.headers["Content-Encoding"], packed = "gzip", True
    if request.method == "HEAD":
        return response
    transfer = services().transfers.begin(request)
    response.call_on_close(transfer.end)
    try:
        pages = store.export(devices, sensors=query.sensor, from_us=from_us, to_us=to_us)
        parts = export_formats.encoded(query.format, columns, _begun(pages))
        response.response = _watched(_begun(export_formats.gzipped(parts) if packed else parts), transfer)
    except BaseException:
        transfer.end()
        raise
    return response


def _columns(text: str | None) -> tuple[str, ...]:
    columns = tuple(text.split(",")) if text else ()
    if twice := next((name for place, name in enumerate(columns) if name in columns[:place]), None):
        errors = [FieldError("query.columns", f"names {twice!r} twice")]
        raise Problem(422, "bad_request", "A query parameter does not fit; see errors.", errors=errors)
    return columns


def _begun(items: Iterator[_T]) -> Iterator[_T]:
    """``items`` with the first one made that holds anything: a database that is away is told in the answer's status."""
    first = next((item for item in items if item), None)
    return items if first is None else chain([first], items)


def _watched(parts: Iterator[bytes], transfer: Transfer) -> Iterator[bytes]:
    """What fails midway is raised into the server, which closes the connection without the last chunk."""
    try:
        for part in parts:
            if part:
                yield part
    except StoreError as error:
        log.warning("web.export_broken_off", error=str(error))
        raise
    finally:
        transfer.end()


@operations.add(
    "POST",
    "/devices/<device>/import",
    tag="readings",
    summary="Import CSV history of a device",
    replies={200: schemas_readings.ImportReply},
    problems=(400, 404, 413, 415, 422, 429),
    query=schemas_readings.ImportQuery,
    body="text/csv",
)
def import_history(device: str, query: schemas_readings.ImportQuery) -> schemas_readings.ImportReply:
    """Reads CSV in UTF-8 as it arrives and stores it part by part, with rollups and the loss ledger. The same file again stores
    nothing twice: its readings are duplicates. Bad lines are named and do not stop the rest. A long file may come in parts."""
    ports = services()
    ports.store.require_device(device_id(device))
    _check_media()
    request.max_content_length = limits.IMPORT_MAX_BYTES
    transfer = ports.transfers.begin(request)
    try:
        report = imports.run(
            ports.store, device, _body(), Shape(**structs.asdict(query)), now_us=ports.now_us,
            listed_max=limits.IMPORT_BAD_LISTED,
        )  # fmt: skip
    except BadFile as error:
        raise Problem(422, error.reason, f"The file cannot be read: {error}.") from error
    except RequestEntityTooLarge as error:
        detail = (
            f"An import is at most {limits.IMPORT_MAX_BYTES} bytes. Send a longer file in parts, cut at line ends: header "
            "repeats the header line, first_line goes on counting. What was sent twice is not stored twice."
        )
        raise Problem(413, "too_large", detail) from error
    finally:
        transfer.end()
    return _shown(device, report)


def _check_media() -> None:
    if request.mimetype != "text/csv":
        raise Problem(415, "unsupported_media_type", "Send the file as it is, with Content-Type: text/csv.")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(415, "bad_encoding", f"The file is said to be {charset[:40]!r}: save it as UTF-8.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "unsupported_media_type", "Send the file unpacked, without Content-Encoding.")


def _body() -> Iterator[bytes]:
    """The body as it arrives. Raises a 400 ``Problem`` when it ends before its announced end: the server would not tell."""
    read_bytes = 0
    cut = Problem(400, "body_cut", "The body broke off. Send the file again: what is stored already comes as duplicates.")
    try:
        while part := request.stream.read(_READ_BYTES):
            read_bytes += len(part)
            yield part
    except (OSError, ClientDisconnected) as error:
        raise cut from error
    if request.content_length is not None and read_bytes < request.content_length:
        raise cut


def _shown(device: str, report: imports.Report) -> schemas_readings.ImportReply:
    return schemas_readings.ImportReply(
        device, report.lines, report.readings, report.stored, report.duplicate, report.conflict, report.refused, report.empty,
        dict(report.rejected), [schemas_readings.BadLine(*bad) for bad in report.bad],
    )  # fmt: skip
