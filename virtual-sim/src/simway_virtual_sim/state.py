"""What a card remembers without power: plain frozen values, written as one JSON document.

``CardState.enabled`` alone says which profile is enabled, so no state can hold two, and a switch is one value replaced.
"""

from __future__ import annotations

import msgspec
from simway_protocol.sim import tlv
from simway_protocol.sim.es10b import Notification as WireNotification
from simway_protocol.sim.es10b import Operation
from simway_protocol.sim.es10c import ProfileClass, ProfileInfo, ProfileState

from simway_virtual_sim.switch_log import ReportState

VERSION = 1
TEST = "test"
OPERATIONAL = "operational"
NOTIFICATIONS_MAX = 200
"""A card has little memory: beyond this the oldest undelivered notification goes."""
_PPR1, _PPR2 = 0x40, 0x20


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One installed profile. ``iccid`` and ``imsi`` are digits, ``aid`` is hexadecimal, ``profile_class`` as in the log.

    ``address``: the SM-DP+ that its notifications are for. ``keep_enabled`` and ``keep_installed`` are its policy rules
    (PPR1: disabling, PPR2: deletion is not allowed; GSMA SGP.22, 2.4.5). ``fallback``: it has the fallback attribute
    (SGP.32): a device that cannot keep another profile goes back to this one.
    """

    iccid: str
    aid: str
    imsi: str
    provider: str
    name: str
    nickname: str = ""
    profile_class: str = OPERATIONAL
    address: str = "smdp.simway.invalid"
    keep_enabled: bool = False
    keep_installed: bool = False
    fallback: bool = False

    def info(self, *, enabled: bool) -> ProfileInfo:
        """The profile as GetProfilesInfo shows it."""
        rules = (_PPR1 if self.keep_enabled else 0) | (_PPR2 if self.keep_installed else 0)
        return ProfileInfo(
            iccid=self.iccid,
            aid=self.aid,
            state=ProfileState.ENABLED if enabled else ProfileState.DISABLED,
            nickname=self.nickname or None,
            provider=self.provider,
            name=self.name,
            profile_class=ProfileClass[self.profile_class.upper()],
            policy=tlv.encode_bits(rules) if rules else None,
            fallback=self.fallback,
        )


class Notification(msgspec.Struct, frozen=True):
    """One that was not yet delivered and removed. ``operation``: install, enable, disable or delete."""

    seq: int
    operation: str
    address: str
    iccid: str

    def wire(self) -> WireNotification:
        """As ListNotification shows it."""
        return WireNotification(self.seq, Operation[self.operation.upper()], self.address, self.iccid)


class AppletState(msgspec.Struct, frozen=True):
    """What the Simway applet holds. ``key``: K in hexadecimal; empty on a blank card."""

    key: str = ""
    key_version: int = 0

    def __repr__(self) -> str:
        return f"AppletState(key={'held' if self.key else 'none'}, key_version={self.key_version})"


class CardState(msgspec.Struct, frozen=True):
    """All of it. ``enabled``: the ICCID of the enabled profile, empty for none.

    ``before_test``: while a test profile is enabled, the ICCID of the profile that was enabled before it.
    """

    eid: str
    profiles: tuple[Profile, ...]
    enabled: str
    notifications: tuple[Notification, ...] = ()
    next_seq: int = 1
    smdp: str = ""
    smds: str = "lpa.ds.simway.invalid"
    applet: AppletState = AppletState()
    report: ReportState = ReportState()
    before_test: str = ""
    version: int = VERSION

    @property
    def active(self) -> Profile | None:
        """The enabled profile."""
        return next((profile for profile in self.profiles if profile.iccid == self.enabled), None)

    @property
    def tested(self) -> bool:
        """Whether a test profile is enabled."""
        return self.active is not None and self.active.profile_class == TEST


def encode(state: CardState) -> bytes:
    """The JSON document, indented for people."""
    return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"


def decode(data: bytes) -> CardState:
    """The state in a document; ``ValueError`` with the reason when it is none, or contradicts itself."""
    state = msgspec.json.decode(data, type=CardState)
    iccids = {profile.iccid for profile in state.profiles}
    if state.version != VERSION:
        raise ValueError(f"its version is {state.version}, this program writes {VERSION}")
    if len(iccids) != len(state.profiles) or (state.enabled and state.enabled not in iccids):
        raise ValueError("its profiles contradict each other")
    return state
