"""The dialogue with a card in words: names, values, and what must never be told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.errors import PeerError
from simway_protocol.sim import apdu, applet, es10c
from simway_protocol.sim.atr import Atr, decode_atr
from simway_protocol.sim.narrator import Narrator, Told
from simway_protocol.udp.keys import CardResponse

ICCID, SWAPPED = "8988211000000000025", "988812010000000020F5"
KEY = bytes(range(0x40, 0x60))


def tell(*dialogue: tuple[str, str], show_ids: bool = False) -> list[Told]:
    """Command and answer with its status word, in hexadecimal; an empty answer was lost."""
    narrator = Narrator(show_ids=show_ids)
    told = []
    for command, answer in dialogue:
        data, sw = bytes.fromhex(answer[:-4]), int(answer[-4:], 16) if answer else None
        told.append(narrator.tell(bytes.fromhex(command), data, sw, 1_234))
    return told


def text(told: list[Told]) -> str:
    return "\n".join(line for one in told for line in one.lines())


SELECT_ISD_R = ("01A4040010A0000005591010FFFFFFFF8900000100", "9000")


def test_an_enable_is_told_field_by_field() -> None:
    told = tell(
        ("0070000001", "019000"), SELECT_ISD_R, (f"81E2910014BF3111A00C5A0A{SWAPPED}8101FF", "6106"),
        ("81C0000006", "BF3103800100910B"), ("801200000B", "D009810301010482028182" + "9000"),
        ("801400000C810301010482028281830100", "9000"), ("0070800100", "9000"),
    )  # fmt: skip
    assert text(told).splitlines() == [
        "> 00700000  MANAGE CHANNEL open", "< 9000      ok  (1.2 ms)", "    channel 1",
        "> 01A40400  SELECT ISD-R", "< 9000      ok  (1.2 ms)",
        "> 81E29100  STORE DATA EnableProfile", "    BF31 EnableProfile", "      A0", "        5A ICCID: 8988..0025",
        "      81 refresh: yes", "< 6106      6 more bytes to get  (1.2 ms)",
        "> 81C00000  GET RESPONSE", "< 910B      ok, a proactive command of 11 bytes is pending  (1.2 ms)",
        "    BF31 EnableProfile", "      80 result: 0 (ok)",
        "> 80120000  FETCH", "< 9000      ok  (1.2 ms)", "    proactive command 1: REFRESH, qualifier 04, wants a reset",
        "> 80140000  TERMINAL RESPONSE", "    to REFRESH: performed", "< 9000      ok  (1.2 ms)",
        "> 00708001  MANAGE CHANNEL close", "< 9000      ok  (1.2 ms)",
    ]  # fmt: skip


def test_numbers_are_shortened_unless_asked_for() -> None:
    dialogue = (
        ("00A40004022FE2", "9000"), ("00B000000A", SWAPPED + "9000"),
        ("00A40004026F07", "9000"), ("00B0000009", "0829990721430521436587"[:18] + "9000"),
        SELECT_ISD_R, ("81E2910006BF3E035C015A", "BF3E125A10" + "89" * 16 + "9000"),
    )  # fmt: skip
    assert "ICCID 8988..0025" in text(tell(*dialogue))
    assert "EID: 8989..8989" in text(tell(*dialogue))
    assert ICCID not in text(tell(*dialogue))
    shown = text(tell(*dialogue, show_ids=True))
    assert f"ICCID {ICCID}" in shown
    assert "EID: " + "89" * 16 in shown


def test_blocks_and_parts_are_put_together_before_they_are_told() -> None:
    told = tell(
        SELECT_ISD_R, ("81E2110003BF3E03", "9000"), ("81E29101035C015A", "610A"),
        ("81C000000A", "BF3E125A108989898989610B"), ("81C000000B", "89" * 11 + "9000"),
    )  # fmt: skip
    assert told[1].asked == ["3 bytes, more blocks follow"]
    assert told[2].asked == ["BF3E GetEID", "  5C tags wanted: 5A"]
    assert told[3].answered == ["10 bytes"]
    assert told[4].answered == ["BF3E GetEID", "  5A EID: 8989..8989"]


def test_a_profile_is_told_with_class_rules_and_fallback() -> None:
    profile = es10c.ProfileInfo(ICCID, state=es10c.ProfileState.ENABLED, provider="N", profile_class=es10c.ProfileClass.TEST,
                                policy=bytes.fromhex("0560"), fallback=True)  # fmt: skip
    answer = es10c.encode_profiles_response([profile]).hex()
    assert tell(SELECT_ISD_R, ("81E2910003BF2D00", answer + "9000"))[1].answered == [
        "BF2D GetProfilesInfo", "  A0", "    E3 profile", "      5A ICCID: 8988..0025", "      9F70 state: 1 (enabled)",
        "      91 provider: 'N'", "      95 class: 0 (test)", "      99 policy rules: disable not allowed, delete not allowed",
        "      9F26 fallback: yes",
    ]  # fmt: skip


def test_files_of_unknown_content_are_not_shown() -> None:
    told = tell(("00A40004026F08", "9000"), ("00B0000021", "07" + "AB" * 32 + "9000"))
    assert told[1].answered == ["33 bytes, not shown"]
    assert "ABAB" not in text(told)


def test_a_lost_answer_is_told_as_such() -> None:
    (told,) = tell(("801200000B", ""))
    assert told.lines()[-1] == "< ----      no answer came  (1.2 ms)"


@pytest.mark.parametrize("parts", [1, 2])
def test_no_key_pin_or_authentication_data_is_told(parts: int) -> None:
    narrator, challenge = Narrator(show_ids=True), bytes(range(32))
    answer = applet.encode_answer(CardResponse(b"\x77" * 32, b"\x88" * 32))
    commands = [
        apdu.select_application(applet.AID).encode(),
        applet.personalise(KEY, 3).encode(),
        applet.authenticate(challenge).encode(),
        *(command.encode() for command in applet.verify_command(b"\x99" * 300, b"\xaa" * 32)),
    ]
    told = [narrator.tell(command, b"", 0x9000, 0) for command in commands]
    told.append(narrator.tell(commands[2], answer[:32] if parts == 2 else b"", 0x6120, 0))
    told.append(narrator.tell(apdu.get_response(32, 0x80).encode(), answer[32:], 0x9000, 0))
    told.append(narrator.tell(applet.status().encode(), applet.encode_status(applet.AppletStatus(True, 3)), 0x9000, 0))
    narrator.reset()
    told.append(narrator.tell(bytes.fromhex("0020000108") + b"1234\xff\xff\xff\xff", b"", 0x63C2, 0))
    told.append(narrator.tell(bytes.fromhex("0088008110") + b"\xbb" * 16, b"\xcc" * 16, 0x9000, 0))
    said = text(told)
    for secret in (KEY, challenge, answer, b"\x99" * 8, b"\xaa" * 8, b"\xbb" * 8, b"\xcc" * 8):
        assert secret.hex()[:16].upper() not in said.upper()
    assert "31323334" not in said
    assert "1234" not in said
    assert said.count("secret: not shown") >= 6
    assert "holds a key, version 3" in said
    assert "VERIFY PIN" in said
    assert "verification failed, 2 tries left" in said


@given(st.lists(st.tuples(st.binary(max_size=60), st.binary(max_size=60), st.none() | st.integers(0, 0xFFFF)), max_size=12))
def test_whatever_crosses_is_told_somehow(exchanges: list[tuple[bytes, bytes, int | None]]) -> None:
    narrator = Narrator()
    for command, data, sw in exchanges:
        told = narrator.tell(command, data, sw, 5)
        assert told.name
        assert all("\n" not in line for line in told.lines())


@given(st.binary(max_size=80), st.sampled_from([0x00, 0x01, 0x81]), st.binary(max_size=80))
def test_whatever_an_isd_r_is_told_and_says(request: bytes, channel: int, answer: bytes) -> None:
    narrator = Narrator()
    narrator.tell(apdu.select_application(es10c.ISD_R_AID, channel & 3).encode(), b"", 0x9000, 0)
    command = (
        bytes((0x80 | channel, 0xE2, 0x91, 0, len(request))) + request if request else bytes((0x80 | channel, 0xE2, 0x91, 0))
    )
    assert narrator.tell(command, answer, 0x9000, 0).sw == "9000"


# --- answer to reset -----------------------------------------------------------------------------------------------------

ATR = "3B9F96801FC78031E073FE211356434152442D3031D1"


@pytest.mark.parametrize(
    ("data", "atr"),
    [
        (ATR, Atr((0,), ("5 V", "3 V", "1.8 V"), bytes.fromhex("8031E073FE211356434152442D3031"))),
        ("3B00", Atr((0,), (), b"")),
        ("3F021450", Atr((0,), (), b"\x14\x50")),
        ("3B800181", Atr((1,), (), b"")),
        ("3B80801F0619", Atr((0,), ("3 V", "1.8 V"), b"")),
    ],
)  # fmt: skip
def test_answers_to_reset(data: str, atr: Atr) -> None:
    assert decode_atr(bytes.fromhex(data)) == atr


def test_an_answer_to_reset_cut_or_too_long_or_wrong_is_refused() -> None:
    whole = bytes.fromhex(ATR)
    wrong = [whole[:at] for at in range(len(whole))] + [whole + b"\x00", whole[:-1] + b"\x00", b"\x00" + whole[1:]]
    for data in wrong:
        with pytest.raises(PeerError, match="bad_atr"):
            decode_atr(data)


@given(st.binary(max_size=40).map(lambda rest: b"\x3b" + rest))
def test_any_answer_to_reset_is_read_or_refused(data: bytes) -> None:
    with suppress(PeerError):
        decode_atr(data)
