"""The simulated radio: what a coverage file means at each moment, and datagrams that really pass or do not."""

from __future__ import annotations

import os
import random
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.sim.bearer import PROOF_BEARER, BearerUnusable, Connect, PathError, Registration, RegistrationState
from simway_testing import REPOSITORY
from simway_virtual_sim.radio import CoverageFile, RadioSocket, VirtualRadio, open_bearer
from simway_virtual_sim.radio_coverage import Carrier, Coverage, Flapping, Identity, decode, registration_at

ALPHA = Identity("8999901000000000001", "999700000000001")
BETA = Identity("8999902000000000002", "999710000000002")
S = RegistrationState

DOCUMENT = b"""
seed = 7

[default]
rsrp_dbm = -100

[carriers.99971]
coverage = "none"

[carriers.999720]
coverage = "denied"

[carriers.99973]
coverage = "no_data"
plmn = "26201"

[carriers.8999903000000000003]
attach_delay_s = 2.5
rat = "NB-IoT"
flapping = { period_s = 20, up_s = 12 }
"""


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


# --- the document ----------------------------------------------------------------------------------------------------------


def test_a_carrier_is_found_by_iccid_then_by_the_longest_plmn() -> None:
    coverage = decode(DOCUMENT)
    assert coverage.carrier_of(BETA).coverage == "none"
    assert coverage.carrier_of(ALPHA).rsrp_dbm == -100
    assert coverage.carrier_of(Identity("8999903000000000003", BETA.imsi)).rat == "NB-IoT"
    longest = decode(b'[carriers.99970]\n[carriers.999700]\nrat = "NR"\n')
    assert longest.carrier_of(ALPHA).rat == "NR"
    assert longest.home_plmn_of(ALPHA) == "999700"
    assert coverage.home_plmn_of(ALPHA) == "99970"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"[carriers.northwind]", "PLMN"),
        (b"[carriers.1234]", "PLMN"),
        (b'[carriers.99970]\ncoverage = "some"', "coverage"),
        (b"[carriers.99970]\nloss = 1.5", "loss"),
        (b"[carriers.99970]\nattach_delay_s = -1", "attach_delay_s"),
        (b"[carriers.99970]\nrssi_dbm = -1", "rssi_dbm"),
        (b"[carriers.99970]\nflapping = { period_s = 0, up_s = 1 }", "period_s"),
        (b'[carriers.99970]\nplmn = "1"', "plmn"),
        (b"[carriers", "Expected"),
        (b"\xff", "utf-8"),
    ],
)
def test_a_document_that_is_none_says_where(document: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(document)


def test_the_manuals_example_is_one() -> None:
    page = (REPOSITORY / "docs" / "radio.md").read_text()
    coverage = decode(page.split("```toml\n", 1)[1].split("```", 1)[0].encode())
    assert {carrier.coverage for carrier in coverage.carriers.values()} == {"full", "none", "denied", "no_data"}
    assert all(f"`{name}`" in page for name in (*Carrier.__struct_fields__, *Flapping.__struct_fields__, "seed"))


# --- the state at a time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carrier", "state", "data", "cause"),
    [
        (Carrier(), S.HOME, True, ""),
        (Carrier(plmn="26201"), S.ROAMING, True, ""),
        (Carrier(coverage="none"), S.SEARCHING, False, "no_coverage"),
        (Carrier(coverage="denied"), S.DENIED, False, "denied"),
        (Carrier(coverage="no_data"), S.HOME, False, "no_data"),
        (Carrier(attach_delay_s=11), S.SEARCHING, False, "attaching"),
        (Carrier(coverage="denied", attach_delay_s=11), S.SEARCHING, False, "attaching"),
        (Carrier(flapping=Flapping(period_s=8, up_s=3)), S.HOME, True, ""),
        (Carrier(flapping=Flapping(period_s=8, up_s=1)), S.SEARCHING, False, "no_coverage"),
        (Carrier(flapping=Flapping(period_s=8, up_s=3), attach_delay_s=2.5), S.SEARCHING, False, "attaching"),
    ],
)
def test_ten_seconds_after_the_identity_was_taken_up(carrier: Carrier, state: S, data: bool, cause: str) -> None:
    found = registration_at(carrier, ALPHA, "99970", 10)
    assert (found.state, found.data, found.cause) == (state, data, cause)
    assert bool(found.plmn) == (state not in (S.SEARCHING, S.OFF))
    assert (found.rsrp_dbm is None) == (state is S.SEARCHING)


@given(
    st.sampled_from(["full", "none", "denied", "no_data"]),
    st.floats(0, 100),
    st.none() | st.builds(Flapping, period_s=st.floats(0.1, 100), up_s=st.floats(0, 100)),
    st.sampled_from([ALPHA, Identity(), Identity("8999901000000000001")]),
    st.floats(0, 1e6),
)
def test_every_moment_has_one_meaning(
    coverage: str, delay_s: float, flapping: Flapping | None, identity: Identity, elapsed_s: float
) -> None:
    carrier = Carrier(coverage=coverage, attach_delay_s=delay_s, flapping=flapping)  # type: ignore[arg-type]
    found = registration_at(carrier, identity, "99970", elapsed_s)
    assert found.data == (found.cause == "")
    assert not found.data or found.registered
    assert not found.data or coverage == "full"
    assert (found.state is S.OFF) == (not identity.iccid)


# --- the modem ---------------------------------------------------------------------------------------------------------------


def test_another_identity_registers_anew_and_the_same_one_does_not() -> None:
    clock = Clock()
    radio = VirtualRadio(lambda: Coverage(default=Carrier(attach_delay_s=5)), clock_s=clock)
    assert radio.registration().cause == "no_identity"
    radio.use_identity(*ALPHA)
    assert radio.registration().cause == "attaching"
    clock.now_s += 5
    assert radio.registration().plmn == "99970"
    radio.use_identity(*ALPHA)
    assert radio.registration().registered
    radio.use_identity(*BETA)
    assert radio.registration().cause == "attaching"
    clock.now_s += 5
    assert radio.registration().plmn == "99971"
    radio.close()
    assert radio.registration().state is S.OFF


def test_coverage_that_comes_and_goes_at_run_time() -> None:
    clock, now = Clock(), [Coverage(default=Carrier(coverage="none", attach_delay_s=3))]
    radio = VirtualRadio(lambda: now[0], clock_s=clock)
    radio.use_identity(*ALPHA)
    clock.now_s += 60
    now[0] = Coverage(default=Carrier(attach_delay_s=3))
    assert radio.registration().cause == "attaching", "registering begins when coverage comes"
    clock.now_s += 3
    assert radio.registration().registered
    now[0] = Coverage(default=Carrier(attach_delay_s=3, rsrp_dbm=-110))
    assert radio.registration().rsrp_dbm == -110, "a weaker signal is no reason to register anew"
    now[0] = Coverage(default=Carrier(attach_delay_s=3, flapping=Flapping(period_s=10, up_s=5)))
    assert [_at(radio, clock, after_s).cause for after_s in (0, 3, 2, 5, 3)] == [
        "attaching", "", "no_coverage", "attaching", "",
    ]  # fmt: skip


def _at(radio: VirtualRadio, clock: Clock, after_s: float) -> Registration:
    clock.now_s += after_s
    return radio.registration()


# --- datagrams ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5)
        yield opened


def to(server: socket.socket) -> Connect:
    """A way to a server as a device makes one, over whichever interface."""

    def connect(_interface: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect(server.getsockname())
        return made

    return connect


class Attached:
    """A modem with a socket to the server, and a coverage that the test changes."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.clock = Clock()
        self.coverage = Coverage()
        self.radio = VirtualRadio(lambda: self.coverage, clock_s=self.clock, rng=random.Random(1))
        self.radio.use_identity(*ALPHA)
        self.way: RadioSocket = self.radio.open_socket(to(server))
        assert self.up(b"first") == b"first"

    def up(self, datagram: bytes) -> bytes:
        """What the server gets of it; a second datagram from elsewhere marks the end, so nothing is waited for in vain."""
        self.way.send(datagram)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
            mark.sendto(b"mark", self.server.getsockname())
        got = b""
        while (found := self.server.recvfrom(100))[0] != b"mark":
            got, self.address = found
        return got

    def down(self, datagram: bytes) -> bytes:
        """What the device gets of it."""
        self.server.sendto(datagram, self.address)
        readable, _, _ = select.select([self.way], [], [], 5)
        assert readable
        try:
            return self.way.recv(100)
        except BlockingIOError:
            return b""


@pytest.fixture
def attached(server: socket.socket) -> Iterator[Attached]:
    made = Attached(server)
    yield made
    made.way.close()


def test_a_device_moved_to_a_carrier_without_coverage_is_cut_off(attached: Attached) -> None:
    attached.coverage = Coverage(carriers={"99971": Carrier(coverage="none")})
    assert (attached.up(b"up"), attached.down(b"down")) == (b"up", b"down")
    attached.radio.use_identity(*BETA)
    assert (attached.up(b"up"), attached.down(b"down")) == (b"", b"")
    with pytest.raises(PathError, match="no_coverage"):
        attached.radio.open_socket(to(attached.server))
    attached.radio.use_identity(*ALPHA)
    again = attached.radio.open_socket(to(attached.server))
    again.send(b"again")
    assert attached.server.recv(100) == b"again"
    again.close()


def test_the_old_bearers_socket_is_dead_on_the_new_carrier(attached: Attached) -> None:
    """Both carriers are good; but a new bearer has a new address."""
    attached.radio.use_identity(*BETA)
    assert attached.radio.registration().data
    assert (attached.up(b"up"), attached.down(b"down")) == (b"", b"")


@pytest.mark.parametrize("lost", ["none", "denied", "no_data"])
def test_coverage_lost_on_the_way(attached: Attached, lost: str) -> None:
    attached.coverage = Coverage(default=Carrier(coverage=lost))  # type: ignore[arg-type]
    assert (attached.up(b"up"), attached.down(b"down")) == (b"", b"")
    attached.coverage = Coverage()
    assert (attached.up(b"up"), attached.down(b"down")) == (b"up", b"down")


def test_flapping_lets_datagrams_through_by_the_clock(attached: Attached) -> None:
    attached.coverage = Coverage(default=Carrier(flapping=Flapping(period_s=10, up_s=4)))
    assert attached.up(b"up") == b"up"
    attached.clock.now_s += 4
    assert attached.up(b"up") == b""
    attached.clock.now_s += 6
    assert attached.up(b"up") == b"up"


def test_loss_takes_its_share_each_way(attached: Attached) -> None:
    attached.coverage = Coverage(default=Carrier(loss=0.3))
    ups = sum(attached.up(b"up") == b"up" for _ in range(200))
    downs = sum(attached.down(b"down") == b"down" for _ in range(200))
    assert 110 < ups < 170
    assert 110 < downs < 170


# --- the file ----------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """As editors do; the time stamp is moved on, for file systems that count in seconds."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    moved_ns = (path.stat().st_mtime_ns if path.exists() else 0) + 2_000_000_000
    os.utime(fresh, ns=(moved_ns, moved_ns))
    fresh.replace(path)


def test_a_change_of_the_file_takes_effect_at_run_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    path = tmp_path / "coverage.toml"
    write(path, "")
    radio = open_bearer({"coverage_file": str(path)})
    radio.use_identity(*ALPHA)
    assert radio.registration().data
    write(path, '[carriers.99970]\ncoverage = "none"\n')
    assert radio.registration().cause == "no_coverage"
    write(path, "[carriers.99970\n")
    assert radio.registration().cause == "no_coverage", "a broken file changes nothing"
    path.unlink()
    assert radio.registration().cause == "no_coverage"
    assert caplog.text.count("coverage stays as it was") == 2
    write(path, "[carriers.99970]\n")
    assert radio.registration().data


def test_without_a_file_every_carrier_is_good_at_once() -> None:
    radio = open_bearer({})
    assert (radio.proof, radio.has_radio) == (PROOF_BEARER, True)
    for identity in (ALPHA, BETA):
        radio.use_identity(*identity)
        found = radio.registration()
        assert (found.state, found.data, found.rat, found.rsrp_dbm) == (S.HOME, True, "LTE", -85)


def test_a_file_that_cannot_be_used_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(BearerUnusable, match="COVERAGE_FILE"):
        CoverageFile(tmp_path / "nothing.toml")
    (tmp_path / "broken.toml").write_text("[default]\nsignal = 5\n")
    with pytest.raises(BearerUnusable, match=r"signal.*docs/radio\.md"):
        open_bearer({"coverage_file": str(tmp_path / "broken.toml")})


def test_a_server_that_cannot_be_reached_is_not_the_radios_fault() -> None:
    radio = open_bearer({})
    radio.use_identity(*ALPHA)

    def unreachable(_interface: str) -> socket.socket:
        raise PathError("cannot resolve it (SERVER_HOST)")

    with pytest.raises(PathError, match="SERVER_HOST"):
        radio.open_socket(unreachable)


def test_evidence_leaves_out_what_is_not_known() -> None:
    assert Registration(S.SEARCHING, data=False, cause="no_coverage").evidence() == {
        "state": "searching", "data": False, "cause": "no_coverage",
    }  # fmt: skip
    assert Registration(S.HOME, True, "99970", "LTE", -85.0, -9.0).evidence() == {
        "state": "home", "data": True, "plmn": "99970", "rat": "LTE", "rsrp_dbm": -85.0, "rsrq_db": -9.0,
    }  # fmt: skip
