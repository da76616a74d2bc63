"""Who may call the API: the bearer token, or the session cookie that it was exchanged for (design, section 4).

The cookie holds when it was made and which token it was made with, signed with the session secret: another token or secret
ends every session. It is HttpOnly and SameSite=Strict. Since SameSite looks at the host but not at the port, a request that
changes something and is let in by its cookie must also come from a page of this very origin.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from simway_flask_app.web.problems import Problem

SESSION_COOKIE = "simway_session"
SESSION_MAX_AGE_S = 12 * 3600
TOKEN_MAX_CHARS = 512
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Decides who gets in. Thread-safe: it keeps nothing that changes."""

    def __init__(self, admin_token: str, session_secret: str | bytes) -> None:
        self._token_digest = _digest(admin_token)
        self._fingerprint = hashlib.sha256(b"simway token fingerprint\x00" + self._token_digest).hexdigest()[:32]
        self._serializer = URLSafeTimedSerializer(
            session_secret, salt="simway session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def is_token(self, text: str) -> bool:
        """True for the API token; takes the same time whatever ``text`` shares with it."""
        return hmac.compare_digest(_digest(text), self._token_digest)

    def check(self, request: Request) -> None:
        """Returns when the request may pass, else raises a 401 or 403 ``Problem``."""
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() == "bearer" and self.is_token(token.strip()):
                return
            raise _unauthorized("invalid_token", "The bearer token is not the API token of this server.")
        cookie = request.cookies.get(SESSION_COOKIE)
        if cookie is None:
            raise _unauthorized(
                "unauthorized", "Send the API token as 'Authorization: Bearer ...'; it lies in the file ADMIN_TOKEN_FILE names."
            )
        if not self._is_session(cookie):
            raise _unauthorized("session_over", "The session is over. Sign in again.")
        if request.method not in SAFE_METHODS:
            require_same_origin(request)

    def open_session(self, response: Response, *, secure: bool) -> None:
        """Puts a new session cookie on ``response``."""
        value = self._serializer.dumps(self._fingerprint)
        response.set_cookie(
            SESSION_COOKIE, value, max_age=SESSION_MAX_AGE_S, httponly=True, samesite="Strict", secure=secure, path="/"
        )

    def close_session(self, response: Response) -> None:
        """Takes the session cookie away."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Strict", path="/")

    def _is_session(self, cookie: str) -> bool:
        try:
            fingerprint = self._serializer.loads(cookie, max_age=SESSION_MAX_AGE_S)
        except BadSignature:
            return False
        return isinstance(fingerprint, str) and hmac.compare_digest(fingerprint.encode(), self._fingerprint.encode())


def require_same_origin(request: Request) -> None:
    """Raises a 403 ``Problem`` unless a browser says that a page of this origin sent the request (Origin, Fetch Metadata)."""
    origin = request.headers.get("Origin")
    if origin is not None:
        same = urlsplit(origin).netloc == request.host
    else:
        same = request.headers.get("Sec-Fetch-Site") == "same-origin"
    if not same:
        raise Problem(
            403,
            "cross_origin",
            "A session cookie changes things only from this server's own page. Elsewhere, send the bearer token.",
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(reason: str, detail: str) -> Problem:
    error = ', error="invalid_token"' if reason == "invalid_token" else ""
    return Problem(401, reason, detail, headers={"WWW-Authenticate": f'Bearer realm="simway"{error}'})
