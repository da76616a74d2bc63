"""Opaque cursors for pages whose position is a plain name. Only what this module made is taken back."""

from __future__ import annotations

import base64
import binascii

from simway_flask_app.web.problems import FieldError, Problem

_MARK = b"\x01"


def encode(position: str) -> str:
    """A cursor that stands for ``position``, printable ASCII as ids are."""
    return base64.urlsafe_b64encode(_MARK + position.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str:
    """The position, empty for no cursor; a 422 ``Problem`` for a cursor that ``encode`` did not make."""
    if cursor is None:
        return ""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if data[:1] != _MARK:
            raise bad_cursor()
        position = data[1:].decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise bad_cursor() from error
    if not position.isprintable():
        raise bad_cursor()
    return position


def bad_cursor() -> Problem:
    """The answer to a cursor that is none of ours."""
    return Problem(
        422,
        "bad_cursor",
        "The cursor is none of this server's.",
        errors=[FieldError("query.cursor", "use next_cursor as it came")],
    )
