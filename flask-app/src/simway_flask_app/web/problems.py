"""One error shape for every answer that is not a success: problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:simway:problem:"

FAILED = "The server failed to answer. Its log says why."

log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct, omit_defaults=True):
    """What is wrong with one part of a request."""

    where: str
    """``query.limit``, ``body.iccid``, ..."""
    detail: str


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """The body of every error. ``type`` and ``reason`` are stable names for programs; ``title`` and ``detail`` are for people."""

    type: str
    title: str
    status: int
    reason: str
    detail: str
    errors: list[FieldError] = []
    forcible: bool = False
    """A switch was refused by a rule that ``force`` sets aside."""


class Problem(Exception):
    """Raised by an endpoint to answer with an error. ``reason`` is a short stable constant."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
        forcible: bool = False,
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status, self.reason, self.detail = status, reason, detail
        self.headers = dict(headers or {})
        self.errors = errors or []
        self.forcible = forcible


def problem_body(problem: Problem) -> bytes:
    """The JSON bytes of a problem."""
    details = ProblemDetails(
        type=TYPE_PREFIX + problem.reason,
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        reason=problem.reason,
        detail=problem.detail,
        errors=problem.errors,
        forcible=problem.forcible,
    )
    return msgspec.json.encode(details)


def problem_response(problem: Problem) -> Response:
    """The answer to a request that failed."""
    return Response(problem_body(problem), status=problem.status, headers=problem.headers, mimetype=MEDIA_TYPE)


_REASONS = {
    400: ("bad_request", "The request could not be understood."),
    404: ("not_found", "There is nothing at this address. /api/v1/openapi.json lists what there is."),
    405: ("method_not_allowed", "This address does not take this method; see the Allow header."),
    408: ("request_timeout", "The request took too long to arrive."),
    413: ("too_large", "The request body is larger than this server takes."),
    414: ("too_long", "The address is longer than this server takes."),
    415: ("unsupported_media_type", "Send a JSON body with Content-Type: application/json."),
    431: ("too_large", "The request headers are larger than this server takes."),
}


def from_http(error: HTTPException) -> Problem:
    """The problem that says what a werkzeug exception says."""
    status = error.code or 500
    reason, detail = _REASONS.get(status, ("error", error.description or HTTPStatus(status).phrase))
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return Problem(status, reason, detail, headers=headers)


def install(app: Flask) -> None:
    """Makes every error of ``app``, an unforeseen exception too, answer with problem details."""

    @app.errorhandler(Problem)
    def _on_problem(problem: Problem) -> Response:
        return problem_response(problem)

    @app.errorhandler(HTTPException)
    def _on_http(error: HTTPException) -> Response:
        if error.response is not None or error.code is None or error.code < 400:
            return error.get_response()  # type: ignore[return-value]  # a redirect of the router
        return problem_response(from_http(error))

    @app.errorhandler(Exception)
    def _on_exception(error: Exception) -> Response:
        log.exception("web.unexpected_error", method=request.method, path=request.path, exc_info=error)
        return problem_response(Problem(500, "internal_error", FAILED))
