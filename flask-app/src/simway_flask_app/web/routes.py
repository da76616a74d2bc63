"""What the endpoints share: the list of operations they add themselves to, and the ids in their paths."""

from __future__ import annotations

from simway_protocol.identity import is_device_id

from simway_flask_app.web.operations import Operations
from simway_flask_app.web.problems import Problem

PREFIX = "/api/v1"
NOT_A_DEVICE_ID = "A device id is 1 to 64 of A-Z a-z 0-9 . _ : - and begins with a letter or digit."
LETTER_ID_MAX_CHARS = 18
operations = Operations()


def device_id(text: str) -> str:
    """The device id in a path; what is none is answered as a device that nobody knows."""
    if not is_device_id(text):
        raise Problem(404, "unknown_device", "No such device is registered.")
    return text


def command_id(text: str) -> str:
    """The command id in a path; what is none is answered as a command that nobody knows."""
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise Problem(404, "unknown_command", "The device has no command of this id.")
    return text


def letter_id(text: str) -> int:
    """The number of a dead letter in a path; what is none is answered as a letter that nobody knows."""
    if not (text.isascii() and text.isdigit() and len(text) <= LETTER_ID_MAX_CHARS):
        raise Problem(404, "unknown_letter", "There is no dead letter of this number.")
    return int(text)
