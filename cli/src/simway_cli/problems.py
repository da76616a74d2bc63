"""What the server's refusals mean for the person at the terminal (problem details, RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simway_cli.errors import Exit, Refused

_EXITS = {401: Exit.TOKEN, 403: Exit.TOKEN, 404: Exit.NOT_FOUND, 409: Exit.REFUSED, 429: Exit.REFUSED, 503: Exit.AWAY}
_HINTS = {
    "unauthorized": "Name the file that holds the API token: --token-file FILE, or SIMWAY_TOKEN_FILE.",
    "invalid_token": "It is another server's, or an old one. Name the right file: --token-file FILE, or SIMWAY_TOKEN_FILE.",
    "unknown_device": "'simway devices' lists the registered devices, 'simway devices create ID' registers one.",
    "unknown_command": "'simway command DEVICE list' lists the device's commands.",
    "device_exists": "'simway devices show ID' shows it. Its key was shown once, when it was created.",
    "unknown_profile": "'simway sim DEVICE' lists the profiles of its SIM.",
    "ambiguous_provider": "Name one of them by --iccid.",
    "already_enabled": "There is nothing to do; 'simway sim DEVICE' shows what is active.",
    "no_inventory": "'simway command DEVICE audit --follow' has the device report its SIM.",
    "device_revoked": "'simway devices restore ID' lets it in again.",
    "not_cancellable": "'simway command DEVICE show ID' shows where it stands.",
    "device_busy": "'simway command DEVICE list' shows what is under way.",
    "unknown_letter": "'simway dead-letters' lists what there is.",
    "bad_cursor": "Ask again from the beginning.",
    "store_unavailable": "Try again in a moment; the server's log says more.",
    "not_found": "This server may be older than this command: it has no such address.",
    "method_not_allowed": "This server may be older than this command.",
}
_FORCE = "--force --reason 'WHY' sets this rule aside; the reason is kept in the audit trail."


def refused(status: int, body: Mapping[str, Any], retry_after: str | None) -> Refused:
    """The error that says what a problem says. ``retry_after``: the header, where there is one."""
    reason = str(body.get("reason", ""))
    detail = str(body.get("detail") or body.get("title") or f"the server answers {status}")
    retry_after_s = int(retry_after) if retry_after and retry_after.isdigit() else None
    errors = body.get("errors")
    lines = [f"{error.get('where', '?')}: {error.get('detail', '')}" for error in errors] if isinstance(errors, list) else []
    return Refused(
        detail, exit_=exit_of(status), status=status, reason=reason, lines=lines, retry_after_s=retry_after_s,
        hint=_hint(reason, forcible=body.get("forcible") is True, retry_after_s=retry_after_s),
    )  # fmt: skip


def _hint(reason: str, *, forcible: bool, retry_after_s: int | None) -> str:
    parts = [_HINTS[reason]] if reason in _HINTS else []
    if forcible:
        parts.append(_FORCE)
    if retry_after_s is not None and reason not in _HINTS:
        parts.append(f"Try again in {retry_after_s} s.")
    return " ".join(parts)


def exit_of(status: int) -> Exit:
    """The exit status of an HTTP status that is no success."""
    if status in _EXITS:
        return _EXITS[status]
    return Exit.INVALID if 400 <= status < 500 else Exit.AWAY
