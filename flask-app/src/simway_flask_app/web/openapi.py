"""The OpenAPI 3.1 document, made from the operations and their structs."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib import metadata
from typing import Any

import msgspec

from simway_flask_app.web import limits, schemas
from simway_flask_app.web.auth import SESSION_COOKIE
from simway_flask_app.web.operations import Operation, ReplyShape
from simway_flask_app.web.problems import MEDIA_TYPE, ProblemDetails
from simway_flask_app.web.routes import PREFIX, operations

_REF = "#/components/schemas/{name}"
_DESCRIPTION = (
    "Devices behind a SIM: their readings, their carriers, and commands to them. Errors are problem details (RFC 9457). "
    f"A request body is at most {limits.BODY_MAX_BYTES} bytes; at most {limits.STREAMS_MAX} event streams are open at once."
)
_EVENT = {
    "description": "one event; ``data`` is JSON",
    "type": "object",
    "properties": {
        "event": {"enum": ["ready", "readings", "command", "device"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "milliseconds"},
    },
    "required": ["event", "data"],
}
_FREE = {"text/event-stream": _EVENT, "application/json": {"type": "object"}}
"""What is known of bodies without a struct; of any other media type, nothing."""
_BODY_EXAMPLES = {"text/csv": "time,sensor,value,unit\n2026-01-31T12:00:00Z,power,35.5,W\n"}
_PROBLEM_REF = {"$ref": _REF.format(name="ProblemDetails")}
_PATH_PARAMETERS = {
    "device": {"type": "string", "minLength": 1, "description": "device id"},
    "command": {"type": "string", "minLength": 1, "description": "command id, 32 hexadecimal digits"},
    "letter": {"type": "string", "minLength": 1, "description": "number of a dead letter"},
}
_PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    405: {"Allow": "the methods that this address takes"},
    429: {"Retry-After": "seconds to wait"},
    503: {"Retry-After": "seconds to wait"},
}


@cache
def document_bytes() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The document. Everything in it follows from the code that answers the requests."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.template, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Simway",
            "version": metadata.version("simway-flask-app"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _components(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "the text in the file that ADMIN_TOKEN_FILE names"},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": SESSION_COOKIE,
                    "description": "from signing in; requests that change something must come from a page of the same origin",
                },
            },
        },
    }  # fmt: skip


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]} for name in operation.path_parameters
    ]
    if operation.query is not None:
        parameters += _query_parameters(operation.query)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if isinstance(operation.body, str):
        content = {"schema": {"type": "string"}, "example": _BODY_EXAMPLES[operation.body]}
        described["requestBody"] = {"required": True, "content": {operation.body: content}}
    elif operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(operation.body)}}}
    if operation.public:
        described["security"] = []
    return described


def _query_parameters(shape: type[msgspec.Struct]) -> list[dict[str, Any]]:
    properties = msgspec.json.schema(shape)["$defs"][shape.__name__]["properties"]
    parameters = []
    for name, property_ in properties.items():
        schema = _without_null(property_)
        described = {"name": name, "in": "query", "required": False, "schema": schema}
        if "description" in schema:
            described["description"] = schema.pop("description")
        parameters.append(described)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional parameter is left out, never null."""
    schema = dict(schema)
    if schema.get("default", ...) is None:
        del schema["default"]
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del schema["anyOf"]
        schema |= options[0]
    return schema


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(status): _success(operation, status, reply) for status, reply in operation.replies.items()}
    problems = {*operation.problems, 422, 500}
    if not operation.public:
        problems |= {401, 403} if operation.method != "GET" else {401}
    if operation.name not in {"get_openapi", "get_session", "sign_in", "sign_out"}:
        problems.add(503)
    for status in sorted(problems):
        responses[str(status)] = _with_headers(
            {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}}},
            _PROBLEM_HEADERS.get(status, {}),
        )
    return responses


def _success(operation: Operation, status: int, reply: ReplyShape) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    options = _options(reply)
    shapes = [_schema(option) for option in options if not isinstance(option, str)]
    content: dict[str, Any] = {option: {"schema": _FREE.get(option, {})} for option in options if isinstance(option, str)}
    if shapes:
        content["application/json"] = {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}
    if content:
        described["content"] = content
    return _with_headers(described, operation.headers.get(status, {}))


def _with_headers(described: dict[str, Any], headers: Any) -> dict[str, Any]:
    if headers:
        described["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return described


def _options(reply: ReplyShape) -> tuple[type[msgspec.Struct] | str, ...]:
    if reply is None:
        return ()
    return reply if isinstance(reply, tuple) else (reply,)


def _shapes() -> list[Any]:
    shapes: list[Any] = [ProblemDetails]
    for operation in operations:
        for reply in operation.replies.values():
            shapes += [option for option in _options(reply) if isinstance(option, type)]
        if operation.body is not None and not isinstance(operation.body, str):
            shapes.append(operation.body)
    return list(dict.fromkeys(shapes))


@cache
def _named() -> tuple[dict[Any, Any], dict[str, Any]]:
    shapes = _shapes()
    schemas_, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    return dict(zip(shapes, schemas_, strict=True)), components


def _schema(shape: Any) -> Any:
    return _named()[0][shape]


def _components() -> dict[str, Any]:
    components = _named()[1]
    switch = components[schemas.Switch.__name__]
    switch["oneOf"] = [{"required": ["iccid"]}, {"required": ["provider"]}]
    switch["dependentRequired"] = {"force": ["reason"], "reason": ["force"]}
    return components
