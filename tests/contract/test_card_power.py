"""One suite for every card, third half: power that fails, cards that are pulled, and what else goes wrong."""

import pytest
from simway_protocol.sim import es10b, es10c
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10c import EnableResult
from simway_protocol.sim.memory_reset import MemoryReset, MemoryResetOptions
from simway_protocol.sim.uicc import Uicc
from simway_testing import Unavailable, card_in_reader, pcscd, unavailable
from simway_testing.cards import KNOWN, Socket, enabled, needing, stands_at
from simway_testing.waiting import wait_for
from simway_virtual_sim.faults import NO_FAULTS, Faults

FIRST, SECOND, THIRD, TEST, GUARDED = (profile.iccid for profile in KNOWN.profiles)
KEY = bytes(range(32))
WRITES_MAX = 64


def _clock():
    return 0


@pytest.fixture
def plug(tmp_path):
    """Puts a card of a kind, with faults, into a socket that is emptied at the end."""
    sockets = []

    def put(kind, faults=NO_FAULTS, name="card"):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        sockets.append(Socket(kind, directory, faults))
        return sockets[-1]

    yield put
    for socket in sockets:
        socket.pull()


# --- power cuts --------------------------------------------------------------------------------------------------------


def _remove_notification(uicc):
    uicc.remove_notification(1)


def _reset_memory(uicc):
    uicc.store_data(MemoryReset(MemoryResetOptions.TEST_PROFILES).encode())


CHANGES = {
    "enable": ((), lambda uicc: uicc.enable(SECOND)),
    "enable by AID without refresh": ((), lambda uicc: uicc.enable(KNOWN.profiles[2].aid, refresh=False)),
    "disable": ((), lambda uicc: uicc.disable(FIRST)),
    "delete": ((), lambda uicc: uicc.delete(THIRD)),
    "nickname": ((), lambda uicc: uicc.set_nickname(SECOND, "Übung")),
    "remove notification": (("notifications",), _remove_notification),
    "memory reset": (("memory_reset",), _reset_memory),
}


def _seen(uicc, kind):
    notifications = uicc.notifications() if "notifications" in kind.capabilities else []
    return uicc.profiles(), notifications, uicc.iccid() if "files" in kind.capabilities else ""


@needing("es10c", "power_cut")
@pytest.mark.parametrize("moment", ["power_cut_before_write", "power_cut_after_write"])
@pytest.mark.parametrize("change", CHANGES)
def test_power_fails_at_every_write_of_a_change(kind, change, moment, plug):
    needs, act = CHANGES[change]
    if not kind.capabilities.issuperset(needs):
        return
    whole = plug(kind, name="whole")
    _prepare(whole, needs)
    before = _seen(Uicc(whole.power_cycle(), _clock), kind)
    act(Uicc(whole.card, _clock))
    after = _seen(Uicc(whole.power_cycle(), _clock), kind)
    whole.pull()
    assert before != after
    for write in range(1, WRITES_MAX):
        socket = plug(kind, name=f"cut {write}")
        _prepare(socket, needs)
        uicc = Uicc(socket.power_cycle(Faults(**{moment: write})), _clock)
        try:
            act(uicc)
        except CardGone:
            found = _seen(Uicc(socket.power_cycle(), _clock), kind)
            assert found in (before, after), f"power failed at write {write}"
            assert change == "disable" or sum(profile.enabled for profile in found[0]) == 1
            socket.pull()
        else:
            assert write > 1
            return
    pytest.fail(f"more than {WRITES_MAX} writes")


def _prepare(socket, needs):
    if "notifications" in needs:
        Uicc(socket.card, _clock).enable(SECOND)


@needing("key", "power_cut")
@pytest.mark.parametrize("moment", ["power_cut_before_write", "power_cut_after_write"])
def test_power_fails_while_a_key_is_given(kind, moment, plug):
    for write in range(1, WRITES_MAX):
        socket = plug(kind, Faults(**{moment: write}), name=f"cut {write}")
        try:
            Uicc(socket.card, _clock).applet_personalise(KEY, 3)
        except CardGone:
            uicc = Uicc(socket.power_cycle(), _clock)
            if uicc.applet_status() == (False, 0):
                uicc.applet_personalise(KEY, 3)
            assert uicc.applet_status() == (True, 3)
            socket.pull()
        else:
            assert write > 1
            return
    pytest.fail(f"more than {WRITES_MAX} writes")


@needing("es10c", "power_cut")
@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_card_that_lost_power_says_nothing_until_it_is_reset_and_goes_on(kind, write, plug):
    socket = plug(kind, Faults(power_cut_after_write=write))
    uicc = Uicc(socket.card, _clock)
    before = FIRST
    for target in (SECOND, THIRD, FIRST):
        try:
            uicc.enable(target, refresh=False)
        except CardGone:
            with pytest.raises(CardGone):
                uicc.eid()
            _reset(uicc)
            if enabled(uicc) == [before]:
                assert uicc.enable(target, refresh=False) is EnableResult.OK
        assert enabled(uicc) == [target]
        before = target
    _reset(uicc)
    stands_at(uicc, kind, FIRST)


def _reset(uicc):
    """A reader whose card lost its power sees it come back within a moment."""

    def is_back():
        try:
            uicc.reset()
            return uicc.eid()
        except CardError:
            return ""

    wait_for(is_back, 60, "the card came back")


# --- other faults ------------------------------------------------------------------------------------------------------


@needing("es10c", "faults")
def test_cat_busy_as_often_as_was_asked_for(kind, plug):
    uicc = Uicc(plug(kind, Faults(cat_busy_times=2)).card, _clock)
    assert [uicc.enable(SECOND) for _ in range(3)] == [EnableResult.CAT_BUSY, EnableResult.CAT_BUSY, EnableResult.OK]
    uicc.apply_switch()
    stands_at(uicc, kind, SECOND)


@needing("es10c", "faults")
def test_an_answer_lost_after_the_enable_took_effect(kind, plug):
    uicc = Uicc(plug(kind, Faults(lose_response_after_enable=1)).card, _clock)
    with pytest.raises(CardGone):
        uicc.enable(SECOND)
    _reset(uicc)
    stands_at(uicc, kind, SECOND)
    assert uicc.enable(THIRD) is EnableResult.OK


@needing("es10c", "faults")
def test_a_card_that_knows_profiles_by_their_aid_alone(kind, plug):
    uicc = Uicc(plug(kind, Faults(refuse_iccid=True)).card, _clock)
    assert uicc.enable(SECOND) is EnableResult.NOT_FOUND
    assert uicc.enable(KNOWN.profiles[1].aid) is EnableResult.OK
    uicc.apply_switch()
    stands_at(uicc, kind, SECOND)


@needing("es10c", "faults")
def test_a_card_that_switches_without_refresh_alone(kind, plug):
    uicc = Uicc(plug(kind, Faults(refuse_refresh=True)).card, _clock)
    assert uicc.enable(SECOND) is EnableResult.UNDEFINED
    assert uicc.enable(SECOND, refresh=False) is EnableResult.OK
    uicc.reset()
    stands_at(uicc, kind, SECOND)


@needing("es10c", "faults", "files")
def test_a_reset_that_never_comes_leaves_the_old_files(kind, plug):
    socket = plug(kind, Faults(no_reset_after_refresh=True))
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND) is EnableResult.OK
    assert (uicc.apply_switch(), enabled(uicc)) == (FIRST, [SECOND])
    stands_at(Uicc(socket.power_cycle(), _clock), kind, SECOND)


@needing("es10c", "faults")
def test_a_card_pulled_in_the_middle_comes_back_as_it_was(kind, plug):
    uicc = Uicc(plug(kind, Faults(pull_after_apdus=3, slow_ms=1)).card, _clock)
    with pytest.raises(CardGone):
        uicc.enable(SECOND)
    _reset(uicc)
    stands_at(uicc, kind, FIRST)
    assert uicc.enable(SECOND) is EnableResult.OK


# --- cards in readers --------------------------------------------------------------------------------------------------


@needing("es10c", "pulled")
def test_a_card_is_pulled_out_of_its_reader_and_put_back(kind, plug):
    socket = plug(kind)
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND, refresh=False) is EnableResult.OK
    socket.card.pull()
    with pytest.raises(CardGone):
        uicc.eid()
    socket.card.put_back()
    stands_at(uicc, kind, SECOND)


def test_two_readers_at_once(tmp_path):
    """One dialogue woven into another, each with its own card in its own reader."""
    try:
        cards = [_in_reader(slot, tmp_path / str(slot)) for slot in (0, 1)]
    except Unavailable as missing:
        unavailable(str(missing))
    left, right = (Uicc(card, _clock) for card in cards)
    _weave(left, right)
    cards[0].close()
    assert right.iccid() == THIRD
    cards[1].close()
    pcscd.vacate(1)


def _in_reader(slot, directory):
    directory.mkdir()
    return card_in_reader.power_on(directory, KNOWN, NO_FAULTS, slot)


def _weave(left, right):
    with left.application(es10c.ISD_R_AID, "ISD-R") as first, right.application(es10c.ISD_R_AID, "ISD-R") as second:
        for request in (es10c.GetEid(), es10b.ListNotification()):
            assert first.store_data(request.encode()) == second.store_data(request.encode())
    assert left.enable(SECOND) is EnableResult.OK
    assert (enabled(left), enabled(right)) == ([SECOND], [FIRST])
    assert right.enable(THIRD) is EnableResult.OK
    assert (left.apply_switch(), right.apply_switch()) == (SECOND, THIRD)
