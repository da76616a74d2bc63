"""What the bodies hold: one class a frame, its CBOR keys, and the checks (docs/protocol.md, "Bodies").

``encode_*`` gives the map, ``decode_*`` the value or ``PeerError`` (bad_body). Unknown keys are read past, so that a later
version may add some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from simway_protocol.commands import COMMAND_ID_BYTES, ResultOutcome
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.identity import MAC_BYTES, is_device_id
from simway_protocol.limits import RANGES_MAX_PER_FRAME
from simway_protocol.messages import Range, RejectedRange
from simway_protocol.udp.frames import NONCE_BYTES, SHARE_BYTES, decode_body, encode_body

EPOCH_BYTES = 8
ICCID_MAX_CHARS = 32
PING_NONCE_BYTES = 8
DIGEST_BYTES = 8
RESULT_PART_BYTES = 1_024
RESULT_PARTS_MAX = 64
NUMBER_MAX = 2**63 - 1
REASON_MAX_CHARS = 32
"""A rejection's reason in ACK; longer is cut."""


def _bad(name: str) -> PeerError:
    return PeerError("bad_body", f"{name} is missing or has the wrong shape")


def _number(body: Mapping[Any, Any], key: int, name: str, least: int = 0, most: int = NUMBER_MAX) -> int:
    value = body.get(key)
    if type(value) is int and least <= value <= most:
        return value
    raise _bad(name)


def _bytes(body: Mapping[Any, Any], key: int, name: str, length: int) -> bytes:
    value = body.get(key)
    if type(value) is bytes and len(value) == length:
        return value
    raise _bad(name)


def _text(body: Mapping[Any, Any], key: int, name: str, most: int) -> str:
    value = body.get(key)
    if type(value) is str and len(value) <= most:
        return value
    raise _bad(name)


# --- handshake ---------------------------------------------------------------------------------------------------------------


class Hello(NamedTuple):
    """``nonce``: 16 bytes; ``share``: X25519 public, 32 bytes."""

    device: str
    key_version: int
    nonce: bytes
    share: bytes


def encode_hello(hello: Hello, padding: int) -> dict[int, Any]:
    """Keys 1 to 4, and in 5 ``padding`` zero bytes."""
    return {1: hello.device, 2: hello.key_version, 3: hello.nonce, 4: hello.share, 5: bytes(padding)}


def decode_hello(body: Mapping[Any, Any]) -> Hello:
    """The HELLO in a body."""
    device = body.get(1)
    if not is_device_id(device):
        raise _bad("device")
    return Hello(
        str(device), _number(body, 2, "key version", 1, 2**32 - 1), _bytes(body, 3, "nonce", NONCE_BYTES),
        _bytes(body, 4, "share", SHARE_BYTES),
    )  # fmt: skip


class Challenge(NamedTuple):
    """``client_nonce`` as in HELLO; ``server_nonce``: 16 bytes; ``share``: 32 bytes; ``cookie``: opaque."""

    client_nonce: bytes
    server_nonce: bytes
    share: bytes
    cookie: bytes


def encode_challenge(challenge: Challenge) -> dict[int, Any]:
    """Keys 1 to 4."""
    return dict(enumerate(challenge, 1))


def decode_challenge(body: Mapping[Any, Any]) -> Challenge:
    """The CHALLENGE in a body."""
    cookie = body.get(4)
    if type(cookie) is not bytes or not cookie:
        raise _bad("cookie")
    nonces = _bytes(body, 1, "client nonce", NONCE_BYTES), _bytes(body, 2, "server nonce", NONCE_BYTES)
    return Challenge(*nonces, _bytes(body, 3, "share", SHARE_BYTES), cookie)


class Attach(NamedTuple):
    """``response``: 32 bytes; ``epoch``: 16 hex digits (8 bytes on the wire); ``last_counter``: of the last accepted command."""

    response: bytes
    iccid: str
    boot_counter: int
    epoch: str
    last_counter: int


def encode_attach(attach: Attach) -> dict[int, Any]:
    """Keys 1 to 5."""
    return {
        1: attach.response, 2: attach.iccid, 3: attach.boot_counter, 4: bytes.fromhex(attach.epoch), 5: attach.last_counter,
    }  # fmt: skip


def decode_attach(body: Mapping[Any, Any]) -> Attach:
    """The ATTACH in a body. The ICCID is at most 32 characters of ASCII letters and digits, or empty."""
    iccid = _text(body, 2, "ICCID", ICCID_MAX_CHARS)
    if iccid and not (iccid.isascii() and iccid.isalnum()):
        raise _bad("ICCID")
    return Attach(
        _bytes(body, 1, "response", MAC_BYTES), iccid, _number(body, 3, "boot counter"),
        _bytes(body, 4, "epoch", EPOCH_BYTES).hex(), _number(body, 5, "last counter"),
    )  # fmt: skip


class Attached(NamedTuple):
    """``reason`` is empty when attached; else refused, and ``retry_after_ms`` says when to try again."""

    proof: bytes
    generation: int
    server_time_us: int
    reason: str = ""
    retry_after_ms: int = 0
    idle_timeout_ms: int = 0


def encode_attached(attached: Attached) -> dict[int, Any]:
    """Keys 1 (0 attached, 1 refused), 2 proof, 3 generation, 4 time, 5 reason, 6 retry after, 7 idle timeout."""
    if attached.reason:
        return {1: 1, 2: attached.proof, 4: attached.server_time_us, 5: attached.reason, 6: attached.retry_after_ms}
    return {1: 0, 2: attached.proof, 3: attached.generation, 4: attached.server_time_us, 7: attached.idle_timeout_ms}


def decode_attached(body: Mapping[Any, Any]) -> Attached:
    """The ATTACHED in a body."""
    proof, time_us = _bytes(body, 2, "proof", MAC_BYTES), _number(body, 4, "server time")
    if _number(body, 1, "status", 0, 1):
        return Attached(proof, 0, time_us, _text(body, 5, "reason", 64) or "refused", _number(body, 6, "retry after"))
    return Attached(proof, _number(body, 3, "generation"), time_us, idle_timeout_ms=_number(body, 7, "idle timeout"))


# --- readings ----------------------------------------------------------------------------------------------------------------


def decode_ranges(value: Any, most: int = RANGES_MAX_PER_FRAME) -> list[Range]:
    """A list of [first, last]; ``PeerError`` when it is not one."""
    if type(value) is not list or len(value) > most:
        raise _bad("ranges")
    ranges: list[Range] = []
    for item in value:
        if type(item) is not list or len(item) != 2:
            raise _bad("range")
        first, last = item
        if type(first) is not int or type(last) is not int or not 1 <= first <= last <= NUMBER_MAX:
            raise _bad("range")
        ranges.append((first, last))
    return ranges


class Ack(NamedTuple):
    """``epoch`` is empty where there are no ranges. ``results``: (command id, digest); ``closed``: (command id, outcome)."""

    epoch: str
    logged: list[Range]
    rejected: list[RejectedRange]
    later: list[Range]
    later_ms: int
    results: list[tuple[bytes, bytes]]
    closed: list[tuple[bytes, str]]

    @property
    def ranges(self) -> int:
        """How many ranges it holds."""
        return len(self.logged) + len(self.rejected) + len(self.later)


def encode_ack(ack: Ack) -> dict[int, Any]:
    """Keys 1 epoch, 2 logged, 3 rejected, 4 later, 5 later ms, 6 results settled, 7 closed settled; what is empty is left out."""
    items = {
        1: bytes.fromhex(ack.epoch), 2: ack.logged, 3: ack.rejected, 4: ack.later, 5: ack.later_ms, 6: ack.results, 7: ack.closed,
    }  # fmt: skip
    return {key: value for key, value in items.items() if value}


def decode_ack(body: Mapping[Any, Any]) -> Ack:
    """The ACK in a body."""
    epoch = _bytes(body, 1, "epoch", EPOCH_BYTES).hex() if 1 in body else ""
    rejected: list[RejectedRange] = []
    for item in _items(body, 3, 3):
        (pair,) = decode_ranges([item[:2]])
        rejected.append((*pair, _text({0: item[2]}, 0, "reason", REASON_MAX_CHARS)))
    return Ack(
        epoch, decode_ranges(body.get(2, [])), rejected, decode_ranges(body.get(4, [])),
        _number(body, 5, "later ms") if 5 in body else 0,
        [(_command_id(item[0]), _bytes({0: item[1]}, 0, "digest", DIGEST_BYTES)) for item in _items(body, 6, 2)],
        [(_command_id(item[0]), _text({0: item[1]}, 0, "outcome", 16)) for item in _items(body, 7, 2)],
    )  # fmt: skip


def _items(body: Mapping[Any, Any], key: int, length: int) -> list[Any]:
    items = body.get(key, [])
    if type(items) is not list or not all(type(item) is list and len(item) == length for item in items):
        raise _bad(f"list {key}")
    return items


# --- commands ----------------------------------------------------------------------------------------------------------------


def _command_id(value: Any) -> bytes:
    if type(value) is bytes and len(value) == COMMAND_ID_BYTES:
        return value
    raise _bad("command id")


class Sealed(NamedTuple):
    """COMMAND, CANCEL, CONFIRM: the dispatcher's body with its MAC, as they are."""

    command_id: bytes
    body: bytes
    mac: bytes


def encode_sealed(sealed: Sealed) -> dict[int, Any]:
    """Keys 1 command id, 2 body, 3 MAC."""
    return dict(enumerate(sealed, 1))


def decode_sealed(body: Mapping[Any, Any]) -> Sealed:
    """What COMMAND, CANCEL and CONFIRM hold. The inner body is not looked into."""
    inner = body.get(2)
    if type(inner) is not bytes:
        raise _bad("body")
    return Sealed(_command_id(body.get(1)), inner, _bytes(body, 3, "MAC", MAC_BYTES))


def decode_receipt(body: Mapping[Any, Any]) -> tuple[bytes, int]:
    """Command id (key 1) and the counter of the body that the device took (key 2)."""
    return _command_id(body.get(1)), _number(body, 2, "counter")


def decode_closed(body: Mapping[Any, Any]) -> tuple[bytes, str]:
    """Command id (key 1) and outcome (key 2)."""
    return _command_id(body.get(1)), _outcome(body.get(2))


def decode_nonce(body: Mapping[Any, Any]) -> bytes:
    """The nonce (key 1) of PING and PONG, 8 bytes."""
    return _bytes(body, 1, "nonce", PING_NONCE_BYTES)


def _outcome(value: Any) -> str:
    try:
        return ResultOutcome(value).value
    except ValueError:
        raise _bad("outcome") from None


class ResultPart(NamedTuple):
    """One part of a RESULT: ``part`` (from 0) of ``parts``. ``digest``: the first 8 bytes of the whole's SHA-256."""

    command_id: bytes
    digest: bytes
    part: int
    parts: int
    data: bytes


class Result(NamedTuple):
    """A RESULT whole."""

    outcome: str
    reason: str
    evidence: dict[str, Any]


def split_result(command_id: bytes, result: Result) -> list[ResultPart]:
    """The parts of a result, 1,024 bytes each but the last; ``LocalError`` when it is over 64 parts or holds what CBOR lacks."""
    try:
        whole = encode_body({1: result.outcome, 2: result.reason, 3: result.evidence})
        check_evidence(result.evidence)
    except Exception as error:
        raise LocalError("the evidence holds what a RESULT cannot carry") from error
    pieces = [whole[at : at + RESULT_PART_BYTES] for at in range(0, len(whole), RESULT_PART_BYTES)]
    if len(pieces) > RESULT_PARTS_MAX:
        raise LocalError(f"a RESULT of {len(whole)} bytes: {RESULT_PARTS_MAX * RESULT_PART_BYTES} is the most")
    digest = result_digest(whole)
    return [ResultPart(command_id, digest, index, len(pieces), piece) for index, piece in enumerate(pieces)]


def result_digest(whole: bytes) -> bytes:
    """The first 8 bytes of SHA-256."""
    return hashlib.sha256(whole).digest()[:DIGEST_BYTES]


def encode_result_part(part: ResultPart) -> dict[int, Any]:
    """Keys 1 command id, 2 digest, 3 part, 4 parts, 5 data."""
    return dict(enumerate(part, 1))


def decode_result_part(body: Mapping[Any, Any]) -> ResultPart:
    """The part in a body."""
    count = _number(body, 4, "count", 1, RESULT_PARTS_MAX)
    data = body.get(5)
    if type(data) is not bytes or not 0 < len(data) <= RESULT_PART_BYTES:
        raise _bad("data")
    digest = _bytes(body, 2, "digest", DIGEST_BYTES)
    return ResultPart(_command_id(body.get(1)), digest, _number(body, 3, "index", 0, count - 1), count, data)


def join_result(digest: bytes, pieces: list[bytes]) -> Result:
    """The result whole; ``PeerError`` (bad_result) when it is not what the digest says or no result."""
    whole = b"".join(pieces)
    if result_digest(whole) != digest:
        raise PeerError("bad_result", "the parts do not make what their digest says")
    try:
        body = decode_body(whole, is_large=True)
        evidence = body.get(3)
        check_evidence(evidence)
        return Result(_outcome(body.get(1)), _text(body, 2, "reason", 256), evidence)  # type: ignore[arg-type]
    except PeerError as error:
        raise PeerError("bad_result", error.detail) from None


EVIDENCE_MAX_DEPTH = 16


def check_evidence(value: Any) -> None:
    """``PeerError`` unless ``value`` is a map with text keys of text without NUL, int64, finite float, bool, null, bytes, lists
    and such maps.
    """
    if type(value) is not dict:
        raise _bad("evidence")
    _check_item(value, EVIDENCE_MAX_DEPTH)


def _check_item(value: Any, depth: int) -> None:
    kind = type(value)
    if depth and kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise _bad("evidence")
            _check_item(key, depth)
            _check_item(item, depth - 1)
    elif depth and kind in (list, tuple):
        for item in value:
            _check_item(item, depth - 1)
    elif not _is_scalar(value):
        raise _bad("evidence")


def _is_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return "\x00" not in value
    if kind is int:
        return bool(-NUMBER_MAX - 1 <= value <= NUMBER_MAX)
    if kind is float:
        return isfinite(value)
    return value is None or kind in (bool, bytes)
