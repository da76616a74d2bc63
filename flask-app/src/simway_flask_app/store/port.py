"""The store port: its values, its errors and what may be asked of it. One implementation keeps it, on SQLite and PostgreSQL.

Every call blocks on the database and is safe from any thread. A call is one transaction: it happened whole, or it raised.
Times are UTC microseconds since 1970 and come from the caller. Command ids are 32 hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from simway_protocol.messages import Profile
from simway_protocol.readings import Value

from simway_flask_app.policy import Facts, Refusal, Verdict
from simway_flask_app.store.bookkeeping import Bookkeeping
from simway_flask_app.store.fencing import Fencing
from simway_flask_app.store.oversight import Alarm, Oversight
from simway_flask_app.store.questions import Questions

# --- errors ------------------------------------------------------------------------------------------------------------


class StoreError(Exception):
    """Base of what the store raises. The text is for people and holds no secret."""


class StoreUnavailable(StoreError):
    """The database does not answer, or is locked or full: try again later; nothing was written."""


class SchemaMismatch(StoreError):
    """The schema is older or newer than this code; the text says what to run."""


class UnknownDevice(StoreError):
    """No such device is registered."""


class DeviceExists(StoreError):
    """A device of this id is registered already."""


class UnknownCommand(StoreError):
    """The device has no command of this id."""


class NotCancellable(StoreError):
    """The command is executed or over: there is nothing to cancel. ``state`` is where it stands."""

    def __init__(self, command_id: str, state: str) -> None:
        super().__init__(f"command {command_id} is {state}: it can be cancelled only before it is executed")
        self.command_id, self.state = command_id, state


class CommandRefused(StoreError):
    """A rule forbids the command; that is in the audit trail. ``refusal`` has the reason and what to do."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class UnknownLetter(StoreError):
    """There is no dead letter of this id: it is too old, or never was."""


class LetterRefused(StoreError):
    """What a dead letter holds cannot be stored now. ``reason``: of ``simway_flask_app.replays``; the text says what it means."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class BadCursor(StoreError):
    """A cursor that this store did not make: the caller's fault."""


class TooMuch(StoreError):
    """The question asks for more than one answer may hold: the caller's fault. ``reason``: too_many_windows|too_many_readings.

    The text says what would fit.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


# --- devices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device. ``status``: active|revoked. ``key_version``: the newest live one."""

    device: str
    name: str
    status: str
    key_version: int
    created_us: int
    updated_us: int


@dataclass(frozen=True, slots=True)
class Session:
    """The newest attach. ``detached_us`` is None while it lives; ``iccid``: what ATTACH named as active."""

    generation: int
    gateway: str
    iccid: str
    boot_counter: int
    epoch: str
    key_version: int
    address: str
    attached_us: int
    detached_us: int | None = None
    detached_reason: str = ""


@dataclass(frozen=True, slots=True)
class SimInventory:
    """What the SIM held when the device last read it (``t_us``)."""

    eid: str
    active_iccid: str
    profiles: tuple[Profile, ...]
    t_us: int
    generation: int
    os_version: str = ""
    smdp: str = ""

    @property
    def active_profile(self) -> Profile | None:
        """The enabled profile, if the inventory lists it."""
        return next((profile for profile in self.profiles if profile.iccid == self.active_iccid), None)


@dataclass(frozen=True, slots=True)
class DeviceDetail:
    """A device with what is known of it now. ``last_reading_us``: the newest timestamp among its readings.

    ``alarms``: those that are not over, oldest first.
    """

    device: Device
    session: Session | None
    inventory: SimInventory | None
    last_reading_us: int | None
    alarms: tuple[Alarm, ...] = ()

    @property
    def active_iccid(self) -> str:
        """The active profile by the newer of attach and inventory, empty where neither says; of one session, the inventory."""
        attach, held = self.session, self.inventory
        if attach is not None and attach.iccid and (held is None or attach.generation > held.generation):
            return attach.iccid
        return held.active_iccid if held is not None else ""


# --- readings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading as the store has it."""

    device: str
    sensor: str
    t_us: int
    value: Value
    unit: str | None


@dataclass(frozen=True, slots=True)
class ReadingsPage:
    """Readings by time, then sensor. ``next_cursor``: for the page after this; None when there is none."""

    readings: list[StoredReading]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class LatestChange:
    """The newest reading of a sensor, and when (``stored_us``, by the recorder's clock) it became the newest."""

    reading: StoredReading
    stored_us: int


# --- commands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A command to be queued. ``kind``: switch|ping|audit; ``provider``: the name that ``target_iccid`` was found by, if any."""

    command_id: str
    device: str
    kind: str
    expires_us: int
    deadline_s: int
    actor: str
    target_iccid: str = ""
    provider: str = ""
    forced: bool = False
    force_reason: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the ledger has it. ``state``: see ``simway_flask_app.ledger.State``.

    ``reason`` and ``evidence`` are those of the last thing that happened (``already_enabled``; ICCIDs, proof, APDUs).
    ``counter``: None until the dispatcher sealed it. ``cancel_requested_us``: when a cancel was asked of the device.
    ``target_class``: the profile class of a switch's target when it was accepted, empty where that was not known.
    """

    command_id: str
    device: str
    kind: str
    state: str
    target_iccid: str
    provider: str
    deadline_s: int
    expires_us: int
    created_us: int
    updated_us: int
    actor: str
    counter: int | None = None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cancel_requested_us: int | None = None
    forced: bool = False
    force_reason: str = ""
    target_class: str = ""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One line of a command's history, append-only. ``actor``: who caused it (the API's user, ``dispatcher``, ``device``).

    ``t_us``: when it happened; ``state``: where the command stood after it; ``event``: what happened.
    """

    seq: int
    device: str
    command_id: str
    t_us: int
    actor: str
    event: str
    state: str
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommandsPage:
    """Commands, the last accepted first."""

    commands: list[Command]
    next_cursor: str | None


# --- the port, as the web sees it --------------------------------------------------------------------------------------

Order = Literal["asc", "desc"]


class WebStore(Oversight, Bookkeeping, Fencing, Questions, Protocol):
    """What the REST API and the console ask of the store."""

    def ping(self) -> None:
        """Raises ``StoreUnavailable`` when the database does not answer."""

    def check_schema(self) -> None:
        """Raises ``SchemaMismatch``, saying what to run, unless the schema is the one this code knows."""

    def add_device(self, device: str, *, name: str, now_us: int, actor: str = "api") -> Device:
        """Registers a device with key version 1, and announces it to the gateways (outbox). Raises ``DeviceExists``."""

    def set_device_status(self, device: str, status: str, *, now_us: int, actor: str = "api") -> Device:
        """``active`` or ``revoked``, announced to the gateways. Raises ``UnknownDevice``."""

    def devices(self, *, limit: int = 100, after: str = "") -> list[DeviceDetail]:
        """Devices by id, those greater than ``after``. Revoked ones too."""

    def device(self, device: str) -> DeviceDetail:
        """Raises ``UnknownDevice``."""

    def require_device(self, device: str) -> Device:
        """Raises ``UnknownDevice`` unless the device is registered."""

    def sensors(self, device: str) -> list[str]:
        """The names of the sensors that the device ever sent, sorted."""

    def readings(
        self, device: str, *, sensors: Sequence[str] = (), from_us: int | None = None, to_us: int | None = None,
        limit: int = 1000, cursor: str | None = None, order: Order = "asc",
    ) -> ReadingsPage:  # fmt: skip
        """Readings with ``from_us <= t_us < to_us``; no ``sensors`` means all. Unknown names give nothing. Raises ``BadCursor``.

        A cursor goes with the same question; late readings that fall before it are not seen again.
        """

    def latest(self, device: str) -> list[StoredReading]:
        """The newest reading (by timestamp) of each sensor, by sensor."""

    def latest_changes(self, since_us: int, *, device: str | None = None, limit: int = 1000) -> list[LatestChange]:
        """Latest readings whose ``stored_us > since_us``, oldest change first; see ``feed.LatestFeed`` for following them.

        Those of one ``stored_us`` come together: then ``limit`` may be exceeded.
        """

    def add_command(self, command: NewCommand, *, now_us: int, judge: Callable[[Facts], Verdict] | None = None) -> Command:
        """Queues a command. The rules are in ``simway_flask_app.commands``: call that.

        ``judge`` is asked in the same transaction, with the facts as they are there; a refusal is written into the audit trail.
        Raises ``UnknownDevice`` and ``CommandRefused``.
        """

    def command(self, device: str, command_id: str) -> Command:
        """Raises ``UnknownCommand``."""

    def command_with_history(self, device: str, command_id: str) -> tuple[Command, list[HistoryRow]]:
        """A command, and what happened to it, in order. Raises ``UnknownCommand``."""

    def commands(self, device: str, *, limit: int = 50, cursor: str | None = None) -> CommandsPage:
        """The commands of a device, the last accepted first. Raises ``BadCursor``."""

    def command_history(self, command_id: str) -> list[HistoryRow]:
        """What happened to a command, in order."""

    def command_changes(self, since_seq: int, *, device: str | None = None, limit: int = 1000) -> list[HistoryRow]:
        """History rows with ``seq > since_seq``, of all commands or those of one device: a feed."""

    def last_command_seq(self) -> int:
        """The newest history row's ``seq``, 0 when there is none: where a follower of ``command_changes`` begins."""

    def request_cancel(self, device: str, command_id: str, *, actor: str, now_us: int) -> Command:
        """CANCELLED at once from QUEUED; else notes the wish, which the device answers (state unchanged).

        Raises ``UnknownCommand`` and, from EXECUTED on, ``NotCancellable``.
        """

    def close(self) -> None:
        """Frees the connections."""
