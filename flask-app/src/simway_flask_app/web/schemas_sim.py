"""What goes over the REST API of twins, alarms and the audit trail, in and out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from simway_flask_app.web import limits
from simway_flask_app.web.fields import Cursor, DeviceId, Eid, Iccid, NextCursor, Time, TimeParameter, TimeUs, no_line_end
from simway_flask_app.web.schemas import Alarm, Inventory, SimWord

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256, hexadecimal")]

# --- in ----------------------------------------------------------------------------------------------------------------


class DesiredRequest(Struct, forbid_unknown_fields=True):
    """What belongs on the SIM. Left out: as it is reported now."""

    iccid: Iccid | msgspec.UnsetType = msgspec.UNSET
    eid: Eid | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        no_line_end(self.iccid, self.eid)


class AlarmsQuery(Struct, forbid_unknown_fields=True):
    """Which alarms."""

    device: Annotated[DeviceId, Meta(description="of this device; none means all, and those of the platform itself")] | None = (
        None
    )
    scope: Annotated[Literal["all", "platform"], Meta(description="platform: only those of no device; name none then")] = "all"
    state: Literal["open", "over", "all"] = "open"
    limit: Annotated[int, Meta(ge=1, le=limits.ALARMS_LIMIT_MAX)] = limits.ALARMS_LIMIT_DEFAULT
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        if self.scope == "platform" and self.device is not None:
            raise ValueError("name a device, or the scope platform")


class AuditQuery(Struct, forbid_unknown_fields=True):
    """Which entries: ``from <= time < to``."""

    device: Annotated[DeviceId, Meta(description="entries of this device; none means all")] | None = None
    kind: Annotated[str, Meta(pattern="^[a-z_.]{1,40}$", description="command.accepted, command.refused, ...")] | None = None
    from_: TimeParameter | None = field(name="from", default=None)
    to: TimeParameter | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.AUDIT_LIMIT_MAX)] = limits.AUDIT_LIMIT_DEFAULT
    cursor: Cursor | None = None


# --- in and out --------------------------------------------------------------------------------------------------------


class AuditHead(Struct, forbid_unknown_fields=True):
    """An entry's number and hash: it stands for the whole trail up to there."""

    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    hash: Hash


# --- out ---------------------------------------------------------------------------------------------------------------


class Desired(Struct):
    """What belongs on the SIM, set last by the first ``report``, a VERIFIED ``switch`` or a ``person``."""

    iccid: str
    eid: str
    profiles: list[str]
    source: Literal["report", "switch", "person"]
    actor: str
    at: Time
    at_us: TimeUs


class SimTwin(Struct):
    """A SIM as it is reported and as it should be.

    ``journal_open``: a switch that the device's journal showed as open at its last audit. ``last_switch``: its command id.
    """

    device: DeviceId
    active_iccid: str
    reported: Inventory | None
    desired: Desired | None
    alarms: list[Alarm]
    sim_word: SimWord | None
    last_switch: str | None
    journal_open: str | None
    audited_at: Time | None
    audited_us: TimeUs | None


class AlarmsPage(Struct):
    """Alarms, newest first."""

    alarms: list[Alarm]
    next_cursor: NextCursor


class AuditEntry(Struct):
    """One decision. ``subject``: the command id, ICCID or the like that it is about."""

    seq: int
    time: Time
    t_us: TimeUs
    kind: str
    device: str
    actor: str
    subject: str
    detail: dict[str, Any]
    hash: Hash


class AuditPage(Struct):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next_cursor: NextCursor


class AuditFault(Struct):
    """The first place where the trail does not hold."""

    seq: int
    problem: Literal["missing", "changed", "head", "anchor", "signature"]
    detail: str


class SignedHead(Struct):
    """A head with the Ed25519 signature that was anchored in ``device-events``."""

    seq: int
    hash: Hash
    signature: Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]
    at: Time
    at_us: TimeUs


class AuditVerdict(Struct):
    """What following the trail gave. ``head``: the last good one; ``count``: entries up to it; ``signed``: the newest."""

    ok: bool
    count: int
    head: AuditHead
    broken: AuditFault | None
    signed: SignedHead | None
    public_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Ed25519, for the signatures")]
