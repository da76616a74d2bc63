"""The golden vectors of the UDP protocol: both ways, cut at each byte, with trailing bytes, and against plain HMAC."""

import hashlib
import hmac
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from simway_protocol import commands, vectors
from simway_protocol.errors import PeerError
from simway_protocol.udp import bodies, frames
from simway_protocol.udp.events import Refused
from simway_protocol.udp.frames import Type
from simway_testing import udp_vectors

KEYS = vectors.load("udp_keys")["cases"]
COMMANDS = vectors.load("udp_commands")
FRAMES = vectors.load("udp_frames")["cases"]
ATTACH = vectors.load("udp_attach")


@pytest.mark.parametrize("name", udp_vectors.FILES)
def test_the_files_are_what_the_code_makes(name):
    assert vectors.load(name) == udp_vectors.FILES[name]()


# --- keys ----------------------------------------------------------------------------------------------------------------------


def hkdf(key, info, length, salt):
    """RFC 5869 with SHA-256 and at most one block of output."""
    return hmac.digest(hmac.digest(salt, key, hashlib.sha256), info + b"\x01", hashlib.sha256)[:length]


@pytest.mark.parametrize("case", KEYS, ids=range(len(KEYS)))
def test_keys_by_plain_hmac(case):
    value = SimpleNamespace(**{name: bytes.fromhex(text) for name, text in case.items()})
    assert hmac.digest(value.device_key, b"simway response\x00" + value.challenge, "sha256") == value.response
    assert hmac.digest(value.device_key, b"simway session\x00" + value.challenge, "sha256") == value.session_key
    secret = value.session_key + value.x25519_secret
    assert hkdf(secret, b"simway attach", 16, value.challenge) == value.attach_key
    assert hkdf(secret, b"simway attached", 16, value.challenge + value.session_id) == value.attached_key
    both = hkdf(secret, b"simway traffic", 32, value.session_id + value.attach_hash)
    assert (both[:16], both[16:]) == (value.up_key, value.down_key)
    proof = hmac.digest(value.session_key, b"simway server\x00" + value.session_id + value.attach_hash, "sha256")
    assert proof == value.server_proof


@pytest.mark.parametrize("case", COMMANDS["cases"], ids=lambda case: case["name"])
def test_commands_and_their_macs(case):
    body, mac = bytes.fromhex(case["body"]), bytes.fromhex(case["mac"])
    assert commands.encode_body(commands.decode_body(body)) == body
    assert hmac.digest(bytes.fromhex(COMMANDS["command_key"]), b"simway command\x00" + body, "sha256") == mac
    device_key = bytes.fromhex(COMMANDS["device_key"])
    assert commands.verify_command(device_key, body, mac)
    for end in range(len(body)):
        assert not commands.verify_command(device_key, body[:end], mac)
        with pytest.raises(PeerError, match="bad_command"):
            commands.decode_body(body[:end])
    assert not commands.verify_command(device_key, body + b"\x00", mac)


# --- frames --------------------------------------------------------------------------------------------------------------------


def open_frame(case, frame):
    """The plaintext of a frame of the vectors."""
    if "key" not in case:
        return frames.encode_body(frames.decode_clear(frame))
    start = frames.split_attach(frame)[1] if case["type"] == "ATTACH" else frames.HEADER_BYTES
    return frames.unseal(AESGCM(bytes.fromhex(case["key"])), bytes.fromhex(case["nonce"])[:4], frame, start)


def test_every_type_has_a_vector():
    assert {case["type"] for case in FRAMES} == {type_.name for type_ in Type}


@pytest.mark.parametrize("case", FRAMES + ATTACH["frames"], ids=lambda case: f"{case.get('name', case['type'])}")
def test_a_frame_goes_both_ways(case):
    frame, body = bytes.fromhex(case["frame"]), bytes.fromhex(case["body"])
    header = frames.parse_header(frame)
    assert (header.type.name, header.session_id.hex(), header.counter) == (case["type"], case["session_id"], case["counter"])
    assert open_frame(case, frame) == body
    items = frames.decode_body(body)
    assert frames.encode_body(items) == body
    assert udp_vectors.diagnostic(items) == case["diagnostic"]
    if "key" not in case:
        assert frames.encode_clear(header.type, items, header.session_id, header.counter) == frame
        return
    between = frames.pack_cookie(frames.split_attach(frame)[0]) if case["type"] == "ATTACH" else b""
    aead, nonce = AESGCM(bytes.fromhex(case["key"])), bytes.fromhex(case["nonce"])
    assert frames.seal(aead, nonce[:4], frame[:17], body, between) == frame


@pytest.mark.parametrize("case", FRAMES, ids=lambda case: case["name"])
def test_a_frame_cut_or_lengthened_is_refused(case):
    frame = bytes.fromhex(case["frame"])
    for wrong in [*(frame[:end] for end in range(17, len(frame))), frame + b"\x00", frame + frame]:
        with pytest.raises(PeerError):
            open_frame(case, wrong)


def test_the_result_of_the_vectors_is_whole():
    parts = [
        bodies.decode_result_part(frames.decode_body(bytes.fromhex(case["body"]))) for case in FRAMES if case["type"] == "RESULT"
    ]
    first = [part for part in parts if part.digest == parts[0].digest]
    assert bodies.join_result(first[0].digest, [part.data for part in first]).outcome == "executed"


# --- the session ---------------------------------------------------------------------------------------------------------------


def test_a_server_answers_the_recorded_client_byte_for_byte():
    """Each of its datagrams arrives cut at every byte, and lengthened, before it arrives whole."""
    recorder = udp_vectors._Recorder()
    now_us = recorder.now_us
    sent = []
    for frame in ATTACH["frames"]:
        now_us = ATTACH["start_us"] + frame["t_us"]
        if frame["type"] in ("COMMAND", "CONFIRM"):
            recorder.send_down({"COMMAND": "switch", "CONFIRM": "confirm of the switch"}[frame["type"]])
            recorder.server.tick(now_us)
        if frame["from"] == "server":
            sent += [datagram.hex() for datagram, _ in recorder.server.take_output(now_us)]
            continue
        whole = bytes.fromhex(frame["frame"])
        for wrong in [*(whole[:end] for end in range(len(whole))), whole + b"\x00"]:
            events = recorder.server.receive(wrong, udp_vectors.CLIENT_ADDRESS, now_us + 10_000)
            assert [type(event) for event in events] == [Refused]
        assert all(len(answer) < len(whole) for answer, _ in recorder.server.take_output(now_us))
        recorder.serve(recorder.server.receive(whole, udp_vectors.CLIENT_ADDRESS, now_us + 10_000))
    assert sent == [frame["frame"] for frame in ATTACH["frames"] if frame["from"] == "server"]


def test_a_client_shrugs_at_cut_and_lengthened_answers():
    recorder = udp_vectors._Recorder()
    wish = ATTACH["attach"]
    recorder.client.attach(**wish, now_us=recorder.now_us)
    for frame in ATTACH["frames"]:
        now_us = ATTACH["start_us"] + frame["t_us"] + 10_000
        if frame["type"] == "DATA":
            break
        recorder.now_us = now_us
        if frame["from"] == "client":
            assert [datagram.hex() for datagram in recorder.client.take_output(now_us - 10_000)] == [frame["frame"]]
            continue
        whole = bytes.fromhex(frame["frame"])
        for wrong in [*(whole[:end] for end in range(len(whole))), whole + b"\x00"]:
            assert [type(event) for event in recorder.client.receive(wrong, now_us)] == [Refused]
        recorder.use(recorder.client.receive(whole, now_us))
    assert recorder.client.attached
    assert recorder.client.rtt_us == 20_000
