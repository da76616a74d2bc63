"""Write rights, judged without a store."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.rights import Refusal, Right, WriterKey, canonical, is_signed, judge

KEY, OTHER = WriterKey.make(), WriterKey.make()
NOW_US = 1_795_312_800_000_000
FIELDS = [name for name in Right.__struct_fields__ if name != "signature"]


def right(key: WriterKey = KEY, **more: Any) -> Right:
    given: dict[str, Any] = {
        "log_id": "sqlite:00/uplink", "topic": "uplink", "partition": 3, "number": 7, "writer": key.writer,
        "granted_us": NOW_US - 1, "expires_us": NOW_US + 1, "signature": "",
    }  # fmt: skip
    return key.sign(Right(**given | more))


def verdict(shown: Right, current: Right | None = None, **more: Any) -> Refusal | None:
    given: dict[str, Any] = {"public_key": KEY.public_key, "current": current or right(), "partition": None, "writer": None}
    return judge(shown, now_us=NOW_US, **given | more)


def test_what_is_signed_is_the_rest_as_canonical_json() -> None:
    shown = right()
    text = canonical(shown).decode()
    assert json.loads(text) == {name: getattr(shown, name) for name in FIELDS}
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(KEY.public_key)).verify(bytes.fromhex(shown.signature), text.encode())


@given(name=st.sampled_from(FIELDS), data=st.data())
def test_whoever_changes_a_member_breaks_the_signature(name: str, data: st.DataObject) -> None:
    shown = right()
    value = getattr(shown, name)
    other = data.draw((st.text() if isinstance(value, str) else st.integers(0, 2**62)).filter(lambda drawn: drawn != value))
    changed = msgspec.structs.replace(shown, **{name: other})
    assert not is_signed(changed, KEY.public_key)
    assert verdict(changed) == Refusal.FORGED


@given(st.binary(min_size=64, max_size=64))
def test_no_other_signature_counts(signature: bytes) -> None:
    assert not is_signed(msgspec.structs.replace(right(), signature=signature.hex()), KEY.public_key)


@pytest.mark.parametrize("signature", ["", "zz", "00", "é" * 64])
def test_what_is_no_signature_is_none(signature: str) -> None:
    assert not is_signed(msgspec.structs.replace(right(), signature=signature), KEY.public_key)


@pytest.mark.parametrize(
    ("shown", "more", "expected"),
    [
        (right(), {}, None),
        (right(), {"partition": 3, "writer": KEY.writer}, None),
        (right(expires_us=NOW_US), {"current": right(expires_us=NOW_US + 9)}, Refusal.EXPIRED),
        (right(), {"current": right(expires_us=NOW_US + 9)}, None),
        (right(), {"current": right(expires_us=NOW_US - 1)}, Refusal.EXPIRED),
        (right(), {"public_key": None}, Refusal.UNKNOWN_WRITER),
        (right(), {"public_key": OTHER.public_key}, Refusal.FORGED),
        (right(), {"public_key": "no key"}, Refusal.FORGED),
        (right(), {"partition": 4}, Refusal.OTHER_PARTITION),
        (right(), {"writer": OTHER.writer}, Refusal.OTHER_WRITER),
        (right(), {"current": right(OTHER, number=8)}, Refusal.SUPERSEDED),
        (right(), {"current": right(OTHER)}, Refusal.FORGED),
        (right(number=8), {}, Refusal.FORGED),
        (right(expires_us=NOW_US + 2), {}, Refusal.FORGED),
        (right(granted_us=NOW_US - 2), {}, Refusal.FORGED),
    ],
)
def test_a_right_holds_or_it_is_said_why_not(shown: Right, more: dict[str, Any], expected: Refusal | None) -> None:
    assert verdict(shown, **more) == expected


def test_a_right_that_was_never_granted_is_forged() -> None:
    assert judge(right(), KEY.public_key, None, NOW_US, partition=None, writer=None) == Refusal.FORGED


def test_a_writers_name_follows_from_its_key() -> None:
    assert KEY.writer != OTHER.writer
    assert len(KEY.writer) == 32
    assert WriterKey(KEY._key).writer == KEY.writer
