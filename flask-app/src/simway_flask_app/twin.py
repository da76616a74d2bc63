"""The twin of a SIM: what belongs on it against what it reports, and the alarms that follow. Pure.

What belongs there comes from the first report, then from each VERIFIED switch, then from what a person says; the newest counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from simway_protocol.messages import Profile


class Kind(StrEnum):
    """What an alarm is about."""

    ACTIVE_PROFILE = "active_profile"
    """Another profile is active than the last VERIFIED or desired one."""
    EID_CHANGED = "eid_changed"
    """Another card answers."""
    PROFILE_APPEARED = "profile_appeared"
    PROFILE_VANISHED = "profile_vanished"
    TEST_PROFILE = "test_profile"
    """The active profile is of the test class: its keys are public."""
    JOURNAL_OPEN = "journal_open"
    """A switch is open for longer than it can be, or in the device's journal but not in the ledger."""
    COMMAND_COUNTER = "command_counter"
    """The device reports a command counter that cannot be true."""
    AUDIT_TRAIL = "audit_trail"
    """The audit trail lacks an entry whose hash was signed."""


OF_TWIN = (
    Kind.ACTIVE_PROFILE, Kind.EID_CHANGED, Kind.PROFILE_APPEARED, Kind.PROFILE_VANISHED, Kind.TEST_PROFILE, Kind.JOURNAL_OPEN,
)  # fmt: skip
"""Those that ``findings`` decides; the others are raised and ended where they are found."""

SEVERITIES = {
    Kind.ACTIVE_PROFILE: "warning", Kind.EID_CHANGED: "critical", Kind.PROFILE_APPEARED: "warning",
    Kind.PROFILE_VANISHED: "warning", Kind.TEST_PROFILE: "critical", Kind.JOURNAL_OPEN: "warning",
    Kind.COMMAND_COUNTER: "critical", Kind.AUDIT_TRAIL: "critical",
}  # fmt: skip


class Expected(NamedTuple):
    """What belongs on the SIM. ``iccid``: of the profile that shall be active, empty when nobody has said."""

    iccid: str
    eid: str
    profiles: tuple[str, ...]


class Reported(NamedTuple):
    """What the device says of its SIM: the last inventory, and the ICCID of the newer of attach and inventory."""

    eid: str
    active_iccid: str
    profiles: tuple[Profile, ...]


class OpenSwitch(NamedTuple):
    """A switch that is not over. ``overdue``: nobody can be waiting for it any more."""

    command_id: str
    state: str
    overdue: bool


class Finding(NamedTuple):
    """A reason for an alarm. ``subject``: the ICCID, EID or command id."""

    kind: Kind
    subject: str
    text: str


def findings(
    expected: Expected, reported: Reported | None, switches: Sequence[OpenSwitch] = (), journal_open: str = ""
) -> tuple[list[Finding], frozenset[Kind]]:
    """What is wrong now, and the kinds that cannot be judged now: their alarms stay as they are.

    ``switches``: those of the device that are not over. ``journal_open``: a command id that the device's journal shows
    as an open switch, though the ledger does not.
    """
    found = list(_journal(switches, journal_open))
    if reported is None:
        return found, frozenset(OF_TWIN) - {Kind.JOURNAL_OPEN}
    found += _card(expected, reported)
    found += _test(reported)
    if any(not switch.overdue for switch in switches):
        return found, frozenset({Kind.ACTIVE_PROFILE})
    found += _active(expected, reported)
    return found, frozenset()


def _journal(switches: Sequence[OpenSwitch], journal_open: str) -> Iterator[Finding]:
    for switch in switches:
        if switch.overdue:
            text = f"Switch {switch.command_id} is {switch.state}, and its time is over. An audit tells what became of it."
            yield Finding(Kind.JOURNAL_OPEN, switch.command_id, text)
    if journal_open and journal_open not in [switch.command_id for switch in switches]:
        text = f"The device's journal shows switch {journal_open} as open; here it is over, or unknown."
        yield Finding(Kind.JOURNAL_OPEN, journal_open, text)


def _card(expected: Expected, reported: Reported) -> Iterator[Finding]:
    if reported.eid != expected.eid:
        text = f"The SIM has EID {reported.eid or '(none)'}; {expected.eid or '(none)'} belongs there. Was the card changed?"
        yield Finding(Kind.EID_CHANGED, reported.eid, text)
        return
    held = [profile.iccid for profile in reported.profiles]
    for iccid in held:
        if iccid not in expected.profiles:
            text = f"Profile {iccid} is on the SIM and was not there before. PUT …/sim/desired accepts what is there."
            yield Finding(Kind.PROFILE_APPEARED, iccid, text)
    for iccid in expected.profiles:
        if iccid not in held:
            text = f"Profile {iccid} is no longer on the SIM. PUT …/sim/desired accepts what is there."
            yield Finding(Kind.PROFILE_VANISHED, iccid, text)


def _test(reported: Reported) -> Iterator[Finding]:
    active = profile_of(reported.profiles, reported.active_iccid)
    if active is not None and active.profile_class == "test":
        text = f"The active profile {active.iccid} is of the test class: its keys are public. Switch to an operational one."
        yield Finding(Kind.TEST_PROFILE, active.iccid, text)


def _active(expected: Expected, reported: Reported) -> Iterator[Finding]:
    if expected.iccid and reported.active_iccid != expected.iccid:
        text = (
            f"Profile {reported.active_iccid or '(none)'} is active; {expected.iccid} should be. Switch to that, or accept what "
            "is by PUT …/sim/desired."
        )
        yield Finding(Kind.ACTIVE_PROFILE, reported.active_iccid, text)


def profile_of(profiles: Sequence[Profile], iccid: str) -> Profile | None:
    """The profile with this ICCID."""
    return next((profile for profile in profiles if profile.iccid == iccid), None)
