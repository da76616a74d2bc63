"""What the environment tells the command; flags come before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

URL_DEFAULT = "http://127.0.0.1:8000"
TOKEN_FILE_DEFAULT = "var/admin.token"


@dataclass(frozen=True, slots=True)
class Settings:
    """``url``: of the web service; ``token_file``: holds the API token."""

    url: str = URL_DEFAULT
    token_file: str = TOKEN_FILE_DEFAULT

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Reads ``SIMWAY_URL`` and ``SIMWAY_TOKEN_FILE``; what is empty counts as not set."""
        return cls(environ.get("SIMWAY_URL") or URL_DEFAULT, environ.get("SIMWAY_TOKEN_FILE") or TOKEN_FILE_DEFAULT)
