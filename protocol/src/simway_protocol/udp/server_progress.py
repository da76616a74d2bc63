"""RECEIPT, RESULT and CLOSED at the server: what they end, and what the shell is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simway_protocol.commands import ResultOutcome
from simway_protocol.udp.bodies import decode_closed, decode_receipt, decode_result_part
from simway_protocol.udp.downlink import Downlink
from simway_protocol.udp.events import CommandProgress
from simway_protocol.udp.frames import Type
from simway_protocol.udp.results import ResultShelf
from simway_protocol.udp.server_session import Session

_ENDS_CONFIRM = {ResultOutcome.ROLLED_BACK.value, ResultOutcome.FAILED.value}


def shelf_of(session: Session) -> ResultShelf:
    """The shelf of a session, made at its first use."""
    if session.shelf is None:
        session.shelf = ResultShelf()
    return session.shelf


def progress(session: Session, command_id: bytes, event: str, **more: Any) -> CommandProgress:
    """The event, with what the session knows."""
    return CommandProgress(
        session.device, session.session_id, session.generation, session.attach.iccid, command_id, event, **more
    )  # fmt: skip


def take_receipt(session: Session, body: dict[Any, Any], downlink: Downlink) -> CommandProgress | None:
    """RECEIPT ends the repetition of COMMAND."""
    command_id, counter = decode_receipt(body)
    downlink.drop(session.device, command_id, Type.COMMAND)
    if shelf_of(session).add_receipt(command_id, counter):
        return progress(session, command_id, "received", counter=counter)
    return None


def take_result(session: Session, body: dict[Any, Any], downlink: Downlink) -> CommandProgress | None:
    """A RESULT, once whole, ends COMMAND and CANCEL, and CONFIRM too if the device has gone back."""
    part = decode_result_part(body)
    result = shelf_of(session).add_part(part)
    if result is None:
        return None
    downlink.drop(session.device, part.command_id, Type.COMMAND, Type.CANCEL)
    if result.outcome in _ENDS_CONFIRM:
        downlink.drop(session.device, part.command_id, Type.CONFIRM)
    outcome, reason, evidence = result
    return progress(session, part.command_id, "result", outcome=outcome, reason=reason, evidence=evidence)


def take_closed(session: Session, body: dict[Any, Any], downlink: Downlink) -> CommandProgress | None:
    """CLOSED ends everything of its command."""
    command_id, outcome = decode_closed(body)
    downlink.drop(session.device, command_id)
    if shelf_of(session).add_closed(command_id, outcome):
        return progress(session, command_id, "closed", outcome=outcome)
    return None


TAKE: dict[Type, Callable[[Session, dict[Any, Any], Downlink], CommandProgress | None]] = {
    Type.RECEIPT: take_receipt,
    Type.RESULT: take_result,
    Type.CLOSED: take_closed,
}
