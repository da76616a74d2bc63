"""The endpoints of ``/api/v1``: parse, call one use case, map its error to a status."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, request
from simway_protocol.identity import derive_device_key, is_device_id

from simway_flask_app import commands as use_cases
from simway_flask_app.store import port
from simway_flask_app.watching import DATABASE, SCHEMA
from simway_flask_app.web import (
    api_loss,
    api_readings,
    api_retention,
    api_sim,
    api_transfers,
    api_writers,
    cursors,
    present,
    schemas,
)
from simway_flask_app.web.auth import SESSION_COOKIE, Gate, require_same_origin
from simway_flask_app.web.context import ACTOR, Services, services
from simway_flask_app.web.limits import STREAM_RETRY_S
from simway_flask_app.web.live import TooManyStreams
from simway_flask_app.web.operations import Reply
from simway_flask_app.web.problems import FAILED, FieldError, Problem, problem_response
from simway_flask_app.web.routes import NOT_A_DEVICE_ID, PREFIX, command_id, device_id, operations

log = structlog.get_logger(__name__)

ROOMS = (api_loss, api_readings, api_retention, api_sim, api_transfers, api_writers)
"""Modules that add operations of their own when they are imported."""


def make_blueprint(gate: Gate) -> Blueprint:
    """The blueprint of the API; every route but the public ones passes ``gate``."""
    blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
    operations.install(blueprint, gate)
    blueprint.register_error_handler(port.StoreError, _on_store_error)
    blueprint.register_error_handler(use_cases.CommandError, _on_command_error)

    @blueprint.after_request
    def _no_store(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return blueprint


# --- service -----------------------------------------------------------------------------------------------------------


@operations.add(
    "GET", "/health", tag="service", summary="Is the service well?", replies={200: schemas.Health}, problems=(503,), public=True
)
def get_health() -> schemas.Health:
    """200 when the service, its database and the schema are well, else 503 with what is wrong. Needs no token."""
    store = services().store
    store.ping()
    store.check_schema()
    return schemas.Health("ok", dict.fromkeys((DATABASE, SCHEMA), "ok"))


@operations.add("GET", "/openapi.json", tag="service", summary="This document", replies={200: "application/json"})
def get_openapi() -> Response:
    """The OpenAPI 3.1 description of this API."""
    from simway_flask_app.web.openapi import document_bytes

    return Response(document_bytes(), mimetype="application/json")


@operations.add(
    "GET", "/session", tag="session", summary="Is this browser signed in?", replies={200: schemas.SessionState}, public=True
)
def get_session() -> schemas.SessionState:
    """Tells whether the request's credentials would be let in."""
    try:
        services().gate.check(request)
    except Problem:
        return schemas.SessionState(False)
    return schemas.SessionState(True)


@operations.add(
    "POST",
    "/session",
    tag="session",
    summary="Sign in",
    replies={204: None},
    problems=(400, 401, 403, 413, 415, 422),
    public=True,
    body=schemas.SignIn,
    headers={204: {"Set-Cookie": "the session cookie: HttpOnly, SameSite=Strict"}},
)
def sign_in(body: schemas.SignIn) -> Response:
    """Exchanges the API token for a session cookie, for browsers: an event stream there cannot send a header."""
    if request.headers.get("Origin") is not None:
        require_same_origin(request)
    gate = services().gate
    if not gate.is_token(body.token):
        raise Problem(
            401,
            "invalid_token",
            "This is not the API token of this server.",
            headers={"WWW-Authenticate": 'Bearer realm="simway"'},
        )
    response = _empty(204)
    gate.open_session(response, secure=request.is_secure)
    return response


@operations.add(
    "DELETE",
    "/session",
    tag="session",
    summary="Sign out",
    replies={204: None},
    problems=(403,),
    public=True,
    headers={204: {"Set-Cookie": "an expired session cookie"}},
)
def sign_out() -> Response:
    """Takes the session cookie away. Without one there is nothing to do, which is fine too."""
    if SESSION_COOKIE in request.cookies:
        require_same_origin(request)
    response = _empty(204)
    services().gate.close_session(response)
    return response


# --- devices -----------------------------------------------------------------------------------------------------------


@operations.add(
    "POST",
    "/devices",
    tag="devices",
    summary="Register a device",
    replies={201: schemas.NewDeviceReply},
    problems=(400, 409, 413, 415, 422),
    body=schemas.NewDevice,
    headers={201: {"Location": "the device"}},
)
def add_device(body: schemas.NewDevice) -> Reply:
    """Registers a device and shows its key, this once."""
    if not is_device_id(body.id):
        raise Problem(422, "bad_request", NOT_A_DEVICE_ID)
    ports = services()
    ports.store.add_device(body.id, name=body.name, now_us=ports.now_us(), actor=ACTOR)
    detail = ports.store.device(body.id)
    key = derive_device_key(ports.master_secret, body.id, detail.device.key_version)
    shown = schemas.NewDeviceReply(present.device(detail), schemas.DeviceKey(detail.device.key_version, key.hex()))
    return Reply(shown, 201, {"Location": f"{PREFIX}/devices/{body.id}"})


@operations.add(
    "GET",
    "/devices",
    tag="devices",
    summary="List devices",
    replies={200: schemas.DevicesPage},
    problems=(422,),
    query=schemas.DevicesQuery,
)
def list_devices(query: schemas.DevicesQuery) -> schemas.DevicesPage:
    """Devices by id, revoked ones too."""
    rows = services().store.devices(limit=query.limit + 1, after=cursors.decode(query.cursor))
    shown = rows[: query.limit]
    more = cursors.encode(shown[-1].device.device) if len(rows) > query.limit else None
    return schemas.DevicesPage([present.device(row) for row in shown], more)


@operations.add(
    "GET", "/devices/<device>", tag="devices", summary="Show a device", replies={200: schemas.Device}, problems=(404,)
)
def get_device(device: str) -> schemas.Device:
    """The device with its active carrier, the inventory of its SIM and its session."""
    return present.device(services().store.device(device_id(device)))


@operations.add(
    "PATCH",
    "/devices/<device>",
    tag="devices",
    summary="Revoke a device, or let it in again",
    replies={200: schemas.Device},
    problems=(400, 404, 413, 415, 422),
    body=schemas.DeviceChange,
)
def change_device(device: str, body: schemas.DeviceChange) -> schemas.Device:
    """Gateways learn of it within a second."""
    ports = services()
    ports.store.set_device_status(device_id(device), body.status, now_us=ports.now_us(), actor=ACTOR)
    return present.device(ports.store.device(device))


# --- commands ----------------------------------------------------------------------------------------------------------


@operations.add(
    "POST",
    "/devices/<device>/commands",
    tag="commands",
    summary="Send a command",
    replies={202: schemas.Command},
    problems=(400, 404, 409, 413, 415, 422, 429),
    body=schemas.CommandRequest,
    headers={202: {"Location": "the command; follow its state there"}},
)
def add_command(device: str, body: schemas.CommandRequest) -> Reply:
    """Queues a command. 409, or 429 where waiting helps, when it is known at once that it cannot or must not be done; ``reason``
    says why: already_enabled, device_busy, policy, no_inventory, test_profile, provisioning_profile, unknown_class,
    no_fallback, daily_cap, ... Force sets aside those whose problem says ``forcible``."""
    row = _queue(services(), device_id(device), body)
    return Reply(present.command(row), 202, {"Location": f"{PREFIX}/devices/{device}/commands/{row.command_id}"})


def _queue(ports: Services, device: str, body: schemas.CommandRequest) -> port.Command:
    now_us = ports.now_us()
    if isinstance(body, schemas.Switch):
        return use_cases.switch_carrier(
            ports.store, device, iccid=body.iccid or "", provider=body.provider or "", deadline_s=body.deadline_s,
            expires_in_s=body.expires_in_s, force_reason=body.reason if body.force else "",
            switches_per_day=ports.switches_per_day, actor=ACTOR, now_us=now_us,
        )  # fmt: skip
    use_case = use_cases.ping if isinstance(body, schemas.Ping) else use_cases.audit
    return use_case(ports.store, device, expires_in_s=body.expires_in_s, actor=ACTOR, now_us=now_us)


@operations.add(
    "GET",
    "/devices/<device>/commands",
    tag="commands",
    summary="Commands of a device",
    replies={200: schemas.CommandsPage},
    problems=(404, 422),
    query=schemas.CommandsQuery,
)
def list_commands(device: str, query: schemas.CommandsQuery) -> schemas.CommandsPage:
    """The newest first."""
    store = services().store
    store.require_device(device_id(device))
    page = store.commands(device, limit=query.limit, cursor=query.cursor)
    return schemas.CommandsPage([present.command(row) for row in page.commands], page.next_cursor)


@operations.add(
    "GET",
    "/devices/<device>/commands/<command>",
    tag="commands",
    summary="Show a command",
    replies={200: schemas.CommandWithHistory},
    problems=(404,),
)
def get_command(device: str, command: str) -> schemas.CommandWithHistory:
    """The command and everything that happened to it; of a switch, also what the SIM itself says of it (``sim_word``)."""
    ports = services()
    row, history = ports.store.command_with_history(device_id(device), command_id(command))
    word = api_sim.word_on(ports, row) if row.kind == "switch" else None
    return present.command_with_history(row, history, word)


@operations.add(
    "POST",
    "/devices/<device>/commands/<command>/cancel",
    tag="commands",
    summary="Cancel a command",
    replies={200: schemas.Command, 202: schemas.Command},
    problems=(404, 409),
)
def cancel_command(device: str, command: str) -> Reply:
    """200 when it is cancelled; 202 when the device has to be asked; 409 from EXECUTED on."""
    ports = services()
    row = use_cases.cancel(ports.store, device_id(device), command_id(command), actor=ACTOR, now_us=ports.now_us())
    return Reply(present.command(row), 200 if row.state == "CANCELLED" else 202)


# --- events ------------------------------------------------------------------------------------------------------------


@operations.add(
    "GET",
    "/events",
    tag="events",
    summary="What happens, as it happens",
    replies={200: "text/event-stream"},
    problems=(422, 429),
    query=schemas.EventsQuery,
)
def stream_events(query: schemas.EventsQuery) -> Response:
    """Server-sent events: ``ready`` once, then ``readings`` (a list of the newest readings), ``command`` (with its history) and
    ``device``, each as in this API and with the device's id. Connect again when it ends, and read anew what was missed."""
    if request.method == "HEAD":
        return Response(mimetype="text/event-stream")
    if query.device is not None and not is_device_id(query.device):
        raise Problem(422, "bad_request", NOT_A_DEVICE_ID, errors=[FieldError("query.device", "no device id")])
    try:
        stream = services().live.subscribe(query.device)
    except TooManyStreams as error:
        raise Problem(429, "too_many_streams", str(error), headers={"Retry-After": str(STREAM_RETRY_S)}) from error
    response = Response(stream, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


# --- errors ------------------------------------------------------------------------------------------------------------

_STORE_STATUS: dict[type[port.StoreError], tuple[int, str]] = {
    port.UnknownDevice: (404, "unknown_device"),
    port.UnknownCommand: (404, "unknown_command"),
    port.DeviceExists: (409, "device_exists"),
    port.NotCancellable: (409, "not_cancellable"),
    port.UnknownLetter: (404, "unknown_letter"),
    port.SchemaMismatch: (503, "schema_mismatch"),
}


def _on_store_error(error: port.StoreError) -> Response:
    if isinstance(error, port.BadCursor):
        return problem_response(cursors.bad_cursor())
    if isinstance(error, port.CommandRefused):
        return problem_response(_refused(error))
    if isinstance(error, port.TooMuch | port.LetterRefused):
        status = 422 if isinstance(error, port.TooMuch) else 409
        return problem_response(Problem(status, error.reason, str(error)))
    if isinstance(error, port.StoreUnavailable):
        log.warning("web.store_unavailable", error=str(error))
        detail = "The database does not answer. Try again."
        return problem_response(Problem(503, "store_unavailable", detail, headers={"Retry-After": "1"}))
    if type(error) not in _STORE_STATUS:
        log.error("web.store_error", error=str(error), exc_info=error)
        return problem_response(Problem(500, "internal_error", FAILED))
    status, reason = _STORE_STATUS[type(error)]
    return problem_response(Problem(status, reason, str(error)))


def _refused(error: port.CommandRefused) -> Problem:
    refusal = error.refusal
    if not refusal.retry_after_s:
        return Problem(409, refusal.reason, refusal.text, forcible=refusal.forcible)
    return Problem(429, refusal.reason, refusal.text, headers={"Retry-After": str(refusal.retry_after_s)})


def _on_command_error(error: use_cases.CommandError) -> Response:
    status = {use_cases.BadRequest: 422, use_cases.UnknownProfile: 404}.get(type(error), 409)
    return problem_response(Problem(status, error.reason, str(error)))


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response
