"""Pushes readings to Grafana Live in a thread of its own, a few requests a second. Best effort: it never waits for Grafana.

``offer`` puts a transaction's readings into a bounded queue; when that is full the oldest go and are counted. A live view wants
what is new, so each push takes the newest readings that wait and drops the rest.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum

import requests
import structlog
from simway_backbone.metrics import LIVE_DROPPED, LIVE_PUSHES

from simway_flask_app.grafana.account import Account, AccountError
from simway_flask_app.grafana.line_protocol import STREAM, encode
from simway_flask_app.store.port import StoredReading
from simway_flask_app.store.uplinks import StoredReadings

log = structlog.get_logger(__name__)

PUSH_INTERVAL_S = 0.4
"""Between the starts of two requests. A real Grafana took 60 ms for a push, of 1 line or of 100."""
READINGS_MAX_PER_PUSH = 2_000
QUEUE_MAX_READINGS = 10_000
CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
ANSWER_MAX_BYTES = 16_384


class PushOutcome(StrEnum):
    """What became of one push; the label of its metric."""

    OK = "ok"
    REFUSED = "refused"
    """The token is not taken (401, 403, or a 500 that says so)."""
    BAD = "bad"
    """Grafana does not take these lines (other 4xx)."""
    FAILED = "failed"
    """Grafana answered 5xx or something else."""
    UNREACHABLE = "unreachable"
    NO_TOKEN = "no_token"


@dataclass(frozen=True)
class PusherTimes:
    """How patient a pusher is, in seconds."""

    interval_s: float = PUSH_INTERVAL_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    backoff_first_s: float = BACKOFF_FIRST_S
    backoff_max_s: float = BACKOFF_MAX_S


class LivePusher:
    """One pusher. ``offer`` may be called from any thread; ``start`` and ``stop`` from the one that owns it."""

    def __init__(self, url: str, account: Account, *, times: PusherTimes | None = None) -> None:
        self._endpoint = f"{url.rstrip('/')}/api/live/push/{STREAM}"
        self._account, self._times = account, times or PusherTimes()
        self._waiting: deque[StoredReadings] = deque()
        self._waiting_readings = 0
        self._lock = threading.Lock()
        self._work, self._stopping = threading.Event(), threading.Event()
        self._session = requests.Session()
        self._session.trust_env = False
        self._token: str | None = None
        self._backoff_s = 0.0
        self._told: PushOutcome | None = None
        self._thread = threading.Thread(target=self._run, name="grafana-live", daemon=True)

    def start(self) -> None:
        """Begins to push."""
        self._thread.start()

    def offer(self, readings: StoredReadings) -> None:
        """Takes readings to be pushed; drops the oldest when too many wait. Never blocks for longer than a list operation."""
        if not len(readings):
            return
        with self._lock:
            self._waiting.append(readings)
            self._waiting_readings += len(readings)
            while self._waiting_readings > QUEUE_MAX_READINGS and len(self._waiting) > 1:
                self._forget(self._waiting.popleft())
        self._work.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the thread; a request under way is left to its fate after ``timeout_s``."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _forget(self, readings: StoredReadings) -> None:
        self._waiting_readings -= len(readings)
        LIVE_DROPPED.inc(len(readings))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.wait()
            if self._stopping.is_set():
                return
            try:
                self._step()
            except Exception:
                log.exception("grafana.unexpected_error")
                self._back_off()
            self._stopping.wait(self._backoff_s or self._times.interval_s)

    def _step(self) -> None:
        outcome, detail = self._ensure_token()
        if outcome is PushOutcome.OK:
            readings = self._take()
            outcome, detail = self._push(readings)
            if outcome is not PushOutcome.OK:
                LIVE_DROPPED.inc(len(readings))
        LIVE_PUSHES.labels(outcome).inc()
        self._tell(outcome, detail)
        if outcome in {PushOutcome.OK, PushOutcome.BAD}:
            self._backoff_s = 0.0
        else:
            self._back_off()

    def _back_off(self) -> None:
        first, longest = self._times.backoff_first_s, self._times.backoff_max_s
        self._backoff_s = min(max(first, 2 * self._backoff_s), longest)

    def _take(self) -> list[StoredReading]:
        """The newest readings that wait, oldest first; older ones are dropped."""
        self._work.clear()
        with self._lock:
            batches, self._waiting, self._waiting_readings = self._waiting, deque(), 0
        taken: deque[StoredReading] = deque()
        while batches and len(taken) < READINGS_MAX_PER_PUSH:
            batch, room = batches.pop(), READINGS_MAX_PER_PUSH - len(taken)
            newest = batch if len(batch) <= room else replace(batch, rows=batch.rows[-room:])
            LIVE_DROPPED.inc(len(batch) - len(newest))
            taken.extendleft(reversed(list(newest)))
        LIVE_DROPPED.inc(sum(len(batch) for batch in batches))
        return list(taken)

    def _ensure_token(self) -> tuple[PushOutcome, str]:
        if self._token is None:
            try:
                self._token = self._account.token()
            except AccountError as error:
                return PushOutcome.NO_TOKEN, str(error)
        return PushOutcome.OK, ""

    def _push(self, readings: list[StoredReading]) -> tuple[PushOutcome, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "text/plain; charset=utf-8"}
        timeout = (self._times.connect_timeout_s, self._times.read_timeout_s)
        body = encode(readings)
        if not body:
            return PushOutcome.OK, ""
        try:
            with self._session.post(
                self._endpoint, data=body, headers=headers, timeout=timeout, stream=True, allow_redirects=False
            ) as answer:
                text = answer.raw.read(ANSWER_MAX_BYTES, decode_content=True)
                return self._judge(answer.status_code, text.decode(errors="replace")[:200])
        except (requests.RequestException, OSError) as error:
            return PushOutcome.UNREACHABLE, type(error).__name__
        except Exception as error:  # urllib3's own errors come through when the answer is read
            return PushOutcome.UNREACHABLE, f"{type(error).__name__}: {error}"

    def _judge(self, status: int, text: str) -> tuple[PushOutcome, str]:
        detail = f"{status} {text}".strip()
        if 200 <= status < 300:
            return PushOutcome.OK, ""
        if status in {401, 403} or (status >= 500 and "invalid API key" in text):  # Grafana 9 says 500 of a deleted token
            self._account.refuse(self._token or "")
            self._token = None
            return PushOutcome.REFUSED, detail
        return (PushOutcome.BAD if 400 <= status < 500 else PushOutcome.FAILED), detail

    def _tell(self, outcome: PushOutcome, detail: str) -> None:
        """One log line when it begins to fail and one when it works again."""
        if outcome is self._told:
            return
        if outcome is PushOutcome.OK:
            log.info("grafana.pushing", endpoint=self._endpoint)
        else:
            log.warning("grafana.not_pushing", outcome=str(outcome), detail=detail)
        self._told = outcome
