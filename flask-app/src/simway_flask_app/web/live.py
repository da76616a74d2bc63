"""What happens, told to open event streams (server-sent events; HTML standard, 9.2).

One thread reads the store's feeds while anybody listens, and puts each message into the bounded queue of every stream that
wants it. A reader that is too slow loses its stream, not its messages one by one: it connects anew and reads what it missed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import structlog

from simway_flask_app.store.port import StoreError
from simway_flask_app.web import limits
from simway_flask_app.web.changes import Changes, Message

log = structlog.get_logger(__name__)

_HEARTBEAT = b": heartbeat\n\n"
_READY = b"retry: 2000\nevent: ready\ndata: {}\n\n"


class TooManyStreams(Exception):
    """All streams are taken."""


class Stream(Iterator[bytes]):
    """The body of one event stream. Iterating blocks until there is something to send; ``close`` frees its place."""

    def __init__(self, device: str | None, *, heartbeat_s: float, max_s: float, on_close: Callable[[Stream], None]) -> None:
        self.device = device
        self._queue: queue.Queue[bytes | None] = queue.Queue(limits.STREAM_QUEUE_MAX)
        self._queue.put(_READY)
        self._heartbeat_s = heartbeat_s
        self._ends = time.monotonic() + max_s
        self._over = threading.Event()
        self._on_close = on_close

    def offer(self, message: Message) -> None:
        """Puts a message into the queue if this stream wants it; ends the stream when the queue is full. Never blocks."""
        if self.device not in {None, message.device}:
            return
        try:
            self._queue.put_nowait(message.frame)
        except queue.Full:
            self.end()

    def end(self) -> None:
        """Ends the stream: what is iterating it stops at once. Never blocks."""
        self._over.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return

    def __next__(self) -> bytes:
        left_s = self._ends - time.monotonic()
        if self._over.is_set() or left_s <= 0:
            raise StopIteration
        try:
            frame = self._queue.get(timeout=min(self._heartbeat_s, left_s))
        except queue.Empty:
            return _HEARTBEAT
        if frame is None:
            raise StopIteration
        return frame

    def close(self) -> None:
        """Frees the stream's place; the server calls it when the reader is gone."""
        self.end()
        self._on_close(self)


class LiveEvents:
    """The open streams and the thread that feeds them. Thread-safe. ``make_changes`` reads where the feeds stand."""

    def __init__(
        self, make_changes: Callable[[], Changes], *, streams_max: int = limits.STREAMS_MAX, poll_s: float = 0.4,
        heartbeat_s: float = limits.STREAM_HEARTBEAT_S, stream_max_s: float = limits.STREAM_MAX_S,
    ) -> None:  # fmt: skip
        self._make_changes = make_changes
        self._streams_max, self._poll_s, self._heartbeat_s, self._stream_max_s = streams_max, poll_s, heartbeat_s, stream_max_s
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._poller: threading.Thread | None = None
        self._stopping = threading.Event()

    def subscribe(self, device: str | None) -> Stream:
        """A new stream, of one device or of all; it misses nothing that happens after this returns.

        Raises ``TooManyStreams``, and ``StoreError`` when the feeds cannot be read. Blocks on the database.
        """
        with self._lock:
            if self._stopping.is_set() or len(self._streams) >= self._streams_max:
                raise TooManyStreams(
                    f"{len(self._streams)} event streams are open, which is all there may be. Close one, or try again later."
                )
            if self._poller is None:
                self._start_poller()
            stream = Stream(device, heartbeat_s=self._heartbeat_s, max_s=self._stream_max_s, on_close=self._forget)
            self._streams.add(stream)
            return stream

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        with self._lock:
            return len(self._streams)

    def stop(self) -> None:
        """Ends every stream; none opens any more. Returns at once, and may be called from a signal handler's thread."""
        self._stopping.set()
        for stream in list(self._streams):
            stream.end()

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)

    def _start_poller(self) -> None:
        changes = self._make_changes()
        self._poller = threading.Thread(target=self._poll, args=(changes,), name="live-events", daemon=True)
        self._poller.start()

    def _poll(self, changes: Changes) -> None:
        while not self._stopping.wait(self._poll_s):
            with self._lock:
                streams = list(self._streams)
                if not streams:
                    self._poller = None
                    return
            try:
                messages = changes.poll({stream.device for stream in streams})
            except StoreError as error:
                log.warning("web.live_poll_failed", error=str(error))
                continue
            except Exception:
                log.exception("web.live_poll_failed")
                continue
            for message in messages:
                for stream in streams:
                    stream.offer(message)
