"""The device's durable memory beside readings: boot counter, last accepted command counter, commands and the open switch.

Each method is one transaction, on the disk when it returns; one thread uses a journal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import structlog
from simway_backbone import sqlite

from simway_modem_client import rows
from simway_modem_client.journal_file import read_counter, set_aside, write_counter
from simway_modem_client.switch import Phase

SCHEMA_VERSION = 2
COMMANDS_KEPT = 256
"""Settled commands that are remembered, so that a repeated id gets its stored result."""

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE device(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE commands(
  n INTEGER PRIMARY KEY AUTOINCREMENT, command_id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, counter INTEGER NOT NULL,
  received_us INTEGER NOT NULL, outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
  evidence TEXT NOT NULL DEFAULT '{}', result_settled INTEGER NOT NULL DEFAULT 0,
  closed TEXT NOT NULL DEFAULT '', closed_settled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE switch(
  one INTEGER PRIMARY KEY CHECK (one = 1), command_id BLOB NOT NULL, previous TEXT NOT NULL, target TEXT NOT NULL,
  deadline_s INTEGER NOT NULL, phase TEXT NOT NULL, boots INTEGER NOT NULL, attempts INTEGER NOT NULL,
  started_us INTEGER NOT NULL, evidence TEXT NOT NULL, card TEXT NOT NULL DEFAULT '[]', way_back TEXT NOT NULL DEFAULT '',
  turns INTEGER NOT NULL DEFAULT 0);
"""
_FROM_1 = """
ALTER TABLE switch ADD COLUMN card TEXT NOT NULL DEFAULT '[]';
ALTER TABLE switch ADD COLUMN way_back TEXT NOT NULL DEFAULT '';
ALTER TABLE switch ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
"""
"""A switch that an older program left open goes on, on whatever card answers, as it did there."""


@dataclass
class CommandRecord:
    """A command as the device knows it. ``outcome`` is empty while it runs; ``closed``: what CLOSED says, empty before.

    ``received_us``: by the device's clock.
    """

    command_id: bytes
    kind: str
    counter: int
    received_us: int
    outcome: str = ""
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    result_settled: bool = False
    closed: str = ""
    closed_settled: bool = False


@dataclass
class OpenSwitch:
    """The one switch that is not over. ``boots``: starts since it began, or since it went back; ``attempts``: tries to go back.

    ``evidence``: what RESULT will carry, so far. ``started_us``: by the device's clock. ``card``: its EID, or where it has none
    its ICCIDs; empty when unknown. ``way_back``: which has its turn, or is shown; empty for the previous profile. ``turns``: how
    often the next one had it.
    """

    command_id: bytes
    previous: str
    target: str
    deadline_s: int
    started_us: int
    phase: Phase = Phase.INTENT
    boots: int = 0
    attempts: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    card: tuple[str, ...] = ()
    way_back: str = ""
    turns: int = 0


_COMMAND_COLUMNS = "command_id, kind, counter, received_us, outcome, reason, evidence, result_settled, closed, closed_settled"
_SWITCH_COLUMNS = "command_id, previous, target, deadline_s, started_us, phase, boots, attempts, evidence, card, way_back, turns"


class JournalDamaged(sqlite.SqliteUnusable):
    """The file is no journal any more. The text says what to do; ``open_journal`` does it."""


class Journal:
    """Not thread-safe. Raises ``SqliteUnusable`` on opening (with what to do), ``apsw.Error`` when the disk refuses.

    Opening reads the file whole: damage shows at start, not in the middle of a switch (``JournalDamaged``). The last accepted
    counter stands beside it in a file of its own, so that whoever loses the journal takes no old command for a new one.
    """

    def __init__(self, path: Path) -> None:
        self._counter_path = path.with_name(f"{path.name}.counter")
        self.boot_was_counted = True
        """False when the disk refused to: how often an open switch was started anew is unknown then."""
        try:
            self._db = self._open(path)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, ValueError, TypeError) as error:
            raise JournalDamaged(
                f"the journal {path} is damaged ({error}): a carrier switch may be open in it. Look which profile the SIM shows, "
                "then move the file away: the device starts a new one, and the server goes on with its commands"
            ) from error

    def _open(self, path: Path) -> apsw.Connection:
        self._db = sqlite.connect(path)
        try:
            self._prepare(path)
            self._check()
        except BaseException:
            self._db.close()
            raise
        return self._db

    def _prepare(self, path: Path) -> None:
        with sqlite.immediate(self._db):
            version = self._db.pragma("user_version")
            if version == 0:
                self._db.execute(_SCHEMA)
                self._db.pragma("user_version", SCHEMA_VERSION)
            elif version == 1:
                self._db.execute(_FROM_1)
                self._db.pragma("user_version", SCHEMA_VERSION)
            elif version != SCHEMA_VERSION:
                raise sqlite.SqliteUnusable(f"{path} has schema {version}, not {SCHEMA_VERSION}: use the program that wrote it")

    def _check(self) -> None:
        """``ValueError`` when a page or a row is not what was written."""
        found = str(rows.value(self._db, "PRAGMA quick_check(1)"))
        if found != "ok":
            raise ValueError(" ".join(found.split()))
        for row in rows.fetch(self._db, f"SELECT {_COMMAND_COLUMNS} FROM commands"):
            _command(row)
        self.open_switch()
        int(self._get("boot_counter", "0")), self.last_counter

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    # --- the device --------------------------------------------------------------------------------------------------

    def count_boot(self) -> int:
        """Counts this start; the number of it, from 1. A disk that refuses costs the count only (``boot_was_counted``)."""
        boot = int(self._get("boot_counter", "0")) + 1
        try:
            with sqlite.immediate(self._db):
                self._set("boot_counter", str(boot))
                self._db.execute("UPDATE switch SET boots = boots + 1")
        except apsw.Error as error:
            self.boot_was_counted = False
            log.error("this start cannot be counted; make room on the disk", error=str(error))
        return boot

    @property
    def last_counter(self) -> int:
        """The highest command counter ever accepted; 0 before the first."""
        return int(self._get("last_counter", "0"))

    @property
    def is_lost(self) -> bool:
        """An earlier journal was lost: what is not in this one may have happened all the same."""
        return self._get("lost", "") != ""

    def begin_anew(self) -> None:
        """This one takes the place of one that was lost."""
        with sqlite.immediate(self._db):
            self._set("lost", "1")
            self._set("last_counter", str(max(self.last_counter, read_counter(self._counter_path))))

    @property
    def reported_inventory(self) -> str:
        """The digest of the inventory that the server has; empty before the first."""
        return self._get("reported_inventory", "")

    @reported_inventory.setter
    def reported_inventory(self, digest: str) -> None:
        with sqlite.immediate(self._db):
            self._set("reported_inventory", digest)

    # --- commands ----------------------------------------------------------------------------------------------------

    def command(self, command_id: bytes) -> CommandRecord | None:
        """A command by its id, as long as it is remembered."""
        row = rows.first(self._db, f"SELECT {_COMMAND_COLUMNS} FROM commands WHERE command_id = ?", (command_id,))
        return None if row is None else _command(row)

    def recent(self, limit: int) -> list[CommandRecord]:
        """The newest commands, newest first."""
        sql = f"SELECT {_COMMAND_COLUMNS} FROM commands ORDER BY n DESC LIMIT ?"
        return [_command(row) for row in rows.fetch(self._db, sql, (limit,))]

    def unfinished(self) -> list[CommandRecord]:
        """Commands without a result: the open switch's, and what a power cut interrupted."""
        return [_command(row) for row in rows.fetch(self._db, f"SELECT {_COMMAND_COLUMNS} FROM commands WHERE outcome = ''")]

    def accept(self, record: CommandRecord) -> None:
        """Remembers a command and raises the last accepted counter to its own, both or neither. Raises ``OSError``, too."""
        write_counter(self._counter_path, max(self.last_counter, record.counter))
        with sqlite.immediate(self._db):
            self._set("last_counter", str(max(self.last_counter, record.counter)))
            self._insert(record)
            self._prune()

    def finish(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any]) -> None:
        """Stores the result of a command. It is sent until ``settle``."""
        with sqlite.immediate(self._db):
            self._finish(command_id, outcome, reason, evidence)

    def settle(self, command_id: bytes, what: str) -> None:
        """The server has RESULT (``result``) or CLOSED (``closed``) of this command."""
        column = "closed_settled" if what == "closed" else "result_settled"
        with sqlite.immediate(self._db):
            self._db.execute(f"UPDATE commands SET {column} = 1 WHERE command_id = ?", (command_id,))

    def unsettled(self) -> list[CommandRecord]:
        """Commands whose RESULT or CLOSED the server does not have yet, oldest first."""
        found = rows.fetch(
            self._db,
            f"SELECT {_COMMAND_COLUMNS} FROM commands WHERE (outcome != '' AND NOT result_settled) "
            "OR (closed != '' AND NOT closed_settled) ORDER BY n",
        )
        return [_command(row) for row in found]

    # --- the switch --------------------------------------------------------------------------------------------------

    def open_switch(self) -> OpenSwitch | None:
        """The switch that is not over, if there is one."""
        row = rows.first(self._db, f"SELECT {_SWITCH_COLUMNS} FROM switch")
        if row is None:
            return None
        command_id, previous, target, deadline_s, started_us, phase, boots, attempts, evidence, card, way_back, turns = row
        return OpenSwitch(
            command_id, previous, target, deadline_s, started_us, Phase(phase), boots, attempts, json.loads(evidence),
            tuple(json.loads(card)), way_back, turns,
        )  # fmt: skip

    def begin_switch(self, switch: OpenSwitch) -> None:
        """The write-ahead: on the disk before any APDU of the switch."""
        with sqlite.immediate(self._db):
            marks = ", ".join("?" * len(_SWITCH_COLUMNS.split(",")))
            self._db.execute(f"INSERT INTO switch(one, {_SWITCH_COLUMNS}) VALUES(1, {marks})", (
                switch.command_id, switch.previous, switch.target, switch.deadline_s, switch.started_us, switch.phase,
                switch.boots, switch.attempts, json.dumps(switch.evidence), json.dumps(switch.card), switch.way_back,
                switch.turns,
            ))  # fmt: skip

    def update_switch(self, switch: OpenSwitch) -> None:
        """Stores what may change of the open switch."""
        with sqlite.immediate(self._db):
            self._db.execute(
                "UPDATE switch SET phase = ?, boots = ?, attempts = ?, way_back = ?, turns = ?, evidence = ?",
                (switch.phase, switch.boots, switch.attempts, switch.way_back, switch.turns, json.dumps(switch.evidence)),
            )

    def end_switch(self, switch: OpenSwitch, *, outcome: str, reason: str, closed: str) -> None:
        """Closes the journal of a switch and stores what there is to say, in one transaction.

        ``outcome`` empty: the result is said already. ``closed``: what CLOSED will say; empty for none.
        """
        with sqlite.immediate(self._db):
            self._db.execute("DELETE FROM switch")
            if outcome:
                self._finish(switch.command_id, outcome, reason, switch.evidence)
            if closed:
                self._db.execute(
                    "UPDATE commands SET closed = ?, closed_settled = 0 WHERE command_id = ?", (closed, switch.command_id)
                )

    # --- inside ------------------------------------------------------------------------------------------------------

    def _insert(self, record: CommandRecord) -> None:
        self._db.execute(
            "INSERT INTO commands(command_id, kind, counter, received_us, outcome, reason, evidence) VALUES(?, ?, ?, ?, ?, ?, ?)",
            (
                record.command_id, record.kind, record.counter, record.received_us, record.outcome, record.reason,
                json.dumps(record.evidence),
            ),
        )  # fmt: skip

    def _finish(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any]) -> None:
        self._db.execute(
            "UPDATE commands SET outcome = ?, reason = ?, evidence = ?, result_settled = 0 WHERE command_id = ?",
            (outcome, reason, json.dumps(evidence), command_id),
        )

    def _prune(self) -> None:
        self._db.execute(
            "DELETE FROM commands WHERE n <= (SELECT max(n) FROM commands) - ? AND result_settled "
            "AND (closed = '' OR closed_settled) AND command_id NOT IN (SELECT command_id FROM switch)",
            (COMMANDS_KEPT,),
        )

    def _get(self, name: str, default: str) -> str:
        row = rows.first(self._db, "SELECT value FROM device WHERE name = ?", (name,))
        return default if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO device VALUES(?, ?)", (name, value))


def open_journal(path: Path) -> Journal:
    """Opens the journal; a damaged one is set aside, since a device in the field must go on: what the card shows counts then.

    Raises ``SqliteUnusable`` and ``apsw.Error`` as ``Journal`` does, for what no new file would mend.
    """
    try:
        return Journal(path)
    except sqlite.SqliteUnusable as error:
        if not isinstance(error, JournalDamaged) and not isinstance(error.__cause__, apsw.NotADBError):
            raise
        aside = set_aside(path)
        log.error("the journal is damaged; set aside, starting a new one. Look which profile the SIM shows", aside=str(aside))
    journal = Journal(path)
    journal.begin_anew()
    return journal


def read_last_command(connection: apsw.Connection) -> CommandRecord | None:
    """The newest command, over any connection to a journal's file."""
    row = rows.first(connection, f"SELECT {_COMMAND_COLUMNS} FROM commands ORDER BY n DESC LIMIT 1")
    return None if row is None else _command(row)


def read_open_phase(connection: apsw.Connection) -> str:
    """The phase of the open switch, over any connection to a journal's file; empty without one."""
    row = rows.first(connection, "SELECT phase FROM switch")
    return "" if row is None else str(row[0])


def _command(row: Any) -> CommandRecord:
    command_id, kind, counter, received_us, outcome, reason, evidence, result_settled, closed, closed_settled = row
    return CommandRecord(
        command_id, kind, counter, received_us, outcome, reason, json.loads(evidence), bool(result_settled), closed,
        bool(closed_settled),
    )  # fmt: skip
