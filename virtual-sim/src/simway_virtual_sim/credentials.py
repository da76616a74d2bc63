"""The eUICC's key and certificates, with which it signs notifications as a real one does (GSMA SGP.22, 4.5.2 and 5.7.10).

All keys follow from fixed words and the EID, so anybody can have them: servers outside a laboratory do not trust this chain, and
none should.
"""

from __future__ import annotations

import datetime
import hashlib
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR_BYTES = 32
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)
_ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simway Test CI")])
_MAKER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simway Test EUM")])


class Credentials(NamedTuple):
    """``certificates``: the eUICC's, then its maker's, DER. ``issuer_key_id``: the subject key identifier of the chain's root."""

    key: ec.EllipticCurvePrivateKey
    certificates: tuple[bytes, ...]
    issuer_key_id: bytes

    def sign(self, data: bytes) -> bytes:
        """ECDSA with SHA-256, as r || s of 32 bytes each (SGP.22, 2.6.7.2)."""
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_SCALAR_BYTES, "big") + s.to_bytes(_SCALAR_BYTES, "big")


@lru_cache(maxsize=8)
def credentials_of(eid: str) -> Credentials:
    """The credentials of the card with this EID."""
    issuer, maker, card = _key("Simway Test CI"), _key("Simway Test EUM"), _key(f"eUICC {eid}")
    card_name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Simway"), x509.NameAttribute(NameOID.SERIAL_NUMBER, eid),
    ])  # fmt: skip
    of_maker = _certificate(_MAKER_NAME, maker, _ISSUER_NAME, issuer)
    of_card = _certificate(card_name, card, _MAKER_NAME, maker)
    return Credentials(card, (of_card, of_maker), _key_id(issuer))


def _key(label: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha512(b"simway test key " + label.encode()).digest(), "big")
    return ec.derive_private_key(1 + number % (_ORDER - 1), _CURVE)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def _certificate(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_name: x509.Name, issuer: ec.EllipticCurvePrivateKey
) -> bytes:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    unsigned = (
        x509.CertificateBuilder(issuer_name, name, key.public_key(), not_valid_before=_NOT_BEFORE, not_valid_after=_NOT_AFTER)
        .serial_number(int.from_bytes(_key_id(key)[:8], "big") >> 1)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return unsigned.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
