"""What a switch tells of itself stays bounded and fits into a RESULT."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client.switch_evidence import APDUS_KEPT, SwitchEvidence
from simway_protocol.limits import INT64_MAX
from simway_protocol.sim.bearer import Registration
from simway_protocol.udp.bodies import Result, split_result


def test_of_many_apdus_the_first_and_the_newest_stay() -> None:
    evidence = SwitchEvidence({})
    for number in range(APDUS_KEPT + 30):
        evidence.add_apdus([{"name": str(number), "sw": "9000", "ms": 1.0}])
    names = [int(entry["name"]) for entry in evidence.told["apdus"]]
    assert names == [*range(APDUS_KEPT // 2), *range(APDUS_KEPT // 2 + 30, APDUS_KEPT + 30)]
    assert evidence.told["apdus_left_out"] == 30


def test_of_the_radio_each_change_is_told_with_its_time() -> None:
    evidence = SwitchEvidence({})
    searching = Registration("searching", False, cause="no_coverage")
    home = Registration("home", True, plmn="99971", rsrp_dbm=-101.5)
    for second, registration in enumerate([searching, searching, home, home, searching]):
        evidence.saw(registration, 0, second * 1_000_000)
    assert [(change["ms"], change["state"]) for change in evidence.told["registrations"]] == [
        (0, "searching"), (2000, "home"), (4000, "searching"),
    ]  # fmt: skip
    assert evidence.told["registration"] == {"state": "searching", "data": False, "cause": "no_coverage"}


def test_the_proof_is_what_the_modems_identity_allows() -> None:
    evidence = SwitchEvidence({"proof": "bearer"})
    evidence.saw(Registration("home", True), 0, 0)
    assert evidence.told["proof"] == "bearer"
    evidence.saw(Registration("home", True, imsi_modem="999700000000001", proof="card-only"), 0, 0)
    assert evidence.told["proof"] == evidence.told["registration"]["proof"] == "card-only"


REGISTRATIONS = st.builds(
    Registration,
    state=st.sampled_from(["off", "searching", "denied", "home", "roaming"]),
    data=st.booleans(),
    plmn=st.sampled_from(["", "99970"]),
    rat=st.sampled_from(["", "LTE"]),
    cause=st.sampled_from(["", "no_coverage", "denied"]),
    rsrp_dbm=st.none() | st.floats(-140, -40),
    rsrq_db=st.none() | st.floats(-20, 0),
    rssi_dbm=st.none(),
    imsi_modem=st.sampled_from(["", "999700000000001"]),
    proof=st.sampled_from(["", "bearer", "card-only"]),
)


@given(st.lists(REGISTRATIONS, max_size=200), st.integers(0, 500), st.integers(-5, INT64_MAX // 2))
def test_the_worst_of_it_fits_into_a_result(seen: list[Registration], apdus: int, end_us: int) -> None:
    evidence = SwitchEvidence({"iccid_before": "8" * 20, "imsi_before": "9" * 15})
    for registration in seen:
        evidence.saw(registration, 0, end_us)
    evidence.add_apdus([{"name": "STORE DATA GetEuiccConfiguredAddresses", "sw": "9000", "ms": 123.45}] * apdus)
    for step in ("preflight", "enable", "total"):
        evidence.took(step, 0, end_us)
    for _ in range(40):
        evidence.add_try("aid", True, "undefined")
    assert len(split_result(bytes(16), Result("rolled_back", "no_coverage", evidence.told))) <= 8
