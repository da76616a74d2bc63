"""The service account in Grafana, and its token: made with the admin password when there is none that Grafana takes."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError

ACCOUNT_NAME = "simway-live"
ROLE = "Editor"
"""Since 12.4 a Viewer may not push to Grafana Live."""
_ROLES_THAT_PUSH = frozenset({"Editor", "Admin"})
_TIMEOUT_S = 5.0
_TOKENS_KEPT = 5


class AccountError(Exception):
    """There is no token to be had now. The text says why and, where somebody can do something about it, what."""


class Account:
    """Where the token comes from. Not thread-safe; every call may block on the network for some seconds.

    ``read_password`` gives the admin's password, or raises ``OSError``; it is called only when a token has to be made.
    """

    def __init__(self, url: str, *, user: str, read_password: Callable[[], str], token_file: Path) -> None:
        self._url, self._user, self._read_password, self._token_file = url.rstrip("/"), user, read_password, token_file
        self._refused: set[str] = set()

    def token(self) -> str:
        """The kept token, or a new one. Raises ``AccountError``."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            kept = self._token_file.read_text().strip()
            if kept and kept.isascii() and kept.isprintable() and kept not in self._refused:
                return kept
        token = self._make()
        self._keep(token)
        return token

    def refuse(self, token: str) -> None:
        """Grafana does not take this token: ``token`` is not to give it again."""
        self._refused.add(token)

    def _make(self) -> str:
        try:
            password = self._read_password()
        except OSError as error:
            raise AccountError(
                f"no token in {self._token_file} that Grafana takes, and the admin password cannot be read ({error}); "
                "set GRAFANA_ADMIN_PASSWORD_FILE, or put a service account's token there"
            ) from error
        try:
            return self._make_with(GrafanaApi.from_url(f"{self._url}/", credential=(self._user, password), timeout=_TIMEOUT_S))
        except GrafanaClientError as error:
            raise AccountError(f"Grafana refused to make a service account: {error}; is the admin password right?") from error
        except Exception as error:  # the client lets its HTTP library's errors through, and those of answers it does not expect
            raise AccountError(f"Grafana made no service account: {type(error).__name__}: {error}") from error

    def _make_with(self, api: Any) -> str:
        api.client.s.trust_env = False
        account = self._find(api) or self._create(api)
        if account.get("role") not in _ROLES_THAT_PUSH:
            api.serviceaccount.update(account["id"], {"role": ROLE})
        self._prune(api, account["id"])
        made = api.serviceaccount.create_token(account["id"], {"name": f"{ACCOUNT_NAME}-{secrets.token_hex(4)}"})
        return str(made["key"])

    def _find(self, api: Any) -> dict[str, Any] | None:
        pages = api.serviceaccount.search(query=ACCOUNT_NAME, page=1, perpage=100)
        return next((item for page in pages for item in page["serviceAccounts"] if item["name"] == ACCOUNT_NAME), None)

    def _create(self, api: Any) -> dict[str, Any]:
        made: dict[str, Any] = api.serviceaccount.create({"name": ACCOUNT_NAME, "role": ROLE})
        return made

    def _prune(self, api: Any, account_id: int) -> None:
        """Deletes all but the newest of our tokens; another recorder may be using one of those."""
        ours = [
            token["id"] for token in api.serviceaccount.get_tokens(account_id) if token["name"].startswith(f"{ACCOUNT_NAME}-")
        ]
        for token_id in sorted(ours)[: -(_TOKENS_KEPT - 1)]:
            api.serviceaccount.delete_token(account_id, token_id)

    def _keep(self, token: str) -> None:
        """Writes the token, readable by its owner only. A folder that cannot be written to costs a new token at each start."""
        new = self._token_file.with_name(f"{self._token_file.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            self._token_file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token + "\n")
            new.replace(self._token_file)


def is_usable_url(url: str) -> bool:
    """True for an http or https address with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
