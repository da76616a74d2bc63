"""A small real HTTP server that answers what the platform's web process answered when it was recorded (recorded.json)."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from simway_cli.app import run

TOKEN = "a-token-for-tests"
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())
PUBLIC = {"/api/v1/health"}


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    token: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What goes out. ``pieces``: a body in chunks; ``cut``: the connection ends in the middle of it."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    pieces: Iterable[bytes] | None = None
    cut: bool = False


Answer = Reply | Callable[[Request], Reply]


class RecordedApi:
    """The server. An address takes one answer for ever, or several in turn, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def on(self, method: str, path: str, *answers: Any, status: int = 200, **headers: str) -> None:
        """What to answer at ``/api/v1/{path}``: replies, functions of the request, or plain bodies."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        made = [answer if isinstance(answer, Reply) or callable(answer) else Reply(answer, status, sent) for answer in answers]
        self._answers[method, f"/api/v1/{path}"] = made

    def answer(self, request: Request) -> Reply:
        if request.path not in PUBLIC and request.token != TOKEN:
            return Reply(RECORDED["invalid_token" if request.token else "unauthorized"], 401)
        answers = self._answers.get((request.method, request.path))
        if answers is None:
            problem = {"status": 404, "reason": "not_found", "title": "Not Found", "detail": "There is nothing at this address."}
            return Reply(problem, 404)
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        return answer(request) if callable(answer) else answer

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.path) == (method, f"/api/v1/{path}")]


def _handler(api: RecordedApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
            request = Request(
                self.command,
                parts.path,
                parse_qs(parts.query, keep_blank_values=True),
                body,
                token if scheme == "Bearer" else None,
            )
            api.requests.append(request)
            self._send(api.answer(request))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            problem = "application/problem+json" if reply.status >= 400 else "application/json"
            for name, value in ({"Content-Type": problem} | reply.headers).items():
                self.send_header(name, value)
            if reply.pieces is None:
                data = reply.raw if reply.raw is not None else json.dumps(reply.body).encode()
                self.send_header("Content-Length", str(len(data) + reply.cut))
                self.end_headers()
                self.wfile.write(data)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                if not reply.cut:
                    self.wfile.write(b"0\r\n\r\n")
            self.close_connection = self.close_connection or reply.cut

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler


@pytest.fixture
def api() -> Iterator[RecordedApi]:
    server = RecordedApi()
    for path, name in (
        ("health", "health"), ("devices", "devices"), ("devices/demo", "device"), ("devices/demo/readings", "readings"),
        ("devices/demo/readings/latest", "latest"), ("devices/demo/commands", "commands"), ("devices/demo/sim", "sim"),
        ("alarms", "alarms"), ("audit", "audit"), ("audit/verify", "verify"), ("devices/demo/loss", "loss"),
        (f"devices/demo/commands/{RECORDED['switch']['id']}", "switch"),
        (f"devices/demo/commands/{RECORDED['ping']['id']}", "ping"),
    ):  # fmt: skip
        server.on("GET", path, RECORDED[name])
    yield server
    server.close()


class Stream(io.TextIOWrapper):
    """A text stream over bytes, which may say that it is a terminal."""

    def __init__(self, tty: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    @property
    def data(self) -> bytes:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


@dataclass
class Done:
    """How a run ended."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


class Cli:
    """Runs command lines in this process against the recorded server."""

    def __init__(self, url: str, token_file: Path) -> None:
        self.environ = {"SIMWAY_URL": url, "SIMWAY_TOKEN_FILE": str(token_file)}

    def __call__(self, *argv: str, tty: bool = False, **environ: str) -> Done:
        out, err = Stream(tty), Stream(tty)
        status = run(argv, self.environ | environ, out, err)
        return Done(status, out.data, err.data.decode())


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "admin.token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.fixture
def cli(api: RecordedApi, token_file: Path) -> Cli:
    return Cli(api.url, token_file)


@pytest.fixture
def recorded() -> dict[str, Any]:
    """The recorded bodies, by name; a copy that a test may change."""
    return json.loads(json.dumps(RECORDED))


@pytest.fixture
def reply() -> type[Reply]:
    return Reply
