"""The twin's diff: what is reported against what belongs there."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.twin import OF_TWIN, SEVERITIES, Expected, Kind, OpenSwitch, Reported, findings
from simway_protocol.messages import Profile

EID, OTHER_EID = "89" * 16, "88" * 16
ICCIDS = ["8949000000000000011", "8949000000000000029", "8949000000000000037"]
ALPHA, BETA, GAMMA = ICCIDS
COMMAND = "00" * 16


def reported(*iccids: str, active: str = ALPHA, eid: str = EID, test: str = "") -> Reported:
    held = tuple(Profile(iccid, "a0", "disabled", profile_class="test" if iccid == test else "operational") for iccid in iccids)
    return Reported(eid, active, held)


EXPECTED = Expected(ALPHA, EID, (ALPHA, BETA))
QUIET = reported(ALPHA, BETA)

expectations = st.builds(
    Expected, st.sampled_from(["", *ICCIDS]), st.sampled_from([EID, OTHER_EID, ""]),
    st.lists(st.sampled_from(ICCIDS), unique=True).map(tuple),
)  # fmt: skip
reports = st.builds(
    lambda iccids, active, eid, test: reported(*iccids, active=active, eid=eid, test=test),
    st.lists(st.sampled_from(ICCIDS), unique=True), st.sampled_from(["", *ICCIDS]), st.sampled_from([EID, OTHER_EID, ""]),
    st.sampled_from(["", *ICCIDS]),
)  # fmt: skip
switches = st.lists(
    st.builds(OpenSwitch, st.sampled_from([COMMAND, "ee" * 16]), st.just("EXECUTED"), st.booleans()),
    unique_by=lambda switch: switch.command_id,
)


def kinds(
    expected: Expected, told: Reported | None, switches: Sequence[OpenSwitch] = (), journal: str = ""
) -> list[tuple[str, str]]:
    return [(item.kind.value, item.subject) for item in findings(expected, told, switches, journal)[0]]


def test_each_alarm() -> None:
    assert kinds(EXPECTED, QUIET) == []
    assert kinds(EXPECTED, reported(ALPHA, BETA, active=BETA)) == [("active_profile", BETA)]
    assert kinds(EXPECTED, reported(ALPHA, BETA, GAMMA)) == [("profile_appeared", GAMMA)]
    assert kinds(EXPECTED, reported(ALPHA)) == [("profile_vanished", BETA)]
    assert kinds(EXPECTED, reported(GAMMA, eid=OTHER_EID, active=GAMMA)) == [
        ("eid_changed", OTHER_EID),
        ("active_profile", GAMMA),
    ]
    assert kinds(EXPECTED, reported(ALPHA, BETA, test=ALPHA)) == [("test_profile", ALPHA)]
    assert kinds(EXPECTED, reported(ALPHA, BETA, test=BETA)) == [], "a test profile that is disabled does no harm"
    assert kinds(EXPECTED, QUIET, [OpenSwitch(COMMAND, "UNKNOWN", True)]) == [("journal_open", COMMAND)]
    assert kinds(EXPECTED, QUIET, [OpenSwitch(COMMAND, "UNKNOWN", True)], COMMAND) == [("journal_open", COMMAND)]
    assert kinds(EXPECTED, QUIET, [], "ff" * 16) == [("journal_open", "ff" * 16)]


def test_while_a_switch_is_open_nobody_judges_which_profile_is_active() -> None:
    found, undecided = findings(EXPECTED, reported(ALPHA, BETA, active=BETA), [OpenSwitch(COMMAND, "EXECUTED", False)])
    assert (found, undecided) == ([], {Kind.ACTIVE_PROFILE})
    overdue = OpenSwitch(COMMAND, "EXECUTED", True)
    assert kinds(EXPECTED, reported(ALPHA, BETA, active=BETA), [overdue]) == [("journal_open", COMMAND), ("active_profile", BETA)]


def test_without_a_report_only_the_journal_can_be_judged() -> None:
    found, undecided = findings(Expected("", "", ()), None)
    assert found == []
    assert undecided == frozenset(OF_TWIN) - {Kind.JOURNAL_OPEN}


@given(reports)
def test_what_is_accepted_as_reported_raises_nothing_but_the_test_alarm(told: Reported) -> None:
    expected = Expected(told.active_iccid, told.eid, tuple(item.iccid for item in told.profiles))
    assert {kind for kind, _ in kinds(expected, told)} <= {"test_profile"}


@given(expectations, reports, switches, st.sampled_from(["", COMMAND, "ff" * 16]))
def test_findings_are_the_differences_each_once(
    expected: Expected, told: Reported, switches: list[OpenSwitch], journal: str
) -> None:
    found, undecided = findings(expected, told, switches, journal)
    named = [(item.kind, item.subject) for item in found]
    assert len(set(named)) == len(named)
    assert not {item.kind for item in found} & undecided
    assert all(item.text and item.kind in OF_TWIN and item.kind in SEVERITIES for item in found)
    held = {item.iccid for item in told.profiles}
    same_card = expected.eid == told.eid
    assert (Kind.EID_CHANGED in dict(named)) != same_card
    appeared = {subject for kind, subject in named if kind is Kind.PROFILE_APPEARED}
    vanished = {subject for kind, subject in named if kind is Kind.PROFILE_VANISHED}
    assert appeared == (held - set(expected.profiles) if same_card else set())
    assert vanished == (set(expected.profiles) - held if same_card else set())
    drifts = bool(expected.iccid) and expected.iccid != told.active_iccid
    late = {switch.command_id for switch in switches if switch.overdue}
    assert late <= {subject for kind, subject in named if kind is Kind.JOURNAL_OPEN}, "all of them, not the newest alone"
    assert (Kind.ACTIVE_PROFILE in dict(named)) == (drifts and all(switch.overdue for switch in switches))
