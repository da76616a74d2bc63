"""The API as a list of operations: each is a route of Flask *and* its own description, so that the OpenAPI document stays true.

An operation's function receives its path parameters, ``query`` and ``body`` already parsed and checked against the structs
that it declares, and returns a struct, a ``Reply``, or a Flask response.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar, get_origin

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from simway_flask_app.web import limits
from simway_flask_app.web.auth import Gate
from simway_flask_app.web.problems import FieldError, Problem

Endpoint = Callable[..., Any]
_T = TypeVar("_T", bound=msgspec.Struct)
ReplyShape: TypeAlias = type[msgspec.Struct] | str | tuple[type[msgspec.Struct] | str, ...] | None
_PATH_PARAMETER = re.compile(r"<(\w+)>")
_AT = re.compile(r"\s*- at `\$?\.?(?P<path>[^`]*)`$")


@dataclass(frozen=True, slots=True)
class Reply:
    """A success: ``body`` is a struct, or None for an empty answer."""

    body: msgspec.Struct | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``replies``: status -> struct (or several: one of them), None (empty) or a media type (or several).

    ``problems``: further statuses; ``body``: a struct, or a media type of a body that the endpoint reads itself.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    replies: Mapping[int, ReplyShape]
    problems: tuple[int, ...] = ()
    query: type[msgspec.Struct] | None = None
    body: Any = None
    public: bool = False
    headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def path_parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return _PATH_PARAMETER.findall(self.path)

    @property
    def template(self) -> str:
        """The path in OpenAPI's notation."""
        return _PATH_PARAMETER.sub(r"{\1}", self.path)


class Operations:
    """Collects operations and puts them on a blueprint."""

    def __init__(self) -> None:
        self._entries: list[tuple[Operation, Endpoint]] = []

    def __iter__(self) -> Iterator[Operation]:
        return (operation for operation, _ in self._entries)

    def add(
        self, method: str, path: str, *, tag: str, summary: str, replies: Mapping[int, Any], **more: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorates an endpoint. Its docstring becomes the operation's description."""

        def register(endpoint: Endpoint) -> Endpoint:
            description = " ".join((endpoint.__doc__ or "").split())
            self._entries.append(
                (Operation(endpoint.__name__, method, path, tag, summary, description, replies, **more), endpoint)
            )
            return endpoint

        return register

    def install(self, blueprint: Blueprint, gate: Gate) -> None:
        """Adds a route for every operation."""
        for operation, endpoint in self._entries:
            blueprint.add_url_rule(
                operation.path,
                operation.name,
                _view(operation, endpoint, gate),
                methods=[operation.method],
                provide_automatic_options=False,
            )


def _view(operation: Operation, endpoint: Endpoint, gate: Gate) -> Callable[..., Response]:
    def view(**arguments: Any) -> Response:
        if not operation.public:
            gate.check(request)
        if operation.query is not None:
            arguments["query"] = parse_query(operation.query)
        elif request.args:
            raise _bad_query([FieldError(f"query.{name}", "unknown parameter") for name in request.args])
        if operation.body is not None and not isinstance(operation.body, str):
            arguments["body"] = parse_body(operation.body)
        return _respond(current_app.ensure_sync(endpoint)(**arguments))

    return view


def _respond(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    reply = result if isinstance(result, Reply) else Reply(result)
    data = b"" if reply.body is None else msgspec.json.encode(reply.body)
    response = Response(data, status=reply.status, headers=dict(reply.headers), mimetype="application/json")
    if reply.body is None:
        del response.headers["Content-Type"]
    return response


def parse_query(shape: type[_T]) -> _T:
    """The query string as ``shape``; fields of type list take a parameter that comes several times. 422 when it does not fit."""
    lists = {item.encode_name for item in msgspec.structs.fields(shape) if _is_list(item.type)}
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        if name in lists:
            values[name] = given
        elif len(given) > 1:
            raise _bad_query([FieldError(f"query.{name}", "given more than once")])
        else:
            values[name] = given[0]
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise _bad_query([_field_error("query", error)]) from error


def _is_list(type_: Any) -> bool:
    bare = type_.__origin__ if get_origin(type_) is Annotated else type_
    return get_origin(bare) is list


def parse_body(shape: Any) -> Any:
    """The JSON body as ``shape``. 415 for another media type, 400 for what is no JSON, 422 for JSON that does not fit."""
    if request.mimetype != "application/json":
        raise Problem(415, "unsupported_media_type", "Send a JSON body with Content-Type: application/json.")
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= limits.BODY_MAX_BYTES:  # of chunks, just so much was read
        raise RequestEntityTooLarge
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise Problem(422, "bad_request", "The body does not fit; see errors.", errors=[_field_error("body", error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "bad_json", f"The body is not JSON: {error}") from error


def _bad_query(errors: list[FieldError]) -> Problem:
    return Problem(422, "bad_request", "A query parameter does not fit; see errors.", errors=errors)


def _field_error(part: str, error: msgspec.ValidationError) -> FieldError:
    text = str(error)
    found = _AT.search(text)
    where = found["path"] if found else ""
    return FieldError(f"{part}.{where}" if where else part, _AT.sub("", text))
