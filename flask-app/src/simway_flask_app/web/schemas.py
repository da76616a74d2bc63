"""What goes over the REST API, in and out. The OpenAPI document is made from these structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from simway_protocol.commands import DEADLINE_DEFAULT_S, DEADLINE_MIN_S

from simway_flask_app.commands import DEADLINE_MAX_S, EXPIRES_DEFAULT_S, EXPIRES_MAX_S
from simway_flask_app.web import limits
from simway_flask_app.web.fields import Cursor, DeviceId, Iccid, NextCursor, Time, TimeUs, no_line_end

# --- in ----------------------------------------------------------------------------------------------------------------


class NewDevice(Struct, forbid_unknown_fields=True):
    """A device to be registered."""

    id: DeviceId
    name: Annotated[str, Meta(max_length=limits.NAME_MAX_CHARS, pattern=r"^[^\u0000-\u001f\u007f]*$")] = ""


class DeviceChange(Struct, forbid_unknown_fields=True):
    """A revoked device is refused by every gateway at once; active lets it in again."""

    status: Literal["active", "revoked"]


class _Expires(Struct):
    expires_in_s: Annotated[int, Meta(ge=1, le=EXPIRES_MAX_S, description="how long the device has to take it")] = (
        EXPIRES_DEFAULT_S
    )


class Switch(_Expires, tag_field="kind", tag="switch", forbid_unknown_fields=True):
    """Enable another profile of the SIM. The device goes back by itself when it cannot be confirmed within ``deadline_s``."""

    iccid: Iccid | msgspec.UnsetType = msgspec.UNSET
    provider: Annotated[str, Meta(min_length=1, max_length=limits.PROVIDER_MAX_CHARS)] | msgspec.UnsetType = msgspec.UNSET
    deadline_s: Annotated[int, Meta(ge=DEADLINE_MIN_S, le=DEADLINE_MAX_S)] = DEADLINE_DEFAULT_S
    force: Annotated[bool, Meta(description="sets aside the rules whose problem says forcible; wants a reason")] = False
    reason: Annotated[str, Meta(max_length=limits.REASON_MAX_CHARS, pattern=r"^[^\u0000-\u001f\u007f]*$")] = ""

    def __post_init__(self) -> None:
        if bool(self.iccid) == bool(self.provider):
            raise ValueError("name either an iccid or a provider")
        no_line_end(self.iccid)
        self.reason = self.reason.strip()
        if self.reason and not any(char.isalnum() for char in self.reason):
            raise ValueError("a reason holds a letter or a digit: it is kept in the audit trail")
        if self.force != bool(self.reason):
            raise ValueError("force and a reason come together: the reason is kept in the audit trail")


class Ping(_Expires, tag_field="kind", tag="ping", forbid_unknown_fields=True):
    """The device answers, and that is all."""


class Audit(_Expires, tag_field="kind", tag="audit", forbid_unknown_fields=True):
    """The device reports what its SIM holds and its journal of the last switch."""


CommandRequest = Switch | Ping | Audit


class SignIn(Struct, forbid_unknown_fields=True):
    """The API token, to be exchanged for a session cookie."""

    token: Annotated[str, Meta(min_length=1, max_length=512)]


class DevicesQuery(Struct, forbid_unknown_fields=True):
    """Which devices."""

    limit: Annotated[int, Meta(ge=1, le=limits.DEVICES_LIMIT_MAX)] = limits.DEVICES_LIMIT_DEFAULT
    cursor: Cursor | None = None


class CommandsQuery(Struct, forbid_unknown_fields=True):
    """Which commands."""

    limit: Annotated[int, Meta(ge=1, le=limits.COMMANDS_LIMIT_MAX)] = limits.COMMANDS_LIMIT_DEFAULT
    cursor: Cursor | None = None


class EventsQuery(Struct, forbid_unknown_fields=True):
    """Which events."""

    device: Annotated[DeviceId, Meta(description="events of this device; none means all")] | None = None


# --- out ---------------------------------------------------------------------------------------------------------------


class Health(Struct):
    """All is well. ``checks``: what was looked at, as ``/health/ready`` names it, each ``ok``."""

    status: Literal["ok"]
    checks: dict[str, str]


class SessionState(Struct):
    """Whether the request's cookie is a live session."""

    signed_in: bool


class SimProfile(Struct):
    """One profile of the SIM. ``provider``: who runs the carrier; ``active``: the one in use; ``fallback``: it has the fallback
    attribute; ``rules``: what its policy forbids, of disable_not_allowed and delete_not_allowed.
    """

    iccid: str
    provider: str
    name: str
    nickname: str
    state: str
    profile_class: str
    active: bool
    fallback: bool
    rules: list[str]


class Carrier(Struct):
    """The carrier in use. ``source``: whether the attach or the inventory, the newer one, says so."""

    iccid: str
    provider: str
    name: str
    source: Literal["attach", "inventory"]
    at: Time
    at_us: TimeUs


class Inventory(Struct):
    """What the SIM held when the device last read it. ``eid`` is empty on a SIM that is no eUICC."""

    eid: str
    active_iccid: str
    profiles: list[SimProfile]
    os_version: str
    smdp: str
    at: Time
    at_us: TimeUs


class Alarm(Struct):
    """Something that is not, or was not, as it should be. It ends by itself. ``device`` is empty for one of the platform."""

    id: int
    device: str
    kind: str
    subject: str
    severity: Literal["warning", "critical"]
    text: str
    raised_at: Time
    raised_us: TimeUs
    over_at: Time | None
    over_us: TimeUs | None


class SimWord(Struct):
    """What the SIM itself says: its ``n``-th change of profile enabled ``iccid``. ``verified``: it holds the device's key."""

    iccid: str
    n: int
    verified: bool
    at: Time
    at_us: TimeUs


class Session(Struct):
    """The newest attach. ``attached`` is false once it is over; where its gateway died, once that runs again."""

    attached: bool
    gateway: str
    address: str
    iccid: str
    boot_counter: int
    key_version: int
    attached_at: Time
    attached_us: TimeUs
    detached_at: Time | None
    detached_us: TimeUs | None
    detached_reason: str


class Device(Struct):
    """A device with what is known of it now."""

    id: DeviceId
    name: str
    status: Literal["active", "revoked"]
    key_version: int
    created_at: Time
    created_us: TimeUs
    last_reading_at: Time | None
    last_reading_us: TimeUs | None
    active_carrier: Carrier | None
    inventory: Inventory | None
    session: Session | None
    alarms: list[Alarm]


class DeviceKey(Struct):
    """The device's secret key, 32 bytes as hexadecimal digits. It is shown this once: put it on the SIM or in the key file."""

    version: int
    hex: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class NewDeviceReply(Struct):
    """The registered device and its key."""

    device: Device
    key: DeviceKey


class DevicesPage(Struct):
    """Devices by id."""

    devices: list[Device]
    next_cursor: NextCursor


class HistoryEntry(Struct):
    """One line of a command's history: ``event`` happened, caused by ``actor``; after it the command was ``state``."""

    seq: int
    time: Time
    t_us: TimeUs
    actor: str
    event: str
    state: str
    reason: str
    evidence: dict[str, Any]


class Target(Struct):
    """What a switch goes to. ``provider`` is empty where the request named the ICCID; ``profile_class``, where nobody knew it."""

    iccid: str
    provider: str
    profile_class: str


class Command(Struct):
    """A command. ``reason`` and ``evidence`` are those of the last thing that happened to it. ``test_profile``: a switch whose
    target is of the test class.
    """

    id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    device: DeviceId
    kind: Literal["switch", "ping", "audit"]
    state: str
    reason: str
    target: Target | None
    test_profile: bool
    forced: bool
    force_reason: str
    deadline_s: int
    actor: str
    counter: int | None
    created_at: Time
    created_us: TimeUs
    updated_at: Time
    updated_us: TimeUs
    expires_at: Time
    expires_us: TimeUs
    cancel_requested_at: Time | None
    cancel_requested_us: TimeUs | None
    evidence: dict[str, Any]


class CommandWithHistory(Command):
    """A command and everything that happened to it, in order. ``sim_word``: the SIM's own word on a switch, not in streams."""

    history: list[HistoryEntry]
    sim_word: SimWord | None


class CommandsPage(Struct):
    """Commands, the last accepted first."""

    commands: list[Command]
    next_cursor: NextCursor
