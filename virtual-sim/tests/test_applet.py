"""The Simway applet by its golden dialogue, and what else it must keep."""

from msgspec.structs import replace
from simway_protocol import vectors
from simway_protocol.sim import applet
from simway_protocol.sim.uicc import Uicc as Client
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.state import AppletState, decode, encode
from simway_virtual_sim.uicc import Uicc

DIALOGUE = vectors.load("sim_applet")["cases"]


class MemoryStore:
    """Keeps a card's state as the bytes that a file would hold."""

    def __init__(self, state):
        self.document = encode(state)

    def load(self):
        return decode(self.document)

    def save(self, state):
        self.document = encode(state)

    def close(self):
        pass


def _joined(pieces):
    return bytes.fromhex("".join(piece for piece, _label in pieces))


def _blank():
    return MemoryStore(new_card(lambda count: bytes(range(count))))


def test_the_golden_dialogue():
    card = Uicc(_blank())
    card.transmit(bytes.fromhex("0070000001"))
    assert card.transmit(b"\x01\xa4\x04\x0c\x08" + applet.AID) == (b"", 0x9000)
    for case in DIALOGUE:
        data, sw = card.transmit(_joined(case["bytes"]))
        if sw >> 8 == 0x61:
            data, sw = card.transmit(b"\x81\xc0\x00\x00" + bytes((sw & 0xFF,)))
        assert (data, f"{sw:04X}") == (_joined(case["answer"]), case["sw"]), case["note"]


def test_the_key_outlives_power_and_every_switch_and_is_never_given_out():
    store, key = _blank(), bytes(range(32))
    client = Client(Uicc(store), lambda: 0)
    client.applet_personalise(key, 7)
    before = client.applet_authenticate(b"c" * 32)
    second = store.load().profiles[1].iccid
    client.enable(second)
    assert client.apply_switch() == second
    client = Client(Uicc(store), lambda: 0)
    assert client.applet_status() == applet.AppletStatus(True, 7)
    assert client.applet_authenticate(b"c" * 32) == before
    assert key.hex() not in repr(store.load())


def test_a_challenge_uses_up_no_counter_and_writes_nothing():
    card = _blank()
    store = MemoryStore(replace(card.load(), applet=AppletState("11" * 32, 1)))
    client, written = Client(Uicc(store), lambda: 0), store.document
    for _ in range(300):
        client.applet_authenticate(b"c" * 32)
        assert not client.applet_verify(b"body", b"m" * 32)
    assert store.document == written


def test_wrong_lengths():
    card = Uicc(_blank())
    card.transmit(b"\x00\xa4\x04\x0c\x08" + applet.AID)
    personalise = applet.personalise(bytes(32), 1)
    for data in (b"", bytes(35), bytes(37), bytes(36)):
        assert card.transmit(personalise._replace(data=data).encode()) == (b"", 0x6A80)
    assert card.transmit(personalise.encode()) == (b"", 0x9000)
    assert card.transmit(applet.authenticate(bytes(32))._replace(data=bytes(31)).encode()) == (b"", 0x6700)
    assert card.transmit(applet.verify_command(b"b", bytes(32))[0]._replace(data=bytes(32)).encode()) == (b"", 0x6A80)
