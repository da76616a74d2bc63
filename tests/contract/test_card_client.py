"""One suite for every card, second half: the client over it, in all the ways that readers and clients differ."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from simway_protocol.commands import command_mac
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10b import Operation, RemoveResult
from simway_protocol.sim.es10c import (
    DeleteResult,
    DisableResult,
    EnableProfile,
    EnableResult,
    ProfileId,
    decode_result,
)
from simway_protocol.sim.memory_reset import MemoryReset, MemoryResetOptions
from simway_protocol.sim.transport import Gathered, LengthCorrected, Processor
from simway_protocol.sim.uicc import Uicc
from simway_protocol.udp.keys import card_response
from simway_testing.cards import KNOWN, Socket, enabled, needing, stands_at

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


def _switched(uicc):
    uicc.run_proactive()
    uicc.reset()


@needing("es10c")
@pytest.mark.parametrize("block_bytes", [6, 7, 16, 20, 120, 254, 255])
@pytest.mark.parametrize("way", WAYS)
def test_a_switch_in_every_way(socket, way, block_bytes):
    uicc = Uicc(WAYS[way](socket.card), _clock, block_bytes=block_bytes)
    assert uicc.eid() == KNOWN.eid
    stands_at(uicc, socket.kind, FIRST)
    assert uicc.enable(SECOND) is EnableResult.OK
    assert enabled(uicc) == [SECOND]
    _switched(uicc)
    stands_at(uicc, socket.kind, SECOND)


@needing("es10c")
@pytest.mark.parametrize("flag", [0xFF, 0x01, 0x00])
@pytest.mark.parametrize("by", ["iccid", "aid"])
def test_every_refresh_flag_and_both_names(socket, flag, by):
    uicc = Uicc(socket.card, _clock)
    name = ProfileId.of(getattr(KNOWN.profiles[2], by))
    uicc.store_data(EnableProfile(name, flag != 0, flag or 0xFF).encode())
    asked = [command.wants_reset for command in uicc.run_proactive()]
    assert asked == ([True] if flag and "proactive" in socket.kind.capabilities else [])
    uicc.reset()
    stands_at(uicc, socket.kind, THIRD)


@needing("files", "es10c", "proactive")
def test_the_old_files_stand_until_the_reset(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND) is EnableResult.OK
    assert (uicc.iccid(), uicc.imsi()) == (FIRST, KNOWN.profiles[0].imsi)
    assert uicc.apply_switch() == SECOND


@needing("es10c", "power_off")
def test_whatever_the_card_did_outlives_its_power(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND) is EnableResult.OK
    uicc = Uicc(socket.power_cycle(), _clock)
    stands_at(uicc, socket.kind, SECOND)
    assert uicc.run_proactive() == []


@needing("es10c")
def test_a_lost_answer_is_settled_by_reading_again(socket):
    def is_store_data(apdu):
        return apdu[1] == 0xE2

    uicc = Uicc(AnswerLost(socket.card, is_store_data), _clock)
    with pytest.raises(CardGone):
        uicc.enable(SECOND)
    uicc.reset()
    stands_at(uicc, socket.kind, SECOND)
    assert uicc.enable(SECOND) is EnableResult.NOT_DISABLED


@needing("es10c")
def test_refusals_leave_the_card_as_it_was(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable("8988211000000000025") is EnableResult.NOT_FOUND
    assert uicc.enable(FIRST) is EnableResult.NOT_DISABLED
    assert uicc.disable(SECOND) is DisableResult.NOT_ENABLED
    assert uicc.run_proactive() == []
    uicc.reset()
    stands_at(uicc, socket.kind, FIRST)


@needing("policy")
def test_a_profile_that_may_not_be_disabled_stays_and_a_test_profile_leads_back(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.delete(GUARDED) is DeleteResult.POLICY
    assert uicc.enable(GUARDED) is EnableResult.OK
    _switched(uicc)
    assert (uicc.enable(SECOND), uicc.disable(GUARDED)) == (EnableResult.POLICY, DisableResult.POLICY)
    assert uicc.enable(TEST) is EnableResult.OK
    _switched(uicc)
    assert uicc.enable(SECOND) is EnableResult.WRONG_REENABLING
    assert uicc.enable(GUARDED) is EnableResult.OK
    _switched(uicc)
    stands_at(uicc, socket.kind, GUARDED)


@needing("notifications", "signed")
def test_notifications_are_kept_signed_until_they_are_removed(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.enable(SECOND) is EnableResult.OK
    kept = uicc.notifications()
    assert [(item.operation, item.iccid) for item in kept] == [(Operation.DISABLE, FIRST), (Operation.ENABLE, SECOND)]
    for pending in uicc.pending_notifications():
        certificate = x509.load_der_x509_certificate(pending.certificates[0])
        r, s = (int.from_bytes(half, "big") for half in (pending.signature[:32], pending.signature[32:]))
        signed = ECDSA(SHA256())
        certificate.public_key().verify(encode_dss_signature(r, s), pending.notification.encode(), signed)
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(pending.certificates[1]))
        assert KNOWN.eid in certificate.subject.rfc4514_string()
    assert [item.notification for item in uicc.pending_notifications(kept[1].seq)] == [kept[1]]
    assert [item.notification for item in uicc.pending_notifications(Operation.DISABLE)] == [kept[0]]
    for item in kept:
        assert uicc.remove_notification(item.seq) is RemoveResult.OK
        assert uicc.remove_notification(item.seq) is RemoveResult.NOT_FOUND
    assert uicc.notifications() == uicc.pending_notifications() == []


@needing("memory_reset", "policy")
def test_a_memory_reset_takes_profiles_away_whatever_they_are(socket):
    uicc = Uicc(socket.card, _clock)
    assert decode_result(uicc.store_data(MemoryReset(MemoryResetOptions.TEST_PROFILES).encode()), MemoryReset.TAG) == 0
    assert decode_result(uicc.store_data(MemoryReset(MemoryResetOptions.TEST_PROFILES).encode()), MemoryReset.TAG) == 1
    assert [profile.iccid for profile in uicc.profiles()] == [FIRST, SECOND, THIRD, GUARDED]
    assert decode_result(uicc.store_data(MemoryReset(MemoryResetOptions.OPERATIONAL_PROFILES).encode()), MemoryReset.TAG) == 0
    _switched(uicc)
    assert uicc.profiles() == []
    if "files" in socket.kind.capabilities:
        assert (uicc.iccid(), uicc.imsi()) == ("", "")


@needing("es10c")
def test_an_inventory_says_what_there_is(socket):
    uicc = Uicc(socket.card, _clock)
    assert uicc.eid() == KNOWN.eid
    assert [profile.message() for profile in uicc.profiles()] == [
        profile.info(enabled=profile.iccid == FIRST).message() for profile in KNOWN.profiles
    ]


@needing("files", "info")
def test_an_inventory_says_what_the_card_is(socket):
    evidence = Uicc(socket.card, _clock).inventory().evidence()
    assert (evidence["eid"], evidence["active_iccid"], evidence["smdp"]) == (KNOWN.eid, FIRST, "")
    assert evidence["os_version"]
    assert [item["fallback"] for item in evidence["profiles"]] == [False, False, True, False, False]
    assert [item["rules"] for item in evidence["profiles"]] == [[], [], [], [], ["disable_not_allowed", "delete_not_allowed"]]
    assert [item["profile_class"] for item in evidence["profiles"]] == [*["operational"] * 3, "test", "operational"]


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
