"""What goes wrong with a card goes wrong as often as it was asked for, and the card is whole afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.sim.card import CardGone
from simway_protocol.sim.es10c import EnableResult
from simway_protocol.sim.uicc import Uicc as Client
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.faults import Faults, Trouble
from simway_virtual_sim.state import decode, encode
from simway_virtual_sim.uicc import Uicc

CARD = new_card(lambda count: bytes(range(count)))
SELECT_MF = bytes.fromhex("00A4000C023F00")


class MemoryStore:
    """Keeps a card's state as the bytes that a file would hold."""

    def __init__(self):
        self.document = encode(CARD)

    def load(self):
        return decode(self.document)

    def save(self, state):
        self.document = encode(state)

    def close(self):
        pass


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def _trouble(clock, **faults):
    return Trouble(Faults(**faults), sleep=clock.sleep, clock_s=clock)


def test_a_slow_card_takes_its_time_for_each_command():
    clock = Clock()
    card = Uicc(MemoryStore(), _trouble(clock, slow_ms=30))
    for _ in range(4):
        card.transmit(SELECT_MF)
    assert clock.now_s == pytest.approx(0.12)


def test_a_pulled_card_can_be_neither_reset_nor_opened_until_it_is_back():
    clock = Clock()
    trouble, store = _trouble(clock, pull_after_apdus=2, pulled_ms=500), MemoryStore()
    card = Uicc(store, trouble)
    assert [card.transmit(SELECT_MF)[1] for _ in range(2)] == [0x9000, 0x9000]
    for attempt in (lambda: card.transmit(SELECT_MF), card.reset, lambda: Uicc(store, trouble)):
        with pytest.raises(CardGone, match="pulled"):
            attempt()
    clock.sleep(0.5)
    with pytest.raises(CardGone):
        card.transmit(SELECT_MF)
    card.reset()
    assert [card.transmit(SELECT_MF)[1] for _ in range(9)] == [0x9000] * 9


CHANGES = st.sampled_from(["enable 0", "enable 1", "enable 2", "disable", "nickname", "remove", "personalise"])


@given(st.lists(CHANGES, min_size=1, max_size=12), st.integers(1, 12), st.booleans())
def test_wherever_power_fails_the_card_goes_on_from_before_or_after_the_write(changes, write, after):
    store = MemoryStore()
    fault = Faults(power_cut_after_write=write) if after else Faults(power_cut_before_write=write)
    client = Client(Uicc(store, fault), lambda: 0)
    cuts = 0
    for change in changes:
        before = store.load()
        try:
            _make(client, change)
        except CardGone:
            cuts += 1
            assert (store.load() != before) == after
            with pytest.raises(CardGone):
                client.eid()
            client.reset()
        assert client.eid() == CARD.eid
        shown = [profile.iccid for profile in client.profiles() if profile.enabled]
        assert shown == [store.load().enabled] * bool(store.load().enabled)
    assert cuts <= 1


def _make(client, change):
    what, _, number = change.partition(" ")
    match what:
        case "enable":
            client.enable(CARD.profiles[int(number)].iccid, refresh=False)
        case "disable":
            client.disable(next((p.iccid for p in client.profiles() if p.enabled), CARD.profiles[0].iccid), refresh=False)
        case "nickname":
            client.set_nickname(CARD.profiles[1].iccid, f"n{len(client.notifications())}")
        case "remove":
            client.remove_notification(1)
        case "personalise":
            if client.applet_status() == (False, 0):
                client.applet_personalise(bytes(32), 1)


def test_a_lost_answer_tells_nothing_and_the_enable_holds():
    store = MemoryStore()
    client = Client(Uicc(store, Faults(lose_response_after_enable=1)), lambda: 0)
    with pytest.raises(CardGone, match="answer was lost"):
        client.enable(CARD.profiles[1].iccid)
    assert client.reset()
    assert client.iccid() == CARD.profiles[1].iccid
    assert client.enable(CARD.profiles[1].iccid) is EnableResult.NOT_DISABLED
    assert client.enable(CARD.profiles[2].iccid) is EnableResult.OK
