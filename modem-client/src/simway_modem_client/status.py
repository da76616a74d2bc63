"""What ``simway-modem status`` shows: from the device's folder, and from the health port of the process that runs on it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import apsw
from simway_backbone import sqlite

from simway_modem_client.home import RunLock
from simway_modem_client.journal import SCHEMA_VERSION as JOURNAL_SCHEMA
from simway_modem_client.journal import read_last_command, read_open_phase
from simway_modem_client.outbox import read_stats
from simway_modem_client.outbox_store import SCHEMA_VERSION as OUTBOX_SCHEMA
from simway_modem_client.settings import ModemSettings

HEALTH_TIMEOUT_S = 2.0

T = TypeVar("T")


def gather(settings: ModemSettings) -> dict[str, Any]:
    """The status as plain values. Changes nothing; what is not there yet is empty. Raises ``SqliteUnusable``."""
    last = _read_status(settings)
    return {
        "device": last.get("device", settings.device),
        "folder": str(settings.modem_dir),
        "running": _is_running(settings),
        "pid": last.get("pid"),
        "seen_us": last.get("t_us"),
        "server": last.get("server", f"{settings.server_host}:{settings.server_port}"),
        "health": _health(settings),
        "sim": last.get("sim", {}),
        "bearer": last.get("bearer", settings.bearer),
        "registration": last.get("registration", {}),
        "session": last.get("session", {}),
        "outbox": _outbox(settings),
        "last_command": _last_command(settings),
    }


def table(status: dict[str, Any]) -> str:
    """The same for people."""
    session, sim, outbox, command = status["session"], status["sim"], status["outbox"], status["last_command"]
    lines = [
        ("device", f"{status['device']}, in {status['folder']}"),
        ("process", f"running, process {status['pid']}" if status["running"] else "not running: simway-modem run"),
        ("session", _session_words(status["running"], session, status["server"])),
        ("radio", _radio_words(status["bearer"], status["registration"])),
        ("SIM", _sim_words(sim)),
        *[("", words) for words in _profile_words(sim)],
        ("outbox", _outbox_words(outbox)),
        ("command", _command_words(command)),
    ]
    return "".join(f"{name:9} {words}\n" for name, words in lines)


# --- words -----------------------------------------------------------------------------------------------------------------


def _session_words(running: bool, session: dict[str, Any], server: str) -> str:
    if not running or not session:
        return f"none with {server}"
    if not session["attached"]:
        return f"not attached to {server}: {session['trouble'] or 'attaching'}"
    rtt = f", round trip {session['rtt_us'] / 1000:.1f} ms" if session.get("rtt_us") else ""
    return f"attached to {server} {_ago(session['attached_since_us'])}, generation {session['generation']}{rtt}"


def _radio_words(bearer: str, registration: dict[str, Any]) -> str:
    if not registration:
        return f"none (bearer {bearer}): this machine's own network" if bearer == "none" else f"not read yet (bearer {bearer})"
    network = " ".join(str(registration[name]) for name in ("rat", "plmn") if name in registration)
    levels = [
        f"{label} {registration[name]:g} {unit}"
        for name, label, unit in (("rsrp_dbm", "RSRP", "dBm"), ("rsrq_db", "RSRQ", "dB"), ("rssi_dbm", "RSSI", "dBm"))
        if name in registration
    ]
    why = f"{registration['state']}: {registration['cause']}" if registration.get("cause") else registration["state"]
    return ", ".join(part for part in (why, network, *levels, f"bearer {bearer}") if part)


def _sim_words(sim: dict[str, Any]) -> str:
    if not sim:
        return "not read yet: simway-modem sim info"
    return f"ICCID {sim['active_iccid'] or 'none: no profile is enabled'}" + (f", EID {sim['eid']}" if sim["eid"] else "")


def _profile_words(sim: dict[str, Any]) -> list[str]:
    return [
        f"{'*' if profile['iccid'] == sim['active_iccid'] else ' '} {profile['iccid']}  {profile['provider']}"
        for profile in sim.get("profiles", [])
    ]


def _outbox_words(outbox: dict[str, Any]) -> str:
    if not outbox:
        return "none yet"
    share = outbox["waiting_bytes"] / outbox["max_bytes"]
    words = f"{outbox['waiting']:,} readings wait ({share:.0%} full), {outbox['logged_total']:,} acknowledged"
    if outbox["rejected_total"]:
        words += f", {outbox['rejected_total']:,} rejected (see dead-letters.jsonl)"
    return words + (f", {outbox['dropped_total']:,} dropped because it was full" if outbox["dropped_total"] else "")


def _command_words(command: dict[str, Any]) -> str:
    if not command:
        return "none yet"
    outcome = command["closed"] or command["outcome"] or "under way"
    reason = f" ({command['reason']})" if command["reason"] else ""
    return f"{command['kind']} {command['command_id']}: {outcome}{reason}, {_ago(command['received_us'])}"


def _ago(t_us: int) -> str:
    seconds = max(0, time.time_ns() // 1000 - t_us) // 1_000_000
    since = datetime.fromtimestamp(t_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"since {since} ({seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02})"


# --- reading ---------------------------------------------------------------------------------------------------------------


def _read_status(settings: ModemSettings) -> dict[str, Any]:
    try:
        status: dict[str, Any] = json.loads(settings.status_path.read_text())
    except (OSError, ValueError):
        return {}
    return status


def _is_running(settings: ModemSettings) -> bool:
    return RunLock(settings.modem_dir).is_held()


def _health(settings: ModemSettings) -> dict[str, Any]:
    host = "127.0.0.1" if settings.metrics_host in ("0.0.0.0", "::") else settings.metrics_host
    try:
        with urllib.request.urlopen(f"http://{host}:{settings.metrics_port}/health/ready", timeout=HEALTH_TIMEOUT_S) as answer:
            report = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        try:
            report = json.loads(error.read())
        except ValueError:
            return {}
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _outbox(settings: ModemSettings) -> dict[str, Any]:
    stats = _look(settings.outbox_path, OUTBOX_SCHEMA, lambda connection: read_stats(connection, settings.outbox_max_bytes))
    return {} if stats is None else {name: getattr(stats, name) for name in stats.__dataclass_fields__}


def _last_command(settings: ModemSettings) -> dict[str, Any]:
    record = _look(settings.journal_path, JOURNAL_SCHEMA, read_last_command)
    if record is None:
        return {}
    return {
        "command_id": record.command_id.hex(), "kind": record.kind, "received_us": record.received_us,
        "outcome": record.outcome, "reason": record.reason, "closed": record.closed, "evidence": record.evidence,
    }  # fmt: skip


def open_switch_phase(settings: ModemSettings) -> str:
    """The phase of a carrier switch that is open in this device's folder; empty without one. Raises ``SqliteUnusable``."""
    return _look(settings.journal_path, JOURNAL_SCHEMA, read_open_phase) or ""


def _look(path: Path, schema: int, question: Callable[[apsw.Connection], T]) -> T | None:
    """What a file answers; None when it is not there, or just being made. Raises ``SqliteUnusable``, naming the file."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite.connect(path, create=False)) as connection:
            version = connection.pragma("user_version")
            if version == 0:
                return None
            if version > schema:
                raise sqlite.SqliteUnusable(f"{path} has schema {version}, not {schema}: use the program that wrote it")
            return question(connection)
    except (apsw.Error, OSError) as error:
        raise sqlite.SqliteUnusable(f"{path} cannot be read: {error}; if it is damaged, move it away") from error
