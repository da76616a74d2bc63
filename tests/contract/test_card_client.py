"""One suite for every card, second half: the client over it, in all the ways that readers and clients differ."""

import pytest
from simway_protocol.commands import command_mac
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10c import DisableResult, EnableProfile, EnableResult, ProfileId
from simway_protocol.sim.transport import Gathered, LengthCorrected, Processor
from simway_protocol.sim.uicc import Uicc
from simway_protocol.udp.keys import card_response
from simway_testing.cards import KNOWN, Socket, needing

FIRST, SECOND, THIRD, TEST, GUARDED = (profile.iccid for profile in KNOWN.profiles)
KEY = bytes(range(32))


class BasicChannelOnly(Processor):
    """A reader, or a card, that knows no logical channels."""

    def transmit(self, apdu):
        return (b"", 0x6881) if apdu[1] == 0x70 else super().transmit(apdu)


class AnswerLost(Processor):
    """Loses the answer to the first command that ``lost`` picks; the card has carried it out."""

    def __init__(self, inner, lost):
        super().__init__(inner)
        self._lost = lost

    def transmit(self, apdu):
        answer = super().transmit(apdu)
        if self._lost(apdu):
            self._lost = lambda _: False
            raise CardGone("the answer was lost")
        return answer


WAYS = {
    "T=0": lambda card: card,
    "data with 9000": lambda card: Gathered(LengthCorrected(card)),
    "basic channel only": BasicChannelOnly,
}


def _clock():
    return 0


@pytest.fixture
def socket(kind, tmp_path):
    socket = Socket(kind, tmp_path)
    yield socket
    socket.pull()


def _enabled(uicc):
    return [profile.iccid for profile in uicc.profiles() if profile.enabled]


@needing("es10c", "files")
@pytest.mark.parametrize("block_bytes", [6, 7, 16, 20, 120, 254, 255])
@pytest.mark.parametrize("way", WAYS)
def test_a_switch_in_every_way(socket, way, block_bytes):
    uicc = Uicc(WAYS[way](socket.card), _clock, block_bytes=block_bytes)
    assert (uicc.eid(), uicc.iccid(), _enabled(uicc)) == (KNOWN.eid, FIRST, [FIRST])
    assert uicc.enable(SECOND) is EnableResult.OK
    assert uicc.iccid() == FIRST
    assert uicc.apply_switch() == SECOND
    assert (_enabled(uicc), uicc.imsi()) == ([SECOND], KNOWN.profiles[1].imsi)


@needing("es10c", "files")
@pytest.mark.parametrize("flag", [0xFF, 0x01, 0x00])
@pytest.mark.parametrize("by", ["iccid", "aid"])
def test_every_refresh_flag_and_both_names(socket, flag, by):
    uicc = Uicc(socket.card, _clock)
    name = ProfileId.of(getattr(KNOWN.profiles[2], by))
    uicc.store_data(EnableProfile(name, flag != 0, flag or 0xFF).encode())
    assert [command.wants_reset for command in uicc.run_proactive()] == ([True] if flag else [])
    uicc.reset()
    assert uicc.iccid() == THIRD


@needing("es10c", "files", "power_off")
def test_whatever_the_card_did_outlives_its_power(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND) is EnableResult.OK
    uicc = Uicc(socket.power_cycle(), _clock)
    assert (uicc.iccid(), _enabled(uicc)) == (SECOND, [SECOND])
    assert uicc.run_proactive() == []


@needing("es10c", "files")
def test_a_lost_answer_is_settled_by_reading_again(socket):
    def is_store_data(apdu):
        return apdu[1] == 0xE2

    uicc = Uicc(AnswerLost(socket.card, is_store_data), _clock)
    with pytest.raises(CardGone):
        uicc.enable(SECOND)
    uicc.reset()
    assert (uicc.iccid(), _enabled(uicc)) == (SECOND, [SECOND])
    assert uicc.enable(SECOND) is EnableResult.NOT_DISABLED


@needing("es10c", "files")
def test_refusals_leave_the_card_as_it_was(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable("8988211000000000025") is EnableResult.NOT_FOUND
    assert uicc.enable(FIRST) is EnableResult.NOT_DISABLED
    assert uicc.disable(SECOND) is DisableResult.NOT_ENABLED
    assert (uicc.run_proactive(), uicc.apply_switch(), _enabled(uicc)) == ([], FIRST, [FIRST])


@needing("es10c", "files")
def test_an_inventory_says_what_there_is(socket):
    uicc = Uicc(socket.card, _clock)
    evidence = uicc.inventory().evidence()
    assert (evidence["eid"], evidence["active_iccid"]) == (KNOWN.eid, FIRST)
    assert [(item["iccid"], item["state"], item["provider"]) for item in evidence["profiles"]] == [
        (profile.iccid, "enabled" if profile.iccid == FIRST else "disabled", profile.provider) for profile in KNOWN.profiles
    ]


@needing("es10c")
def test_a_pulled_card_is_gone_and_works_when_put_back(socket):
    uicc = Uicc(socket.card, _clock)
    socket.pull()
    with pytest.raises(CardGone):
        uicc.eid()
    assert Uicc(socket.power_cycle(), _clock).eid() == KNOWN.eid


@needing("key")
@pytest.mark.parametrize("way", WAYS)
def test_the_key_answers_and_verifies(socket, way):
    uicc = Uicc(WAYS[way](socket.card), _clock)
    assert uicc.applet_status() == (False, 0)
    with pytest.raises(CardError) as caught:
        uicc.applet_authenticate(bytes(32))
    assert caught.value.sw == 0x6985
    uicc.applet_personalise(KEY, 3)
    assert uicc.applet_status() == (True, 3)
    challenge = bytes(range(100, 132))
    assert uicc.applet_authenticate(challenge) == card_response(KEY, challenge)
    for body in (b"\xa0", bytes(223), bytes(224), bytes(1100)):
        mac = command_mac(KEY, body)
        assert uicc.applet_verify(body, mac)
        assert not uicc.applet_verify(body + b"\x00", mac)
        assert not uicc.applet_verify(body, bytes(32))
    with pytest.raises(CardError) as caught:
        uicc.applet_personalise(bytes(32), 4)
    assert caught.value.sw == 0x6985
    assert uicc.applet_authenticate(challenge) == card_response(KEY, challenge)


@needing("key")
def test_no_secret_stands_in_the_evidence(socket):
    uicc = Uicc(socket.card, _clock)
    uicc.applet_personalise(KEY, 3)
    answer = uicc.applet_authenticate(bytes(32))
    shown = repr(uicc.take_evidence()).lower()
    assert "personalise" in shown
    for secret in (KEY, answer.response, answer.session_key):
        assert secret.hex() not in shown
