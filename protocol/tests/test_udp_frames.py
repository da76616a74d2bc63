"""Frames and bodies: both ways, cut at each byte, with trailing bytes, and whatever else may arrive."""

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.udp import bodies, frames, strict_cbor
from simway_protocol.udp.frames import Type

AEAD = AESGCM(bytes(16))
PREFIX = b"\x00\x00\x00\x01"
counters = st.integers(0, 2**64 - 1)
types = st.sampled_from(list(Type))
cbor = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(0, 8) | st.text(max_size=3), inner, max_size=7),
    max_leaves=6,
)


def value_or_reason(decode, data):
    try:
        return decode(data)
    except PeerError as error:
        return error.reason


@given(types, st.binary(min_size=8, max_size=8), counters)
def test_a_header_goes_both_ways(type_, session_id, counter):
    packed = frames.pack_header(type_, session_id, counter)
    assert len(packed) == frames.HEADER_BYTES
    assert frames.parse_header(packed) == (type_, session_id, counter)


@given(st.binary(max_size=1300))
def test_a_header_or_a_reason(datagram):
    header = value_or_reason(frames.parse_header, datagram)
    assert header in {"too_long", "too_short", "version", "type"} or frames.pack_header(*header) == datagram[:17]


@given(types, counters, st.binary(max_size=300), st.binary(max_size=50))
def test_a_sealed_frame_opens_only_whole(type_, counter, plain, between):
    header = frames.pack_header(type_, bytes(8), counter)
    frame = frames.seal(AEAD, PREFIX, header, plain, between)
    associated = len(header) + len(between)
    assert frames.unseal(AEAD, PREFIX, frame, associated) == plain
    for wrong in (frame[:-1], frame + b"\x00", frame[:-1] + bytes([frame[-1] ^ 1]), bytes([frame[0] ^ 32]) + frame[1:]):
        with pytest.raises(PeerError, match=r"bad_tag|too_short"):
            frames.unseal(AEAD, PREFIX, wrong, associated)


def test_a_sealed_frame_cut_at_each_byte():
    frame = frames.seal(AEAD, PREFIX, frames.pack_header(Type.DATA, b"12345678", 5), b"\xa1\x01\x02")
    for end in range(17, len(frame)):
        with pytest.raises(PeerError, match=r"bad_tag|too_short"):
            frames.unseal(AEAD, PREFIX, frame[:end])


def test_a_frame_over_the_datagram_is_the_callers_fault():
    header = frames.pack_header(Type.DATA)
    assert len(frames.seal(AEAD, PREFIX, header, bytes(frames.BODY_MAX_BYTES))) == 1_200
    with pytest.raises(LocalError):
        frames.seal(AEAD, PREFIX, header, bytes(frames.BODY_MAX_BYTES + 1))


def test_clear_bodies_must_be_deterministic_and_alone():
    frame = frames.encode_clear(Type.BUSY, {1: bytes(16), 2: 500})
    assert frames.decode_clear(frame) == {1: bytes(16), 2: 500}
    loose = [b"\x00", b"\xff", frame[17:]]
    wrong = [frame + extra for extra in loose] + [frame[:end] for end in range(17, len(frame))]
    unsorted = frame[:17] + bytes.fromhex("a2021901f40150") + bytes(16)
    long_number = frame[:17] + bytes.fromhex("a10219000a")
    endless = frame[:17] + bytes.fromhex("bf0201ff")
    for data in [*wrong, unsorted, long_number, endless]:
        with pytest.raises(PeerError, match="bad_body"):
            frames.decode_clear(data)


@given(st.binary(max_size=200))
def test_a_body_or_a_reason(data):
    for decode in (frames.decode_body, lambda data: frames.decode_clear(bytes(17) + data)):
        body = value_or_reason(decode, data)
        assert body == "bad_body" or type(body) is dict


def test_what_follows_an_opened_body_is_padding():
    assert frames.decode_body(frames.encode_body({1: 2}) + bytes(20)) == {1: 2}


@pytest.mark.parametrize("tag", ["d823", "d824", "d90023", "da00000024", "db0000000000000023"])
def test_what_takes_long_to_decode_is_refused_at_once(tag):
    slow = bytes.fromhex("a103") + bytes.fromhex(tag) + cbor2.dumps("(?i)" + "[\u0100-\U0010ffff]" * 90)
    with pytest.raises(PeerError, match="bad_body"):
        frames.decode_body(slow)
    with pytest.raises(PeerError, match="bad_body"):
        frames.decode_clear(bytes(17) + slow)
    assert frames.decode_body(frames.encode_body({1: "\x00#\x00$", 2: -4})) == {1: "\x00#\x00$", 2: -4}


flat = st.dictionaries(
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=300), max_size=16
)


@given(flat)
def test_strict_cbor_reads_what_the_deterministic_encoder_wrote(body):
    assert frames.decode_clear(bytes(17) + frames.encode_body(body)) == body


@given(st.binary(max_size=60) | cbor.map(cbor2.dumps) | flat.map(cbor2.dumps))
def test_strict_cbor_takes_only_what_the_encoder_would_write(data):
    body = value_or_reason(strict_cbor.decode_flat, data)
    assert body == "bad_body" or frames.encode_body(body) == data


@pytest.mark.parametrize("tag", ["d90100", "da00000100", "db0000000000000100"])
def test_references_to_strings_are_refused(tag):
    """With them 64 KiB of evidence would unfold to gigabytes."""
    text = cbor2.dumps("x" * 200)
    plain = bytes.fromhex("a101" + tag + "83") + text + bytes.fromhex("d81900d81900")
    assert cbor2.loads(plain) == {1: ["x" * 200] * 3}
    with pytest.raises(PeerError, match="bad_body"):
        frames.decode_body(plain, is_large=True)


@pytest.mark.parametrize("tag", ["d81d", "d9001d", "da0000001d", "db000000000000001d"])
def test_shared_values_are_refused(tag):
    shared = bytes.fromhex("a201d81c8201020282") + bytes.fromhex(tag + "00") * 2
    with pytest.raises(PeerError, match="bad_body"):
        frames.decode_body(shared)
    assert frames.decode_body(frames.encode_body({1: b"\xd8\x1d\x00\x1d"})) == {1: b"\xd8\x1d\x00\x1d"}


DECODERS = {
    "hello": bodies.decode_hello, "challenge": bodies.decode_challenge, "attach": bodies.decode_attach,
    "attached": bodies.decode_attached, "ack": bodies.decode_ack, "sealed": bodies.decode_sealed,
    "receipt": bodies.decode_receipt, "closed": bodies.decode_closed, "nonce": bodies.decode_nonce,
    "part": bodies.decode_result_part,
}  # fmt: skip


@settings(max_examples=100)
@given(body=st.dictionaries(st.integers(0, 8), cbor, max_size=8))
def test_a_decoder_gives_a_value_or_bad_body(body):
    for name, decode in DECODERS.items():
        value = value_or_reason(decode, body)
        assert value == "bad_body" or not isinstance(value, str), name


numbers = st.integers(1, 2**62)
ranges = st.lists(st.tuples(numbers, st.integers(0, 2**20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=32)
ids = st.binary(min_size=16, max_size=16)
octets = st.binary(min_size=8, max_size=8)
hashes = st.binary(min_size=32, max_size=32)
reasons = st.text(st.characters(codec="ascii"), max_size=32)


def through(items):
    return frames.decode_body(frames.encode_body(items))


@given(
    octets, ranges, st.lists(st.tuples(numbers, numbers, reasons).map(lambda r: (min(r[:2]), max(r[:2]), r[2])), max_size=32),
    ranges, st.integers(0, 2**40), st.lists(st.tuples(ids, octets)), st.lists(st.tuples(ids, reasons.map(lambda r: r[:16]))),
)  # fmt: skip
def test_ack_goes_both_ways(epoch, logged, rejected, later, later_ms, results, closed):
    ack = bodies.Ack(epoch.hex(), logged, rejected, later, later_ms, results, closed)
    assert bodies.decode_ack(through(bodies.encode_ack(ack))) == ack


@given(hashes, st.from_regex(r"\A[0-9A-F]{0,20}\Z"), numbers, octets, numbers)
def test_attach_goes_both_ways(response, iccid, boot, epoch, last):
    attach = bodies.Attach(response, iccid, boot, epoch.hex(), last)
    assert bodies.decode_attach(through(bodies.encode_attach(attach))) == attach


@given(hashes, numbers, numbers, st.sampled_from(["", "revoked"]), numbers)
def test_attached_goes_both_ways(proof, generation, time_us, reason, number):
    attached = (
        bodies.Attached(proof, 0, time_us, reason, number) if reason
        else bodies.Attached(proof, generation, time_us, idle_timeout_ms=number)
    )  # fmt: skip
    assert bodies.decode_attached(through(bodies.encode_attached(attached))) == attached


@given(ids, st.binary(max_size=900), hashes)
def test_commands_go_both_ways(command_id, body, mac):
    sealed = bodies.Sealed(command_id, body, mac)
    assert bodies.decode_sealed(through(bodies.encode_sealed(sealed))) == sealed


evidence = st.dictionaries(
    st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=10),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | st.binary(max_size=2_000) | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=50),
        lambda inner: st.lists(inner, max_size=4),
    ),
    max_size=6,
)  # fmt: skip


@given(ids, evidence)
def test_a_result_goes_through_its_parts(command_id, proof):
    result = bodies.Result("executed", "", proof)
    parts = bodies.split_result(command_id, result)
    again = [bodies.decode_result_part(through(bodies.encode_result_part(part))) for part in parts]
    assert again == parts
    assert bodies.join_result(parts[0].digest, [part.data for part in again]) == result
    assert all(len(frames.encode_body(bodies.encode_result_part(part))) <= frames.BODY_MAX_BYTES for part in parts)


@pytest.mark.parametrize(
    "wrong", [{1: 2}, {"a": float("nan")}, {"a": "\x00"}, {"a": 2**63}, {"a": {2: 3}}, {"a": {1, 2}}, {"a": bytes(70_000)}, 5]
)
def test_evidence_that_cannot_be_sent(wrong):
    with pytest.raises(LocalError):
        bodies.split_result(bytes(16), bodies.Result("executed", "", wrong))
    whole = cbor2.dumps({1: "executed", 2: "", 3: wrong})
    if len(whole) < 60_000:
        with pytest.raises(PeerError, match="bad_result"):
            bodies.join_result(bodies.result_digest(whole), [whole])


def test_a_result_is_what_its_digest_says():
    (part,) = bodies.split_result(bytes(16), bodies.Result("failed", "no_such_iccid", {}))
    with pytest.raises(PeerError, match="bad_result"):
        bodies.join_result(part.digest, [part.data + b"\x00"])
    whole = cbor2.dumps({1: "nothing", 2: "", 3: {}})
    with pytest.raises(PeerError, match="bad_result"):
        bodies.join_result(bodies.result_digest(whole), [whole])
