"""Makes the golden vectors of the UDP protocol from fixed randomness; ``write`` puts them where they lie.

The files are what counts: a test compares, so that a change of the wire shows as a change of the files.
``PYTHONPATH=tests/support python -c "from simway_testing.udp_vectors import write; write()"``
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from simway_protocol import commands, vectors
from simway_protocol.identity import derive_command_key, derive_device_key
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.udp import bodies, frames, keys
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.events import Challenged, CommandArrived, CommandProgress, DataReceived
from simway_protocol.udp.frames import Type
from simway_protocol.udp.server import ServerEndpoint

MASTER = bytes(range(32))
DEVICE = "demo"
T0_US = 1_790_000_000_000_000
EPOCH = "00112233445566ff"
COMMAND_ID = bytes.fromhex("c0" * 15 + "01")
ICCID, TARGET = "89490000000000000012", "89460000000000000023"
CLIENT_ADDRESS = ("192.0.2.7", 6002)
SESSION_ID = bytes.fromhex("0102030405060708")
UP_KEY, DOWN_KEY = bytes(range(16)), bytes(range(16, 32))


def stream(label: str) -> Callable[[int], bytes]:
    """Fixed "randomness": the n-th draw is the head of SHA-256(label, n), repeated as often as it takes."""
    numbers = iter(range(10**9))

    def draw(length: int) -> bytes:
        block = hashlib.sha256(f"{label} {next(numbers)}".encode()).digest()
        return (block * (length // 32 + 1))[:length]

    return draw


def diagnostic(value: Any) -> str:
    """CBOR diagnostic notation (RFC 8949, 8)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{diagnostic(key)}: {diagnostic(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(diagnostic, value)) + "]"
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    return json.dumps(value, ensure_ascii=False)


# --- keys ----------------------------------------------------------------------------------------------------------------------


def make_keys() -> dict[str, Any]:
    return {
        "about": "The key schedule (docs/protocol.md, Keys). secret = session_key, x25519 secret; bytes are hexadecimal.",
        "cases": [_key_case(number) for number in range(3)],
    }


def _key_case(number: int) -> dict[str, Any]:
    draw = stream(f"keys {number}")
    device_key, challenge, attach_hash = draw(32), draw(32), draw(32)
    client_private, server_private, session_id = draw(32), draw(32), draw(8)
    response, session_key = keys.card_response(device_key, challenge)
    server_share = keys.share_public(server_private)
    shared = keys.shared_secret(client_private, server_share)
    secret = session_key + shared
    traffic = keys.traffic_keys(secret, session_id, attach_hash)
    named = {
        "device_key": device_key, "challenge": challenge, "response": response, "session_key": session_key,
        "client_private": client_private, "client_share": keys.share_public(client_private), "server_private": server_private,
        "server_share": server_share, "x25519_secret": shared, "attach_key": keys.attach_key(secret, challenge),
        "session_id": session_id, "attached_key": keys.attached_key(secret, challenge, session_id), "attach_hash": attach_hash,
        "server_proof": keys.server_proof(session_key, session_id, attach_hash), "up_key": traffic.up, "down_key": traffic.down,
    }  # fmt: skip
    return {name: value.hex() for name, value in named.items()}


# --- commands ------------------------------------------------------------------------------------------------------------------


def command_bodies() -> dict[str, commands.Body]:
    far_us = T0_US + 600_000_000
    switch = commands.Body(
        commands.BodyType.COMMAND, DEVICE, COMMAND_ID, 5, 1, far_us, commands.Kind.SWITCH, TARGET,
        (bytes.fromhex("bf3111a00c5a0a98640000000000000032810100"),), 0, 600,
    )  # fmt: skip
    return {
        "switch": switch,
        "cancel of the switch": switch._replace(type=commands.BodyType.CANCEL, apdus=()),
        "confirm of the switch": switch._replace(type=commands.BodyType.CONFIRM, apdus=()),
        "ping": switch._replace(command_id=bytes(15) + b"\x02", kind=commands.Kind.PING, target_iccid="", apdus=()),
        "audit": switch._replace(command_id=bytes(15) + b"\x03", kind=commands.Kind.AUDIT, target_iccid="", apdus=()),
        "switch by force": switch._replace(command_id=bytes(15) + b"\x04", flags=commands.FLAG_FORCE),
    }


def make_commands() -> dict[str, Any]:
    device_key = derive_device_key(MASTER, DEVICE, 1)
    cases = []
    for name, body in command_bodies().items():
        data = commands.encode_body(body)
        cases.append({
            "name": name, "fields": [field.hex() if isinstance(field, bytes) else _plain(field) for field in body],
            "body": data.hex(), "mac": commands.command_mac(device_key, data).hex(),
        })  # fmt: skip
    return {
        "about": "Bodies and their MACs: HMAC-SHA-256(command key, 'simway command' 00 body). fields: keys 1 to 11 in order.",
        "device_key": device_key.hex(), "command_key": derive_command_key(device_key).hex(), "cases": cases,
    }  # fmt: skip


def _plain(field: Any) -> Any:
    return [item.hex() for item in field] if isinstance(field, tuple) else field


# --- one frame of each type ----------------------------------------------------------------------------------------------------


def _frame_bodies() -> Iterator[tuple[str, Type, str, dict[int, Any]]]:
    """Name, type, way, body of the sealed frames of a session."""
    switch = commands.encode_body(command_bodies()["switch"])
    sealed = bodies.encode_sealed(
        bodies.Sealed(COMMAND_ID, switch, commands.command_mac(derive_device_key(MASTER, DEVICE, 1), switch))
    )
    epoch = bytes.fromhex(EPOCH)
    record = {-3: 1_790_000_000.25, 0: "cpu.load", 2: 12.5, 1: "%"}
    parts = bodies.split_result(COMMAND_ID, bodies.Result("executed", "", {"log": bytes(1_500), "iccid_after": TARGET}))
    yield "DATA: one reading", Type.DATA, "up", {1: epoch, 2: 1, 3: [record]}
    yield "DATA: each kind of value", Type.DATA, "up", {1: epoch, 2: 2, 3: [
        {-3: 1_790_000_001, 0: "count", 2: -3}, {0: "door", 4: False, 6: 1.5}, {0: "state", 3: "grün", 6: 2},
        {0: "position", "vo": {"lat": 52.5, "lon": 13.25}, 6: 3},
    ]}  # fmt: skip
    yield "DATA: dropped ranges alone", Type.DATA, "up", {1: epoch, 2: 1, 3: [], 4: [[6, 9], [12, 12]]}
    settled = [(COMMAND_ID, parts[0].digest)], [(COMMAND_ID, "closed")]
    every = bodies.Ack(EPOCH, [(1, 3), (5, 6)], [(4, 4, "too_old")], [(7, 9)], 3_000, *settled)
    yield "ACK: every outcome", Type.ACK, "down", bodies.encode_ack(every)
    yield "ACK: only a settled result", Type.ACK, "down", {6: [[COMMAND_ID, parts[0].digest]]}
    yield "COMMAND", Type.COMMAND, "down", sealed
    yield "RECEIPT", Type.RECEIPT, "up", {1: COMMAND_ID, 2: 5}
    yield "CANCEL", Type.CANCEL, "down", sealed
    for part in parts:
        yield f"RESULT: part {part.part} of {part.parts}", Type.RESULT, "up", bodies.encode_result_part(part)
    yield "CONFIRM", Type.CONFIRM, "down", sealed
    yield "CLOSED", Type.CLOSED, "up", {1: COMMAND_ID, 2: "closed"}
    yield "PING", Type.PING, "up", {1: bytes(range(8))}
    yield "PONG", Type.PONG, "down", {1: bytes(range(8))}


def make_frames() -> dict[str, Any]:
    cases = [_sealed_case(counter, *case) for counter, case in enumerate(_frame_bodies(), 1)]
    clear = [
        ("BUSY", Type.BUSY, {1: bytes(range(16)), 2: 3_000}, frames.NO_SESSION, 0),
        ("RESET: unknown session", Type.RESET, {1: 1}, SESSION_ID, 9),
        ("RESET: to an ATTACH", Type.RESET, {1: 2, 2: bytes(range(16))}, frames.NO_SESSION, 1),
    ]
    cases += [
        _case(name, type_, session_id, counter, items, frames.encode_clear(type_, items, session_id, counter))
        for name, type_, items, session_id, counter in clear
    ]
    cases += [_transcript_case(frame) for frame in make_attach()["frames"] if frame["type"] in _HANDSHAKE]
    return {
        "about": "Frames of each type. key: of AES-128-GCM, where the frame is sealed. HELLO, CHALLENGE, ATTACH and ATTACHED are "
        "those of udp_attach.json.",
        "cases": cases,
    }


_HANDSHAKE = ("HELLO", "CHALLENGE", "ATTACH", "ATTACHED")


def _sealed_case(counter: int, name: str, type_: Type, way: str, items: dict[int, Any]) -> dict[str, Any]:
    key, prefix = (UP_KEY, keys.UP_NONCE_PREFIX) if way == "up" else (DOWN_KEY, keys.DOWN_NONCE_PREFIX)
    frame = frames.seal(AESGCM(key), prefix, frames.pack_header(type_, SESSION_ID, counter), frames.encode_body(items))
    case = _case(name, type_, SESSION_ID, counter, items, frame)
    return case | {"way": way, "key": key.hex(), "nonce": (prefix + counter.to_bytes(8, "big")).hex()}


def _case(name: str, type_: Type, session_id: bytes, counter: int, items: dict[int, Any], frame: bytes) -> dict[str, Any]:
    body = frames.encode_body(items)
    return {
        "name": name, "type": type_.name, "session_id": session_id.hex(), "counter": counter,
        "diagnostic": diagnostic(frames.decode_body(body)), "body": body.hex(), "frame": frame.hex(),
    }  # fmt: skip


def _transcript_case(frame: dict[str, Any]) -> dict[str, Any]:
    return {"name": frame["type"], **{name: frame[name] for name in frame if name not in ("from", "t_us")}}


# --- a whole session -----------------------------------------------------------------------------------------------------------


class _Recorder:
    """Two endpoints with fixed randomness, 10 ms apart; every datagram written down with what is inside."""

    def __init__(self) -> None:
        self.device_key = derive_device_key(MASTER, DEVICE, 1)
        self.period = CookiePeriod(T0_US, stream("cookie key")(32), stream("share private")(32))
        self.client = ClientEndpoint(device=DEVICE, key_version=1, random=stream("client"))
        self.server = ServerEndpoint(
            worker_index=0, device_key=lambda device, version: derive_device_key(MASTER, device, version),
            check_device=lambda device, version: None, random=stream("server"),
        )  # fmt: skip
        self.server.set_cookie_periods([self.period])
        self.now_us = T0_US
        self.frames: list[dict[str, Any]] = []
        self.values: dict[str, Any] = {}
        self.confirmed = False

    def turn(self) -> bool:
        """What both have to send crosses; False when that was nothing."""
        up = self.client.take_output(self.now_us)
        down = [datagram for datagram, _ in self.server.take_output(self.now_us)]
        for sender, datagram in [*(("client", frame) for frame in up), *(("server", frame) for frame in down)]:
            self.write(sender, datagram)
        self.now_us += 10_000
        for datagram in up:
            self.serve(self.server.receive(datagram, CLIENT_ADDRESS, self.now_us))
        for datagram in down:
            self.use(self.client.receive(datagram, self.now_us))
        return bool(up or down)

    def settle(self) -> None:
        while self.turn():
            pass

    def use(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Challenged):
                answer = keys.card_response(self.device_key, event.challenge)
                self.values |= {"challenge": event.challenge, "response": answer.response, "session_key": answer.session_key}
                self.client.answer(*answer, self.now_us)
            elif isinstance(event, CommandArrived):
                body = commands.decode_body(event.body)
                if body.type is commands.BodyType.COMMAND:
                    self.client.send_receipt(body.command_id, body.counter, self.now_us)
                    evidence = {"iccid_before": ICCID, "iccid_after": TARGET, "proof": "card-only"}
                    self.client.send_result(body.command_id, "executed", "", evidence, self.now_us)
                else:
                    self.client.send_closed(body.command_id, "closed", self.now_us)

    def serve(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                last = event.first_seq + len(event.records) - 1
                self.server.acknowledge(event.session_id, event.epoch, event.first_seq, last, Outcome.LOGGED)
            elif isinstance(event, CommandProgress) and event.event in ("result", "closed"):
                self.server.settle(event.session_id, event.command_id, event.event)

    def send_down(self, name: str) -> None:
        body = commands.encode_body(command_bodies()[name])
        kind = "confirm" if name.startswith("confirm") else "command"
        self.server.submit(DEVICE, COMMAND_ID, kind, body, commands.command_mac(self.device_key, body), T0_US + 600_000_000)

    # --- what is inside --------------------------------------------------------------------------------------------------------

    def write(self, sender: str, datagram: bytes) -> None:
        header = frames.parse_header(datagram)
        up = sender == "client"
        entry: dict[str, Any] = {"from": sender, "t_us": self.now_us - T0_US}
        key, start = self._key_of(header, datagram, up)
        if key:
            prefix = keys.UP_NONCE_PREFIX if up else keys.DOWN_NONCE_PREFIX
            body = frames.decode_body(frames.unseal(AESGCM(key), prefix, datagram, start))
        else:
            body = frames.decode_clear(datagram)
        case = _case("", header.type, header.session_id, header.counter, body, datagram)
        del case["name"]
        if key:
            case |= {"way": "up" if up else "down", "key": key.hex(), "nonce": (prefix + datagram[9:17]).hex()}
        self.frames.append(entry | case)

    def _key_of(self, header: frames.Header, datagram: bytes, up: bool) -> tuple[bytes, int]:
        values = self.values
        if header.type is Type.HELLO:
            values["hello_hash"] = keys.hello_hash(datagram)
            return b"", 0
        if header.type is Type.CHALLENGE:
            server_share = bodies.decode_challenge(frames.decode_clear(datagram)).share
            values["x25519_secret"] = keys.shared_secret(bytes.fromhex(self.draws()["client_private"]), server_share)
            return b"", 0
        secret = values["session_key"] + values["x25519_secret"]
        if header.type is Type.ATTACH:
            values["attach_hash"] = keys.next_hash(values["challenge"], datagram)
            values["attach_key"] = keys.attach_key(secret, values["challenge"])
            return values["attach_key"], frames.split_attach(datagram)[1]
        if header.type is Type.ATTACHED:
            values["session_id"] = header.session_id
            values["attached_key"] = keys.attached_key(secret, values["challenge"], header.session_id)
            traffic = keys.traffic_keys(secret, header.session_id, values["attach_hash"])
            values |= {"up_key": traffic.up, "down_key": traffic.down}
            return values["attached_key"], frames.HEADER_BYTES
        return values["up_key" if up else "down_key"], frames.HEADER_BYTES

    @staticmethod
    def draws() -> dict[str, str]:
        """The fixed randomness, in the order in which each end drew it."""
        client, server = stream("client"), stream("server")
        named = {
            "client_nonce": client(16), "client_private": client(32), "first_ping_nonce": client(8),
            "server_nonce": server(16), "cookie_iv": server(12), "session_id": server(8),
        }  # fmt: skip
        return {name: value.hex() for name, value in named.items()}


def make_attach() -> dict[str, Any]:
    recorder = _Recorder()
    recorder.client.attach(iccid=ICCID, boot_counter=3, epoch=EPOCH, last_counter=4, now_us=T0_US)
    recorder.settle()
    recorder.client.send_data(
        1, [Reading("cpu.load", T0_US - 500_000, 12.5, "%"), Reading("door", T0_US, False)], [], recorder.now_us
    )
    recorder.settle()
    recorder.send_down("switch")
    recorder.settle()
    recorder.send_down("confirm of the switch")
    recorder.settle()
    return {
        "about": "A session from HELLO to CLOSED with fixed randomness: attach, PING, two readings, a command, its confirmation. "
        "t_us: when the frame was sent, since start_us. The server's share and cookie come from its cookie period; a cookie is "
        "opaque to clients.",
        "device": DEVICE, "key_version": 1, "device_key": recorder.device_key.hex(), "start_us": T0_US,
        "client_address": list(CLIENT_ADDRESS), "cookie_key": recorder.period.cookie_key.hex(),
        "server_private": recorder.period.share_private.hex(), "random": recorder.draws(),
        "attach": {"iccid": ICCID, "boot_counter": 3, "epoch": EPOCH, "last_counter": 4},
        "values": {name: value.hex() for name, value in recorder.values.items()},
        "frames": recorder.frames,
    }  # fmt: skip


# --- files ---------------------------------------------------------------------------------------------------------------------

FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "udp_keys": make_keys, "udp_commands": make_commands, "udp_frames": make_frames, "udp_attach": make_attach,
}  # fmt: skip


def write() -> None:
    """Writes every file anew."""
    directory = Path(str(vectors.__file__)).parent
    for name, make in FILES.items():
        (directory / f"{name}.json").write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n")
