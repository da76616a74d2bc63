"""The card's own reports: said to a terminal that can carry them, kept until acknowledged, over every power cut."""

import cbor2
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec.structs import replace
from simway_protocol import senml
from simway_protocol.sim import apdu, proactive_commands, report, status, terminal_profile
from simway_protocol.sim.apdu import Command, Ins
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Refresh, Result, TerminalResponse
from simway_protocol.sim.proactive_commands import CloseChannel, Info, OpenChannel, PollInterval, ReceiveData, SendData
from simway_protocol.sim.proactive_envelopes import TimerExpired
from simway_protocol.sim.proactive_objects import ChannelStatus, Tag, date_time_item
from simway_protocol.sim.report import Receipt, SwitchWord
from simway_protocol.sim.terminal_profile import BIP_UDP, Facility
from simway_protocol.sim.uicc import Uicc as Client
from simway_virtual_sim import profiles, switch_log
from simway_virtual_sim.driver import open_card
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.reporter import ENTRIES_MAX
from simway_virtual_sim.state import AppletState, decode, encode
from simway_virtual_sim.switch_log import LOG_MAX, SwitchEntry
from simway_virtual_sim.uicc import Uicc

KEY = bytes(range(32))
NOW_S = 1_795_326_665
BLANK = new_card(lambda count: bytes(range(7, 7 + count)))
KEYED = replace(BLANK, applet=AppletState(KEY.hex(), 1))
ICCIDS = [profile.iccid for profile in KEYED.profiles]
PROFILE = terminal_profile.encode((*BIP_UDP, Facility.POLL_INTERVAL), channels=1)


class Saved:
    """A store in memory, that serialises as the file does."""

    def __init__(self, state):
        self.data = encode(state)
        self.refuses = False

    @property
    def state(self):
        return decode(self.data)

    def load(self):
        return self.state

    def save(self, state):
        if self.refuses:
            raise OSError("no space")
        self.data = encode(state)

    def close(self):
        pass


class Device:
    """A terminal that keeps what it is sent. ``spoil``: {command type: answer} in place of a good one."""

    def __init__(self, state=KEYED, faults=None, profile=PROFILE, interval_s=30):
        self.store = state if isinstance(state, Saved) else Saved(state)
        self.card = Uicc(self.store, faults or Faults(), interval_s)
        self.client = Client(self.card, lambda: 0, terminal=self)
        self.profile = profile
        self.now_s = NOW_S
        self.spoil = {}
        self.asked = []
        self.packs = []
        self.buffer = b""
        self.receipts = True

    def start(self):
        self.client.reset()
        self.client.run_proactive()
        return self

    def poll(self):
        self.asked.clear()
        self.client.poll()
        self.client.run_proactive()

    def perform(self, command):
        known = proactive_commands.parse(command)
        self.asked.append(known)
        if command.type in self.spoil:
            return TerminalResponse.to(command, self.spoil[command.type])
        return TerminalResponse.to(command, Result.PERFORMED, b"", *self._items(known))

    def _items(self, known):
        match known:
            case OpenChannel():
                self.buffer = b""
                return [ChannelStatus(1, True).item()]
            case SendData():
                self.buffer += known.data
                if known.immediately:
                    self.packs.append(senml.decode_cbor(self.buffer, NOW_S * 1_000_000))
            case ReceiveData() if self.receipts:
                return [Item(Tag.CHANNEL_DATA, Receipt(len(self.packs[-1]), 0).encode())]
            case proactive_commands.ProvideLocalInformation():
                return [date_time_item(self.now_s)]
        return []

    def card_reset(self):
        pass

    def envelope(self):
        return None

    def envelope_delivered(self):
        pass

    def switch(self, iccid, refresh=True):
        self.client.enable(iccid, refresh)
        return self.client.apply_switch()

    def words(self):
        return [reading.value for pack in self.packs for reading in pack if reading.sensor == report.SWITCH]


def kinds(device):
    return [type(command).__name__ for command in device.asked]


def test_a_report_step_by_step():
    device = Device().start()
    assert device.asked == [PollInterval(30)]
    device.poll()
    assert [type(command) for command in device.asked] == [
        proactive_commands.ProvideLocalInformation, OpenChannel, SendData, ReceiveData, CloseChannel,
    ]  # fmt: skip
    assert device.asked[0].info == Info.DATE_TIME
    assert (device.asked[1].destination, device.asked[1].transport) == (report.PLATFORM_ADDRESS, (1, report.PLATFORM_PORT))
    assert device.packs == [[("sim/counter", NOW_S * 1_000_000 + 1, 1, None)]]
    device.poll()
    assert device.packs[1][0].value == 2
    assert device.store.state.report.counter == 2


def test_a_switch_is_told_at_once_with_the_cards_mac():
    device = Device().start()
    assert device.switch(ICCIDS[1]) == ICCIDS[1]
    assert device.store.state.report.log == (SwitchEntry(1, ICCIDS[1]),)
    device.asked.clear()
    device.client.run_proactive()
    assert kinds(device)[:2] == ["PollInterval", "ProvideLocalInformation"]
    word = SwitchWord.of(device.words()[0])
    assert (word.n, word.iccid, word.verified(KEY), word.verified(bytes(32))) == (1, ICCIDS[1], True, False)
    assert device.store.state.report == switch_log.ReportState(counter=1, switches=1)
    device.poll()
    assert len(device.words()) == 1


@pytest.mark.parametrize("unwell", [
    {CommandType.OPEN_CHANNEL: Result.BIP_ERROR}, {CommandType.SEND_DATA: Result.TERMINAL_UNABLE},
    {CommandType.RECEIVE_DATA: Result.MISSING_INFORMATION}, {CommandType.OPEN_CHANNEL: Result.PERFORMED},
    {CommandType.RECEIVE_DATA: Result.BIP_ERROR, CommandType.CLOSE_CHANNEL: Result.BIP_ERROR},
])  # fmt: skip
def test_what_is_not_acknowledged_is_sent_again_as_it_was(unwell):
    device = Device().start()
    device.switch(ICCIDS[1])
    device.spoil = unwell
    device.client.run_proactive()
    for _ in range(3):
        device.now_s += 30
        device.poll()
    assert device.store.state.report.log == (SwitchEntry(1, ICCIDS[1], NOW_S),)
    device.spoil = {}
    device.poll()
    assert device.store.state.report.log == ()
    sent = [item.t_us for pack in device.packs for item in pack if item.sensor == report.SWITCH]
    assert set(sent) == {NOW_S * 1_000_000 + 1}, "the same reading each time"


def test_a_terminal_without_a_clock_stamps_what_it_gets():
    device = Device()
    device.spoil = {CommandType.PROVIDE_LOCAL_INFORMATION: Result.TERMINAL_UNABLE}
    device.start()
    device.switch(ICCIDS[1])
    device.receipts = False
    device.client.run_proactive()
    assert [item.t_us for item in device.packs[0]] == [NOW_S * 1_000_000] * 2
    assert device.store.state.report.log == (SwitchEntry(1, ICCIDS[1], 0),)
    device.spoil, device.receipts = {}, True
    device.poll()
    assert device.store.state.report.log == ()


def test_a_receipt_for_less_than_was_sent_is_none():
    device = Device().start()
    device.switch(ICCIDS[1])
    device._items = lambda known, items=device._items: (
        [Item(Tag.CHANNEL_DATA, Receipt(1, 0).encode())] if isinstance(known, ReceiveData) else items(known)
    )
    device.client.run_proactive()
    assert len(device.store.state.report.log) == 1


def test_a_long_log_takes_several_reports_and_has_an_end():
    device = Device().start()
    device.profile = b"\x01"
    for number in range(LOG_MAX + 4):
        device.client.enable(ICCIDS[1 + number % 2], refresh=False)
    assert [entry.n for entry in device.store.state.report.log] == list(range(5, LOG_MAX + 5))
    device.profile = PROFILE
    device.start()
    while device.store.state.report.log:
        device.poll()
    assert [word["n"] for word in device.words()] == list(range(5, LOG_MAX + 5))
    assert max(len(pack) for pack in device.packs) == 1 + ENTRIES_MAX
    assert all(len(command.data) <= 220 for command in device.asked if isinstance(command, SendData))


@pytest.mark.parametrize(("state", "profile", "interval_s"), [
    (BLANK, PROFILE, 30), (KEYED, b"", 30), (KEYED, b"\xff" * 11, 30), (KEYED, PROFILE, 0),
    (KEYED, terminal_profile.encode((*BIP_UDP,), 1), 30),
    (KEYED, terminal_profile.encode((Facility.POLL_INTERVAL, Facility.OPEN_CHANNEL, Facility.SEND_DATA), 1), 30),
])  # fmt: skip
def test_who_gets_no_report(state, profile, interval_s):
    device = Device(state, profile=profile, interval_s=interval_s).start()
    device.switch(ICCIDS[1], refresh=False)
    device.poll()
    assert device.asked == []
    assert device.card.transmit(bytes.fromhex("80F2000C")) == (b"", status.OK)


def test_a_card_that_gets_its_key_later_reports_from_then_on():
    device = Device(BLANK).start()
    assert device.asked == []
    device.client.applet_personalise(KEY, 1)
    device.client.run_proactive()
    device.poll()
    assert device.packs[0][0].value == 1


def test_a_report_that_waits_makes_no_switch_wait():
    """Announced by 91xx and not fetched: the card is not busy, and the REFRESH comes first."""
    device = Device().start()
    device.client.poll()
    assert device.client.proactive_pending
    assert device.client.enable(ICCIDS[1]) == 0
    assert [command.type for command in device.client.run_proactive()] == [CommandType.REFRESH]


def test_a_report_that_was_fetched_and_not_answered_does():
    device = Device().start()
    device.client.poll()
    length = device.card.transmit(bytes.fromhex("80F2000C"))[1] & 0xFF
    device.card.transmit(apdu.fetch(length).encode())
    assert device.client.enable(ICCIDS[1]).name == "CAT_BUSY"
    assert device.client.enable(ICCIDS[1], refresh=False) == 0


def test_a_refresh_ends_a_report_that_is_under_way():
    device = Device().start()
    device.client.poll()
    _, sw = device.card.transmit(bytes.fromhex("80F2000C"))
    data, _ = device.card.transmit(apdu.fetch(sw & 0xFF).encode())
    command = ProactiveCommand.decode(data)
    device.card.transmit(apdu.terminal_response(TerminalResponse.to(command, 0, b"", date_time_item(NOW_S)).encode()).encode())
    assert device.client.enable(ICCIDS[1]) == 0
    device.asked.clear()
    device.client.apply_switch()
    assert device.asked == [proactive_commands.Refresh(Refresh.UICC_RESET)]


def test_envelopes_are_taken_and_nonsense_is_not():
    card = Device().card
    assert card.transmit(Command(0x80, Ins.ENVELOPE, data=TimerExpired(1, 5).encode()).encode()) == (b"", status.OK)
    assert card.transmit(Command(0x80, Ins.ENVELOPE, data=b"\xd6\x01\x00").encode()) == (b"", status.WRONG_DATA)


def test_a_card_that_cannot_save_does_not_report():
    device = Device().start()
    device.store.refuses = True
    device.poll()
    assert kinds(device) == ["ProvideLocalInformation"]
    device.store.refuses = False
    device.poll()
    assert device.packs[0][0].value == 1


def test_a_switch_and_its_entry_are_one_write():
    old = KEYED
    _, new = profiles.enable(old, profiles.ProfileId.of(ICCIDS[1]))
    assert switch_log.noted(old, new).report.log == (SwitchEntry(1, ICCIDS[1]),)
    assert switch_log.noted(replace(old, applet=AppletState()), replace(new, applet=AppletState())).report.log == ()
    assert switch_log.noted(old, replace(old, smdp="x")).report.log == ()


class CutAnywhere(RuleBasedStateMachine):
    """Power fails before or after any write: every switch is told in the end, in order, each n for one ICCID."""

    def __init__(self):
        super().__init__()
        self.store = Saved(KEYED)
        self.truth = {}
        self.told = {}
        self._boot(Faults())

    def _boot(self, faults):
        self.device = Device(self.store, faults)

    def _note(self):
        report_state = self.store.state.report
        self.truth.update({entry.n: entry.iccid for entry in report_state.log})
        for word in self.device.words():
            assert self.told.setdefault(word["n"], word["iccid"]) == word["iccid"]

    @rule(cut=st.integers(0, 5), after=st.booleans(), to=st.integers(0, 2), polls=st.integers(0, 3))
    def a_life(self, cut, after, to, polls):
        self._boot(Faults(**{f"power_cut_{'after' if after else 'before'}_write": cut}))
        before = self.store.state
        try:
            self.device.start()
            if ICCIDS[to] != before.enabled:
                self.device.switch(ICCIDS[to])
            for _ in range(polls):
                self.device.poll()
        except CardGone:
            pass
        after_state = self.store.state
        self._note()
        if after_state.enabled != before.enabled:
            assert after_state.report.switches == before.report.switches + 1
            self.truth[after_state.report.switches] = after_state.enabled

    def teardown(self):
        self._boot(Faults())
        self.device.start()
        while self.store.state.report.log:
            self.device.poll()
        self._note()
        assert self.told == self.truth
        assert list(self.truth) == list(range(1, len(self.truth) + 1))


TestCutAnywhere = CutAnywhere.TestCase
TestCutAnywhere.settings = settings(max_examples=30, stateful_step_count=6, deadline=None)


@pytest.mark.parametrize(("written", "asked"), [("report_interval_s = 45", [PollInterval(45)]), ("report_interval_s = 0", []), (
    "", [PollInterval(30)])])  # fmt: skip
def test_the_sim_file_says_how_often(tmp_path, written, asked):
    path = tmp_path / "sim.toml"
    path.write_text(written)
    device = Device()
    device.client = Client(
        open_card({"state_file": str(tmp_path / "sim.json"), "sim_file": str(path)}), lambda: 0, terminal=device
    )
    device.client.applet_personalise(KEY, 1)
    device.start()
    assert device.asked == asked
    device.client.close()


@pytest.mark.parametrize("seconds", [-1, 1, 4, 15_301])
def test_an_interval_that_cannot_be_is_refused_by_name(tmp_path, seconds):
    path = tmp_path / "sim.toml"
    path.write_text(f"report_interval_s = {seconds}")
    with pytest.raises(CardError, match=r"sim\.toml:1: report_interval_s: the card reports every 5 to 15300 seconds"):
        open_card({"state_file": str(tmp_path / "sim.json"), "sim_file": str(path)})


def test_a_pack_is_no_more_than_a_terminal_takes():
    words = [(SwitchWord.sealed(KEY, 2**53 - 1, "9" * 20), NOW_S * 1_000_000)] * ENTRIES_MAX
    assert len(report.encode_pack(2**53 - 1, NOW_S * 1_000_000, words)) < 1_200
    assert len(cbor2.loads(report.encode_pack(1, 0, words))) == 1 + ENTRIES_MAX
