"""The stateless cookie of CHALLENGE: what the server must know again at ATTACH, sealed and handed out (AES-256-GCM).

A cookie is opaque to clients; only processes that share ``CookiePeriod`` read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simway_protocol.errors import PeerError
from simway_protocol.udp.events import Address
from simway_protocol.udp.frames import NONCE_BYTES
from simway_protocol.udp.keys import share_public, shared_secret
from simway_protocol.udp.timing import COOKIE_LIFETIME_US

_LABEL = b"simway cookie"
_IV_BYTES = 12


class CookiePeriod(NamedTuple):
    """Secrets of one cookie period: 32 random bytes each, made by the parent and shared by its workers."""

    started_us: int
    cookie_key: bytes
    share_private: bytes


class Cookie(NamedTuple):
    """What a cookie holds."""

    host: str
    port: int
    time_us: int
    device: str
    key_version: int
    client_nonce: bytes
    client_share: bytes
    server_nonce: bytes
    hello_hash: bytes


class _Open(NamedTuple):
    aead: AESGCM
    share_private: bytes
    share: bytes


class OpenedCookie(NamedTuple):
    """A cookie with the server's public share of its period and the X25519 secret, computed on demand."""

    cookie: Cookie
    share: bytes
    exchange: Callable[[], bytes]


class CookieJar:
    """Seals cookies under the newest period, opens them under any that is alive."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._periods: list[_Open] = []
        self._known: dict[CookiePeriod, _Open] = {}

    def set_periods(self, periods: Sequence[CookiePeriod]) -> None:
        """The periods alive, the newest last."""
        self._known = {
            period: self._known.get(period)
            or _Open(AESGCM(period.cookie_key), period.share_private, share_public(period.share_private))
            for period in periods
        }
        self._periods = [self._known[period] for period in periods]

    @property
    def share(self) -> bytes:
        """The newest period's public share; ``PeerError`` (not_ready) when there is no period."""
        if not self._periods:
            raise PeerError("not_ready", "no cookie period is set")
        return self._periods[-1].share

    def nonce(self) -> bytes:
        """A server nonce."""
        return self._random(NONCE_BYTES)

    def seal(self, cookie: Cookie) -> bytes:
        """The sealed bytes: a random 12-byte nonce and the ciphertext."""
        iv = self._random(_IV_BYTES)
        return iv + self._periods[-1].aead.encrypt(iv, cbor2.dumps(list(cookie)), _LABEL)

    def open(self, sealed: bytes, address: Address, now_us: int) -> OpenedCookie:
        """The cookie, if it is ours, of this address and young; ``PeerError``: bad_cookie, cookie_address, cookie_expired."""
        for period in reversed(self._periods):
            try:
                items: list[Any] = cbor2.loads(period.aead.decrypt(sealed[:_IV_BYTES], sealed[_IV_BYTES:], _LABEL))
            except (InvalidTag, ValueError):
                continue
            cookie = Cookie(*items)
            if (cookie.host, cookie.port) != (address[0], address[1]):
                raise PeerError("cookie_address")
            if now_us - cookie.time_us > COOKIE_LIFETIME_US:
                raise PeerError("cookie_expired")
            return OpenedCookie(cookie, period.share, partial(shared_secret, period.share_private, cookie.client_share))
        raise PeerError("bad_cookie")
