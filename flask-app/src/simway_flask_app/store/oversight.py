"""The part of the store port that watches: what belongs on each SIM, alarms, the audit trail. The rules are those of ``port``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from simway_flask_app.trail import Broken, Entry, Head, Signer

if TYPE_CHECKING:
    from simway_flask_app.store.port import DeviceDetail


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is, or was, not as it should be (``simway_flask_app.twin``). ``device``: empty for the platform itself.

    It is raised once and ends by itself (``over_us``) when what raised it is over.
    """

    alarm_id: int
    device: str
    kind: str
    subject: str
    severity: str
    text: str
    raised_us: int
    over_us: int | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """What belongs on a SIM. ``profiles``: the ICCIDs; ``source``: report, switch or person, whoever set it last."""

    iccid: str
    eid: str
    profiles: tuple[str, ...]
    source: str
    actor: str
    set_us: int


@dataclass(frozen=True, slots=True)
class Twin:
    """A SIM as it should be and as it is. ``active_iccid``: by the newer of attach and inventory.

    ``desired`` is None before the first report; ``last_switch``: command id of the newest switch, empty when there was none.
    ``journal_open``: a switch that the device's journal showed as open at the last audit (``audited_us``, 0: never).
    """

    detail: DeviceDetail
    active_iccid: str
    desired: Desired | None
    last_switch: str
    journal_open: str
    audited_us: int


@dataclass(frozen=True, slots=True)
class AlarmsPage:
    """Alarms, newest first."""

    alarms: list[Alarm]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry of the audit trail with its hash."""

    entry: Entry
    hash: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first."""

    entries: list[AuditRow]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head of the audit trail with the signature that was anchored in ``device-events``."""

    head: Head
    signature: str
    t_us: int


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What following the whole trail gave. ``head``: the last good one; ``broken`` is None when all of it holds."""

    head: Head
    broken: Broken | None
    signed: SignedHead | None
    public_key: str


@dataclass(frozen=True, slots=True)
class Tier:
    """``keep_s``: readings or windows older than this leave the store; 0: none does. ``actor`` said so, at ``updated_us``."""

    tier: str
    keep_s: int
    updated_us: int
    actor: str


class Oversight(Protocol):
    """What the REST API asks of it."""

    def twin(self, device: str) -> Twin:
        """The SIM as it should be and as it is. Raises ``UnknownDevice``."""

    def set_desired(self, device: str, *, iccid: str, eid: str, actor: str, now_us: int) -> Twin:
        """Says what belongs on the SIM. Empty ``iccid`` and ``eid`` stand for what is reported now; the profiles reported now
        are accepted. Raises ``UnknownDevice``.
        """

    def alarms(
        self, *, device: str | None = None, over: bool | None = None, limit: int = 100, cursor: str | None = None
    ) -> AlarmsPage:
        """Alarms, newest first; ``over``: False for those that still stand, True for the others. Raises ``BadCursor``."""

    def audit(
        self, *, device: str | None = None, kind: str | None = None, from_us: int | None = None, to_us: int | None = None,
        limit: int = 100, cursor: str | None = None,
    ) -> AuditPage:  # fmt: skip
        """The audit trail, newest entry first, with ``from_us <= t_us < to_us``. Raises ``BadCursor``."""

    def verify_audit(self, signer: Signer, noted: Sequence[Head] = ()) -> AuditVerdict:
        """Follows the whole trail, about 50,000 entries in a second, and holds ``noted`` heads against it."""

    def retention(self) -> list[Tier]:
        """How long raw readings and each rollup are kept, the finest first."""

    def set_retention(self, keep_s: Mapping[str, int], *, actor: str, now_us: int) -> list[Tier]:
        """Sets some tiers (raw|minute|hour|day) to seconds, 0 for ever; each is an entry of the audit trail. All tiers.

        Raises ``ValueError`` for another tier, or for less than a day.
        """
