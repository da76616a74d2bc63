"""What the Java Card applet does that the suite does not ask of every card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from simway_protocol.sim import applet
from simway_protocol.sim.apdu import Command
from simway_protocol.sim.card import Card, CardError
from simway_protocol.sim.es10c import EnableResult
from simway_protocol.sim.uicc import Uicc
from simway_testing import Unavailable, applet_in_reader, unavailable
from simway_testing.cards import KNOWN
from simway_virtual_sim.faults import NO_FAULTS

FIRST, SECOND = (profile.iccid for profile in KNOWN.profiles[:2])
CODE = b"12345678"
KEY = bytes(range(32))


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Callable[..., Card]]:
    """Puts the card of this test into the reader, again as it was or fresh."""
    cards: list[Card] = []

    def put(transport_code: bytes = b"") -> Card:
        for card in cards:
            card.close()
        cards.clear()
        try:
            cards.append(applet_in_reader.power_on(tmp_path, KNOWN, NO_FAULTS, transport_code=transport_code))
        except Unavailable as missing:
            unavailable(str(missing))
        return cards[0]

    yield put
    for card in cards:
        card.close()


def _refused(uicc: Uicc, code: bytes) -> int:
    with pytest.raises(CardError) as caught:
        uicc.applet_personalise(KEY, 3, code)
    return caught.value.sw


def test_a_transport_code_guards_the_key(plug: Callable[..., Card]) -> None:
    uicc = Uicc(plug(CODE), lambda: 0)
    assert [_refused(uicc, code) for code in (b"", b"87654321", b"abcdefgh")] == [0x6A80, 0x63C4, 0x63C3]
    uicc = Uicc(plug(CODE), lambda: 0)
    assert _refused(uicc, b"00000000") == 0x63C2
    uicc.applet_personalise(KEY, 3, CODE)
    assert uicc.applet_status() == (True, 3)
    assert _refused(uicc, CODE) == 0x6985


def test_after_the_last_try_no_key_is_taken(plug: Callable[..., Card]) -> None:
    uicc = Uicc(plug(CODE), lambda: 0)
    assert [_refused(uicc, b"00000000") for _ in range(6)] == [0x63C4, 0x63C3, 0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert _refused(Uicc(plug(CODE), lambda: 0), CODE) == 0x6983
    assert Uicc(plug(CODE), lambda: 0).enable(SECOND) is EnableResult.OK


def test_a_card_without_files_shows_its_enabled_profile(plug: Callable[..., Card]) -> None:
    uicc = Uicc(plug(), lambda: 0)
    assert (uicc.iccid(), uicc.imsi()) == (FIRST, "")
    assert uicc.enable(SECOND) is EnableResult.OK
    assert uicc.apply_switch() == SECOND
    assert uicc.inventory().active_iccid == SECOND


def test_both_aids_are_one_card(plug: Callable[..., Card]) -> None:
    other = Uicc(plug(), lambda: 0, isd_r_aid=applet.AID)
    assert other.eid() == KNOWN.eid
    assert other.enable(SECOND) is EnableResult.OK
    uicc = Uicc(plug(), lambda: 0)
    assert [profile.iccid for profile in uicc.profiles() if profile.enabled] == [SECOND]


def test_contents_cannot_be_loaded_any_more(plug: Callable[..., Card]) -> None:
    uicc = Uicc(plug(), lambda: 0)
    item = KNOWN.profiles[0].info(enabled=False).encode()
    with uicc.application(applet.AID, "Simway applet") as channel:
        load = Command(0x80 | channel.number, 0x60, data=item)
        with pytest.raises(CardError) as caught:
            channel.send(load, "LOAD")
    assert caught.value.sw == 0x6985
