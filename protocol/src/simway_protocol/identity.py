"""Device ids, their partition in the log, and the keys that derive from the master secret (design, section 4)."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from simway_protocol.limits import DEVICE_ID_MAX_CHARS, UPLINK_PARTITIONS

MASTER_SECRET_BYTES = 32
KEY_BYTES = 32
MAC_BYTES = 32

_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*\Z")


def is_device_id(text: object) -> bool:
    """True for 1 to 64 characters of ``A-Z a-z 0-9 . _ : -`` that begin with a letter or digit."""
    return isinstance(text, str) and len(text) <= DEVICE_ID_MAX_CHARS and _DEVICE_ID.match(text) is not None


@lru_cache(maxsize=100_000)
def partition_of(device_id: str, partitions: int = UPLINK_PARTITIONS) -> int:
    """The partition of a device: CRC-32 (ISO-HDLC, as in zlib and java.util.zip) of its UTF-8 id, modulo ``partitions``.

    Vectors: ``vectors/partitions.json``.
    """
    return zlib.crc32(device_id.encode()) % partitions


def hkdf(key: bytes, info: bytes, length: int = KEY_BYTES, salt: bytes | None = None) -> bytes:
    """HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(key)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104), 32 bytes."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(message)
    return mac.finalize()


def derive_device_key(master_secret: bytes, device_id: str, key_version: int) -> bytes:
    """The device key K, 32 bytes: HKDF(master, info = "simway device key" 00 version(4, big-endian) device id).

    Vectors: ``vectors/keys.json``.
    """
    return hkdf(master_secret, b"simway device key\x00" + key_version.to_bytes(4, "big") + device_id.encode())


def derive_command_key(device_key: bytes) -> bytes:
    """The key of command MACs, 32 bytes: HKDF(K, info = "command")."""
    return hkdf(device_key, b"command")
