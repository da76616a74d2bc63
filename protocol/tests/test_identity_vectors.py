"""Partitions and keys by their golden vectors, and against the standard library."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol import identity, vectors

PARTITIONS = vectors.load("partitions")["cases"]
KEYS = vectors.load("keys")["cases"]


@pytest.mark.parametrize("case", PARTITIONS, ids=lambda case: f"{case['device'][:12]}/{case['partitions']}")
def test_partitions(case):
    assert identity.is_device_id(case["device"])
    assert identity.partition_of(case["device"], case["partitions"]) == case["partition"]


def _crc32(data: bytes) -> int:
    """CRC-32/ISO-HDLC bit by bit, as the specification writes it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z"))
def test_the_hash_is_the_named_one(device):
    assert identity.partition_of(device, 24) == _crc32(device.encode()) % 24


def _hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt and one block of output."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@pytest.mark.parametrize("case", KEYS, ids=lambda case: f"{case['device'][:12]}/{case['key_version']}")
def test_keys(case):
    master = bytes.fromhex(case["master_secret"])
    key = identity.derive_device_key(master, case["device"], case["key_version"])
    assert key.hex() == case["device_key"]
    assert identity.derive_command_key(key).hex() == case["command_key"]
    info = b"simway device key\x00" + case["key_version"].to_bytes(4, "big") + case["device"].encode()
    assert _hkdf(master, info) == key
    assert _hkdf(key, b"command") == identity.derive_command_key(key)


@pytest.mark.parametrize("text", ["", "-a", ".a", "a b", "a/b", "a\n", "é", "a" * 65, None, 5, b"a"])
def test_what_is_no_device_id(text):
    assert not identity.is_device_id(text)
