"""One worker process: an event loop around the endpoint. Datagrams come in sweeps (``inbox``) through the endpoint and admission;
what a sweep leaves to send goes out once at its end.

Start: endpoint answering BUSY -> topics -> registry -> open commands -> ready. End (the parent closes the control socket, or
SIGTERM): no more datagrams -> sessions end -> the batcher's last flush, its ACKs -> the last events -> the log closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import structlog
import uvloop
from prometheus_client import REGISTRY
from simway_backbone import metrics
from simway_backbone.log import Log, LogUnavailable, Record
from simway_backbone.tracing import open_tracer
from simway_ingest.appender import Appender
from simway_ingest.batcher import Batcher, Settled
from simway_ingest.dead_letters import DeadLetters
from simway_ingest.follower import Follower, offset_before
from simway_ingest.registry import Registry
from simway_protocol import messages
from simway_protocol.identity import derive_device_key
from simway_protocol.messages import BadMessage, RegistryEntry
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.server import ServerEndpoint

from simway_udp_server.control import Report, read_orders, send_report
from simway_udp_server.counts import Counts
from simway_udp_server.exchange import Exchange, Token
from simway_udp_server.inbox import Handle, Inbox
from simway_udp_server.settings import DAY_US, Settings
from simway_udp_server.totals import to_families
from simway_udp_server.traces import Traces

GC_THRESHOLDS = (20_000, 50, 100)
"""What waits for the log is thousands of small tuples without cycles; to look at them at every 700th is a waste."""
LOADING_RETRY_MS = 1_000
LOG_RETRY_S = 1.0
DOWNLINK_PATIENCE_S, EVENTS_PATIENCE_S = 0.010, 0.1
"""A command waits for the first; by the second a session that a newer one elsewhere has replaced ends."""
REPORT_INTERVAL_S = 1.0
FOR_EVER_US = 2**62
CLOCK_MARGIN_US = 60_000_000
"""By how much the clocks of those who append to the log may differ."""
_OURS = ("simway_batch_", "simway_log_", "simway_consumer_", "simway_trace_")
"""Families of the process' registry that a worker sets; the others are ``Counts``."""
FLUSH_DEADLINE_S, EVENTS_DEADLINE_S, LOG_DEADLINE_S = 3.0, 2.0, 2.0
END_DEADLINE_S = 7.0
"""Then it ends, whatever is still open: what was not acknowledged comes again. A parent would wait a second longer."""

_log = structlog.get_logger("worker")


def utc_us() -> int:
    """Now, in UTC microseconds."""
    return time.time_ns() // 1_000


def run_worker(index: int, udp: socket.socket, control: socket.socket, settings: Settings, log: Log) -> bool:
    """Serves until the parent closes ``control``, or SIGTERM; False when something failed. Blocks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides

    async def main() -> bool:
        return await Worker(index, udp, control, settings, log).run()

    return uvloop.run(main())


class Worker:
    """See the module."""

    def __init__(self, index: int, udp: socket.socket, control: socket.socket, settings: Settings, log: Log) -> None:
        self._loop = asyncio.get_running_loop()
        self._udp, self._control, self._log, self._settings = udp, control, log, settings
        self._stop = asyncio.Event()
        self._loaded = False
        self._waits_for = f"the log to answer ({settings.log_url.rpartition('@')[2]})"
        self._timer: asyncio.TimerHandle | None = None
        self._armed_us = 0
        self._send_wanted = False
        self._failed = False
        master_secret = settings.master_secret()
        self._counts = Counts()
        self._registry = Registry(log, self._registry_changed)
        self._endpoint = ServerEndpoint(
            worker_index=index,
            device_key=lambda device, version: derive_device_key(master_secret, device, version),
            check_device=self._registry.check,
            random=os.urandom,
        )
        self._endpoint.busy(LOADING_RETRY_MS)
        self._letters = DeadLetters(log, self._loop)
        self._counts.dead_letters = self._letters.by_reason
        self._events = Appender(log, self._loop, "device-events")
        self._tracer = open_tracer(settings.traces, "udp-server")
        self._exchange = Exchange(
            self._endpoint,
            events=self._events,
            letters=self._letters,
            counts=self._counts,
            check_device=self._registry.check,
            retention_us=self._retention_us,
            announces_expiry=index == 0,
            wake=self._want_send,
            traces=Traces(self._tracer) if self._tracer is not None else None,
            place=f"{socket.gethostname()}:{udp.getsockname()[1]}",
            worker=index,
        )
        self._batcher: Batcher[Token] = Batcher(log, self._loop, self._settled)
        self._exchange.batcher = self._batcher
        self._inbox = Inbox(self._loop, udp, self._counts, self._handler(), self._send)
        self._followers: list[Follower] = []

    async def run(self) -> bool:
        """Starts, serves, ends; False when it ended because something failed."""
        self._loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        self._loop.add_reader(self._control.fileno(), self._read_control)
        self._inbox.begin()
        tasks = [self._loop.create_task(self._beat()), self._loop.create_task(self._load())]
        for task in tasks:
            task.add_done_callback(self._task_ended)
        await self._stop.wait()
        self._inbox.end()
        self._end_for_sure()
        for task in tasks:
            task.cancel()
        await self._close()
        return not self._failed

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """A task that fails ends the worker: the parent starts another."""
        if not task.cancelled() and task.exception() is not None:
            _log.error("failed", exc_info=task.exception())
            self._failed = True
            self._stop.set()

    # --- datagrams -----------------------------------------------------------------------------------------------------------

    def _handler(self) -> Handle:
        """Takes a datagram through the endpoint and what follows from it. An IPv6 address comes with its scope, which is no part
        of who a sender is."""
        receive, take = self._endpoint.receive, self._exchange.take
        if self._udp.family == socket.AF_INET6:
            return lambda datagram, address, now_us: take(receive(datagram, address[:2], now_us), now_us)
        return lambda datagram, address, now_us: take(receive(datagram, address, now_us), now_us)

    def _send(self, now_us: int) -> None:
        self._send_wanted = False
        counts, sendto = self._counts, self._udp.sendto
        for datagram, address in self._endpoint.take_output(now_us):
            try:
                sendto(datagram, address)
            except OSError:  # no room in the send buffer, or no way there: the protocol sends again
                counts.send_dropped += 1
                continue
            counts.datagrams_out += 1
            counts.bytes_out += len(datagram)
        self._arm(now_us)

    def _want_send(self) -> None:
        if not self._send_wanted:
            self._send_wanted = True
            self._loop.call_soon(lambda: self._send(utc_us()))

    def _arm(self, now_us: int) -> None:
        """Sets the timer, unless one rings early enough."""
        deadline_us = self._endpoint.next_deadline_us()
        if deadline_us is None or (self._timer is not None and self._armed_us <= deadline_us):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_us = deadline_us
        self._timer = self._loop.call_later(max(0.001, (deadline_us - now_us) / 1e6), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_us = utc_us()
        self._exchange.take(self._endpoint.tick(now_us), now_us)
        self._send(now_us)

    def _settled(self, results: list[Settled[Token]]) -> None:
        now_us = utc_us()
        self._exchange.settled(results, now_us)
        self._say_if_busy()
        self._send(now_us)

    def _say_if_busy(self) -> None:
        self._endpoint.busy(self._batcher.busy_ms if self._loaded else LOADING_RETRY_MS)

    # --- what the log tells --------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Reads who may come in and what is to be sent; until then devices are told to come again."""
        await self._until_there(self._ensure_topics)
        self._waits_for = "the registry and the open commands, which are being read"
        self._registry.start()
        await self._until_there(lambda: self._registry.wait_ready(0.2))
        await self._follow("downlink", self._exchange.downlink, patience_s=DOWNLINK_PATIENCE_S)
        oldest_us = self._exchange.commands.oldest_us() or utc_us()
        since_us = min(oldest_us, utc_us() - DAY_US) - CLOCK_MARGIN_US
        await self._follow("device-events", self._exchange.device_events, patience_s=EVENTS_PATIENCE_S, since_us=since_us)
        self._loaded = True
        self._exchange.announce(self._settings.udp_workers, utc_us())
        self._exchange.begin()
        self._say_if_busy()
        self._want_send()
        self._report()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        _log.info("ready", devices=len(self._registry), open_commands=len(self._exchange.commands))

    def _ensure_topics(self) -> bool:
        try:
            self._log.ensure_topics()
        except LogUnavailable as error:
            _log.warning("the log is away", error=str(error))
            self._waits_for = f"the log: {error}"
            time.sleep(LOG_RETRY_S)
            return False
        return True

    async def _until_there(self, step: Callable[[], bool]) -> None:
        """Repeats a step that blocks, in a thread that keeps the worker from nothing: a log that is away is waited for for a
        minute at a time, and the end of the worker shall not wait for it.
        """
        there: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            if there.done():
                return
            if error is None:
                there.set_result(None)
            else:
                there.set_exception(error)

        def repeat() -> None:
            failed = None
            try:
                while not self._stop.is_set() and not step():
                    pass
            except Exception as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended meanwhile
                self._loop.call_soon_threadsafe(settle, failed)

        threading.Thread(target=repeat, name="until-there", daemon=True).start()
        await there

    async def _follow(self, topic: str, take: Callable[[Any, int], None], *, patience_s: float, since_us: int = 0) -> None:
        follower = Follower(
            self._log,
            topic,
            partial(self._hand_over, topic, take),
            start=lambda: offset_before(self._log, topic, since_us) if since_us else None,
            patience_s=patience_s,
        )
        self._followers.append(follower)
        follower.start()
        await self._until_there(lambda: follower.caught_up.wait(0.2))

    def _hand_over(self, topic: str, take: Callable[[Any, int], None], records: Sequence[Record]) -> None:
        """In a follower's thread: decodes, and hands over to the loop."""
        found = []
        for record in records:
            try:
                found.append((messages.decode(topic, record.value), record.appended_us))
            except BadMessage:
                metrics.RECORDS_LOST.labels(topic, "unreadable").inc()
        self._loop.call_soon_threadsafe(self._taken, take, found)

    def _taken(self, take: Callable[[Any, int], None], found: list[Any]) -> None:
        now_us = utc_us()
        take(found, now_us)
        self._send(now_us)

    def _retention_us(self) -> int:
        """How old readings may be: as the registry tells; our own setting while it does not."""
        keep_us = self._registry.raw_keep_us
        if keep_us is None:
            return self._settings.retention_us
        return keep_us or FOR_EVER_US

    def _registry_changed(self, entry: RegistryEntry) -> None:
        """In the registry's thread: only what may end a session is of interest."""
        if entry.status != "active" or self._exchange.has_session(entry.device):
            self._loop.call_soon_threadsafe(self._check_again, entry)

    def _check_again(self, entry: RegistryEntry) -> None:
        now_us = utc_us()
        self._exchange.registry_changed(entry, now_us)
        self._send(now_us)

    # --- the parent ----------------------------------------------------------------------------------------------------------

    def _read_control(self) -> None:
        try:
            orders = read_orders(self._control)
        except BlockingIOError:
            return
        if orders is None:
            self._loop.remove_reader(self._control.fileno())
            self._stop.set()
        else:
            self._endpoint.set_cookie_periods([CookiePeriod(*period) for period in orders.cookie_periods])

    async def _beat(self) -> None:
        """Once a second: what has expired, whether we are busy, and a report to the parent."""
        while True:
            now_us = utc_us()
            self._exchange.expire(now_us)
            self._say_if_busy()
            self._send(now_us)
            self._report()
            await asyncio.sleep(REPORT_INTERVAL_S)

    def _report(self) -> None:
        others = (family for family in REGISTRY.collect() if family.name.startswith(_OURS))
        families = to_families(chain(self._counts.families(self._endpoint.sessions), others))
        send_report(self._control, Report(families, self._problems()))

    def _problems(self) -> list[str]:
        reading = [("registry", self._registry.error), *((f.name, f.error) for f in self._followers)]
        problems = [] if self._loaded else [f"waiting for {self._waits_for}"]
        problems += [f"{name}: {error}" for name, error in reading if error]
        if self._batcher.busy_ms:
            why = self._batcher.trouble or "it takes longer than it should to answer"
            problems.append(f"the log takes no readings, devices are told to wait: {why}")
        if self._events.failing:
            problems.append(f"device-events cannot be written: {self._events.trouble}")
        return problems

    # --- the end -------------------------------------------------------------------------------------------------------------

    def _end_for_sure(self) -> None:
        """A log that does not answer may hold each step of the end up; a worker whose parent is gone holds the port."""
        timer = threading.Timer(END_DEADLINE_S, os._exit, [1])
        timer.daemon = True
        timer.start()

    async def _close(self) -> None:
        await self._batcher.close(FLUSH_DEADLINE_S)
        now_us = utc_us()
        self._send(now_us)
        self._exchange.take(self._endpoint.shutdown(), now_us)
        if self._timer is not None:
            self._timer.cancel()
        await self._letters.close(EVENTS_DEADLINE_S)
        await self._events.close(EVENTS_DEADLINE_S)
        if self._tracer is not None:
            self._tracer.close()
        self._report()
        readers: list[Registry | Follower] = [self._registry, *self._followers]
        for reader in readers:
            reader.ask_to_stop()
        for reader in readers:
            reader.stop()
        self._log.close(LOG_DEADLINE_S)
