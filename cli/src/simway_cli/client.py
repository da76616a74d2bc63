"""The REST API over HTTP (requests): every way in which it can fail becomes a ``CliError`` that says what to do next."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError as Urllib3Error

from simway_cli.errors import Away, CliError, Exit, Refused, Usage
from simway_cli.problems import exit_of, refused

PREFIX = "/api/v1"
CONNECT_S = 5.0
ANSWER_S = 60.0
UPLOAD_S = 300.0
STREAM_QUIET_S = 35.0
"""An event stream says something at least every 10 s."""
PAGE_MAX = 500
TOKEN_MAX_CHARS = 512

Query = Mapping[str, Any]


class _Bearer(AuthBase):
    """Sends the token; since requests has its auth, no netrc file takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """One server. Every call blocks on the network and raises ``CliError``. Not thread-safe."""

    def __init__(self, url: str, token_file: str) -> None:
        self.url = _checked(url)
        self._token_file = token_file
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "simway-cli"
        self._session.trust_env = not _is_loopback(self.url)

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, query: Query | None = None, *, public: bool = False) -> Any:
        """The JSON answer of a GET. ``public``: no token is needed, so none is read."""
        with self._sent("GET", path, query, public=public) as response:
            return self._json(response)

    def send(self, method: str, path: str, body: Any = None, query: Query | None = None) -> Any:
        """The JSON answer to a request that may change something; None where the answer is empty."""
        with self._sent(method, path, query, json=body) as response:
            return self._json(response) if response.content else None

    def upload(self, path: str, data: bytes, query: Query, content_type: str) -> Any:
        """The JSON answer to a POST of these bytes."""
        with self._sent("POST", path, query, data=data, headers={"Content-Type": content_type}, read_s=UPLOAD_S) as response:
            return self._json(response)

    def pages(self, path: str, key: str, query: Query, *, limit: int, page_max: int = PAGE_MAX) -> Iterator[Any]:
        """The items of a list, page by page, ``limit`` of them at most; 0 for all."""
        asked, left = dict(query), limit
        while True:
            asked["limit"] = min(left, page_max) if limit else page_max
            page = self.get(path, asked)
            yield from page[key][:left] if limit else page[key]
            left -= len(page[key])
            if page["next_cursor"] is None or (limit and left <= 0):
                return
            asked["cursor"] = page["next_cursor"]

    def some(self, path: str, key: str, query: Query, *, limit: int, page_max: int = PAGE_MAX) -> tuple[list[Any], bool]:
        """The items of a list, ``limit`` of them at most (0: all), and whether there are more."""
        found = list(self.pages(path, key, query, limit=limit + 1 if limit else 0, page_max=page_max))
        return (found[:limit], len(found) > limit) if limit else (found, False)

    @contextmanager
    def stream(self, path: str, query: Query | None = None, *, quiet_s: float = STREAM_QUIET_S) -> Iterator[Iterator[bytes]]:
        """The body of a GET as it comes, in pieces. The iterator raises ``Away`` when it breaks off before its end."""
        with self._sent("GET", path, query, read_s=quiet_s) as response:
            yield self._pieces(response)

    def _pieces(self, response: requests.Response) -> Iterator[bytes]:
        with self._translated():
            yield from response.iter_content(None)

    @contextmanager
    def _sent(
        self, method: str, path: str, query: Query | None, *, public: bool = False, read_s: float | None = ANSWER_S, **more: Any
    ) -> Iterator[requests.Response]:
        auth = None if public else _Bearer(self._token())
        with self._translated():
            response = self._session.request(
                method, f"{self.url}{PREFIX}/{path}", params=_given(query), auth=auth, timeout=(CONNECT_S, read_s), stream=True,
                allow_redirects=False, **more,
            )  # fmt: skip
        try:
            if not 200 <= response.status_code < 300:
                raise self._problem(response)
            yield response
        finally:
            response.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise Away(
                f"no secure connection to {self.url}: {_root(error)}", hint="REQUESTS_CA_BUNDLE names a CA file."
            ) from error
        except requests.exceptions.ConnectTimeout as error:
            raise Away(f"{self.url} does not answer within {CONNECT_S:g} s", hint=_START) from error
        except requests.exceptions.Timeout as error:
            raise Away(
                f"{self.url} has gone silent", hint="Is the server stopped or overloaded? 'simway health' asks it."
            ) from error
        except (requests.exceptions.ChunkedEncodingError, Urllib3Error) as error:
            raise Away(f"{self.url} broke off in the middle of its answer: {_root(error)}", hint=_AGAIN) from error
        except requests.exceptions.ConnectionError as error:
            raise Away(f"no server answers at {self.url}: {_root(error)}", hint=_START) from error
        except requests.exceptions.RequestException as error:
            raise Usage(f"{self.url}: {_root(error)}", hint="Name the server by --url or SIMWAY_URL.") from error

    def _json(self, response: requests.Response) -> Any:
        with self._translated():
            data = response.content
        try:
            return json.loads(data)
        except ValueError as error:
            raise Away(f"what answers at {self.url} is not Simway: its answer is no JSON", hint=_NAME) from error

    def _problem(self, response: requests.Response) -> Refused | Away:
        status, retry_after = response.status_code, response.headers.get("Retry-After")
        try:
            body = self._json(response)
        except Away:
            body = None
        if not isinstance(body, dict) or "status" not in body:
            if status < 500:
                return Refused(
                    f"what answers at {self.url} is not Simway: HTTP {status}", exit_=exit_of(status), status=status, hint=_NAME
                )
            return Away(f"{self.url} answers HTTP {status}", hint="The server's log says why.")
        return refused(status, body, retry_after)

    def _token(self) -> str:
        return read_token(self._token_file)


_START = "Start it ('make run', or 'make up' for the compose stack), or name another one: --url URL or SIMWAY_URL."
_NAME = "Name the server by --url or SIMWAY_URL; the default is http://127.0.0.1:8000."
_AGAIN = "What came so far is not whole. Try again; the server's log says why."


def read_token(file: str) -> str:
    """The API token in ``file``. Raises ``CliError`` where there is none."""
    hint = "The server makes it at its first start (var/admin.token). Name the file: --token-file FILE, or SIMWAY_TOKEN_FILE."
    try:
        token = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CliError(f"no API token: {file}: {why}", exit_=Exit.TOKEN, hint=hint) from error
    if not token or len(token) > TOKEN_MAX_CHARS or not token.isascii() or not token.isprintable():
        raise CliError(f"no API token: {file} holds none", exit_=Exit.TOKEN, hint=hint)
    return token


def device_path(device: str, *parts: str) -> str:
    """``devices/{device}/...``, safe for what a person typed."""
    if not device or device in (".", ".."):
        raise Usage(f"{device!r} is no device id", hint="'simway devices' lists the registered devices.")
    return "/".join(("devices", quote(device, safe=":"), *(quote(part, safe=":") for part in parts)))


def _given(query: Query | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value not in (None, [], ())}


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Usage(f"{url!r} is no address of a server", hint="Write --url http://127.0.0.1:8000.")
    if parts.username or parts.password:
        raise Usage("the address holds a password", hint="The API token comes from a file: --token-file FILE.")
    return url.rstrip("/").removesuffix(PREFIX)


def _is_loopback(url: str) -> bool:
    """No proxy stands between this machine and itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _root(error: BaseException) -> str:
    """The innermost cause in few words."""
    seen: BaseException = error
    while True:
        inner = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    text = seen.strerror if isinstance(seen, OSError) and seen.strerror else str(seen)
    return text or type(seen).__name__
