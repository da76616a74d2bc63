"""A stand-in for just those endpoints of Grafana that Simway calls: it answers as Grafana 9.4 to 12 do, and is strict.

Service accounts: search, create, update, list, create and delete tokens, with the admin's password. Grafana Live: push, with a
token of a service account that is an Editor; lines are parsed by ``line_protocol`` and kept. Everything else is 404. Faults are
switched on by the test. The same calls and answers were read from Grafana's sources (pkg/services/serviceaccounts/api, live).
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from simway_testing.line_protocol import BadLine, Point, parse

ADMIN, PASSWORD = "admin", "the admin's password"
Answer = tuple[int, Any]
UNKNOWN_TOKEN: Answer = (401, {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401})
UNKNOWN_TOKEN_9: Answer = (500, {"message": "invalid API key", "traceID": ""})
"""What Grafana 9 says of a token that was deleted."""


@dataclass
class ServiceAccount:
    """One service account and its tokens: id -> (name, key)."""

    id: int
    name: str
    role: str
    tokens: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id, "name": self.name, "login": f"sa-1-{self.name}", "orgId": 1, "isDisabled": False, "role": self.role,
            "tokens": len(self.tokens), "avatarUrl": "", "accessControl": {},
        }  # fmt: skip


class Grafana:
    """What the stand-in holds, and the faults that a test can switch on."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.accounts: list[ServiceAccount] = []
        self.points: list[Point] = []
        self.pushes: list[float] = []
        """When each push was taken, by the monotonic clock."""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        """What no client should have sent."""
        self.create_as: str | None = None
        """A role that new accounts get whatever was asked for (as 9.0 did)."""
        self.unknown_token: Answer = UNKNOWN_TOKEN
        """The answer to a token that is not, or no longer, there."""
        self.hang = threading.Event()
        """While set, no answer is given."""
        self.broken_status = 0
        """Not 0: everything but /api/health answers with this."""
        self._next_id = 2

    # --- for tests ---

    def values(self, channel: str) -> list[tuple[str, Any, int]]:
        """Sensor, value and nanoseconds of every point of a measurement, in order of arrival."""
        with self.lock:
            return [
                (point.tags["sensor"], next(iter(point.fields.values())), point.t_ns)
                for point in self.points
                if point.measurement == channel
            ]

    def revoke_all(self) -> None:
        """Deletes every token, as somebody could in the browser."""
        with self.lock:
            for account in self.accounts:
                account.tokens.clear()

    # --- what is answered ---

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        url = urlsplit(target)
        with self.lock:
            self.requests.append(f"{method} {url.path}")
        if url.path == "/api/health":
            return 200, {"database": "ok", "version": "12.3.0", "commit": "0"}
        if self.broken_status:
            return self.broken_status, {"message": "not here"}
        while self.hang.is_set():
            time.sleep(0.02)
        with self.lock:
            if url.path.startswith("/api/live/push/"):
                return self._push(method, url.path, headers, body)
            if url.path.startswith("/api/serviceaccounts"):
                return self._service_accounts(method, url.path, parse_qs(url.query), headers, body)
        self.complaints.append(f"{method} {target}")
        return 404, {"message": "Not found"}

    def _push(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        role = self._role_of_token(headers.get("Authorization", ""))
        if role is None:
            return self.unknown_token
        if role not in {"Editor", "Admin"}:
            return 403, {"message": "You'll need additional permissions to perform this action. Permissions needed: live:push"}
        if method != "POST" or path != "/api/live/push/simway":
            self.complaints.append(f"{method} {path}")
            return 404, {"message": "Not found"}
        try:
            points = parse(body)
            self._check_columns(points)
        except (BadLine, UnicodeDecodeError) as error:
            self.complaints.append(str(error))
            return 500, b""
        self.points += points
        self.pushes.append(time.monotonic())
        return 200, b""

    def _check_columns(self, points: list[Point]) -> None:
        """A channel's columns must stay as they are, or a panel loses what it has drawn; and not every name is a channel's."""
        for point in points:
            if not all(character.isascii() and (character.isalnum() or character in "_-/=.,") for character in point.measurement):
                raise BadLine(f"no channel can have the name {point.measurement!r}")
            if len(f"stream/simway/{point.measurement}") > 160:
                raise BadLine(f"the channel's name is too long: {point.measurement!r}")
            shape = [(name, type(value)) for name, value in point.fields.items()]
            kind = point.measurement.partition("/")[2]
            expected = [(kind, str if kind == "text" else float)]
            if shape != expected or list(point.tags) != ["sensor"]:
                raise BadLine(f"the columns of {point.measurement} change: {shape} {list(point.tags)}")

    def _role_of_token(self, authorization: str) -> str | None:
        for account in self.accounts:
            if any(authorization == f"Bearer {key}" for _, key in account.tokens.values()):
                return account.role
        return None

    def _service_accounts(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes) -> Answer:
        given = headers.get("Authorization", "")
        if given != "Basic " + base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode():
            return 401, {"message": "Invalid username or password", "messageId": "password-auth.failed", "statusCode": 401}
        parts = path.removeprefix("/api/serviceaccounts").strip("/").split("/")
        data = json.loads(body) if body else {}
        if parts == ["search"] and method == "GET":
            return self._search(query)
        if parts == [""] and method == "POST":
            return self._create(data)
        account = next((account for account in self.accounts if parts[0] == str(account.id)), None)
        if account is None:
            return 404, {"message": "service account not found"}
        return self._one(method, parts[1:], account, data)

    def _search(self, query: dict[str, list[str]]) -> Answer:
        wanted = query.get("query", [""])[0]
        found = [account.shown for account in self.accounts if wanted in account.name]
        return 200, {"totalCount": len(found), "serviceAccounts": found, "page": 1, "perPage": 100}

    def _create(self, data: dict[str, Any]) -> Answer:
        if any(account.name == data["name"] for account in self.accounts):
            return 400, {"message": "service account already exists"}
        account = ServiceAccount(self._take_id(), data["name"], self.create_as or data["role"])
        self.accounts.append(account)
        return 201, account.shown

    def _one(self, method: str, rest: list[str], account: ServiceAccount, data: dict[str, Any]) -> Answer:
        if not rest and method == "PATCH":
            account.role = data.get("role", account.role)
            return 200, {
                "message": "Service account updated",
                "id": account.id,
                "name": account.name,
                "serviceaccount": account.shown,
            }
        if rest == ["tokens"] and method == "GET":
            return 200, [{"id": number, "name": name, "hasExpired": False} for number, (name, _) in account.tokens.items()]
        if rest == ["tokens"] and method == "POST":
            if any(name == data["name"] for name, _ in account.tokens.values()):
                return 409, {"message": "service account token with given name already exists in the organization"}
            number, key = self._take_id(), f"glsa_{secrets.token_hex(16)}_{secrets.token_hex(4)}"
            account.tokens[number] = (data["name"], key)
            return 200, {"id": number, "name": data["name"], "key": key}
        if len(rest) == 2 and rest[0] == "tokens" and method == "DELETE" and int(rest[1]) in account.tokens:
            del account.tokens[int(rest[1])]
            return 200, {"message": "Service account token deleted"}
        return 404, {"message": "Not found"}

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[[str, str, Any, bytes], Answer]

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = type(self).answer(self.command, self.path, self.headers, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """Ends the connections that clients keep open, as a process that ends does."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def running(grafana: Grafana, port: int = 0) -> Iterator[str]:
    """Serves ``grafana`` on a port of 127.0.0.1; gives its URL."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(grafana.answer)})
    server = _Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        grafana.hang.clear()
        server.shutdown()
        server.server_close()
        server.hang_up()
        thread.join(60)
