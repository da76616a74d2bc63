"""Devices that come back with 100,000 readings, beside devices that just go on; and what becomes of more than can be taken.

Live devices send one reading an uplink at a steady rate. Their waits, to the acknowledgement and until the reading is in the
store for anybody to see, are taken alone and while ten others drain what they have kept: twenty readings a datagram, as many
datagrams in flight and as fast one after the other as a modem client's own flight control allows. Then a flood goes out at once,
without looking at answers, and every datagram of it must turn up in some count: stored, told to come later, refused, or dropped
by the kernel where the server's metrics say so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client import Counter
from simway_backbone import metrics
from simway_flask_app.store.sql import SqlStore, open_store

from bench.figures import Figure, progress, publish, quantile
from bench.generator import Load
from bench.sending import Generator, Sent, send
from bench.services import UdpServer, recorder, udp_server
from bench.stored import Watch, await_drained, delays_s, open_for_looking, stored

BACKLOG_READINGS = 100_000
BACKLOG_PER_UPLINK = 20
LIVE_HZ = 400
AIM_DRAIN_PER_S = 10_000
AIM_LIVE_RATIO = 4
LIVE_DEVICES = tuple(f"live-{number}" for number in range(16))
BACK_DEVICES = tuple(f"back-{number}" for number in range(10))
FLOOD_DEVICES = tuple(f"flood-{number}" for number in range(32))
WARM_UP_UPLINKS = 2_000
SETTLE_S = 1.0
"""Live traffic goes on for so long before the backlog begins."""
REPORTED_WITHIN_S = 3.0
"""Workers report their counts once a second."""
HOUR_US, DAY_US = 3_600_000_000, 24 * 3_600_000_000


@dataclass(slots=True)
class Waits:
    """Seconds that live uplinks waited: ``ack`` for the acknowledgement, ``row`` until the store showed them."""

    ack: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)


def measure(
    directory: Path, log_url: str, store_url: str, name: str, *, live_s: float, rounds: int, flood_uplinks: int
) -> list[Figure]:
    """The figures on one pair of log and store. ``live_s``: how long live traffic is looked at before each backlog."""
    store = open_store(store_url)
    store.migrate()
    devices = [*LIVE_DEVICES, *BACK_DEVICES, *FLOOD_DEVICES]
    with udp_server(directory, log_url, devices) as target, recorder(directory, log_url, store_url):
        bench = _Bench(store, log_url, target, live_s)
        bench.warm_up()
        idle, busy, drained = Waits(), Waits(), []
        for number in range(1, rounds + 1):
            progress(
                f"backlog on {name}: round {number} of {rounds}, {BACKLOG_READINGS} readings beside {LIVE_HZ} live ones a second"
            )
            drained.append(bench.round(number, idle, busy))
        figures = _figures(name, idle, busy, sum(drained) / len(drained))
        progress(f"flood on {name}: {flood_uplinks} uplinks at once")
        figures += _flood_figures(name, bench.flood(flood_uplinks))
    store.close()
    return figures


@dataclass(frozen=True, slots=True)
class Flood:
    """Datagrams of one flood, by what became of them; ``refused``: with a reason that the server counts."""

    sent: int
    stored: int
    later: int
    refused: int
    kernel_dropped: int

    @property
    def unexplained(self) -> int:
        """Those that no count tells of."""
        return self.sent - self.stored - self.later - self.refused - self.kernel_dropped


class _Bench:
    def __init__(self, store: SqlStore, log_url: str, target: UdpServer, live_s: float) -> None:
        self._store, self._target, self._live_s = store, target, live_s
        self._log = open_for_looking(log_url)

    def warm_up(self) -> None:
        """Connections, caches, series: of the backlog's devices, then of the live ones."""
        send(self._back(0, WARM_UP_UPLINKS))
        send(self._live(0, WARM_UP_UPLINKS))
        await_drained(self._store, self._log)

    def round(self, number: int, idle: Waits, busy: Waits) -> float:
        """Readings of the backlog stored a second; adds the waits of live uplinks before it began, and while it drained."""
        back = self._back(number, BACKLOG_READINGS // BACKLOG_PER_UPLINK)
        live = self._live(number, int(LIVE_HZ * (2 * self._live_s + SETTLE_S)))
        with Generator(back) as backlog, Generator(live) as steady:
            watch = Watch(self._store, live.epoch, LIVE_DEVICES)
            back_watch = Watch(self._store, back.epoch, BACK_DEVICES)
            steady.go()
            time.sleep(SETTLE_S + self._live_s)
            backlog.go()
            kept, lived = backlog.result(), steady.result()
            await_drained(self._store, self._log)
            seen, back_seen = watch.close(), back_watch.close()
        _require(back, kept)
        _require(live, lived)
        end_s = max(looks[-1][0] for looks in back_seen.values())
        sort_waits(
            lived, seen, from_s=kept.began_s, to_s=end_s, settled_s=lived.began_s + SETTLE_S, idle=idle, busy=busy
        )  # fmt: skip
        return BACKLOG_READINGS / (end_s - kept.began_s)

    def flood(self, uplinks: int) -> Flood:
        """Sends without a window, and asks every count what became of it."""
        load = replace(self._load(FLOOD_DEVICES, 1, 99, uplinks), window=uplinks, tolerant=True)
        with Generator(load) as generator:
            before = self._target.service.counts()
            generator.go()
            generator.result()
        await_drained(self._store, self._log)
        time.sleep(REPORTED_WITHIN_S)
        after = self._target.service.counts()

        def more(counter: Counter) -> int:
            name = next(iter(counter.describe())).name + "_total"
            return int(after.get(name, 0) - before.get(name, 0))

        return Flood(
            load.uplinks_each * len(FLOOD_DEVICES), stored(self._store, load.epoch), more(metrics.UPLINKS_LATER),
            more(metrics.BAD_DATAGRAMS), more(metrics.KERNEL_DROPS),
        )  # fmt: skip

    def _back(self, number: int, uplinks: int) -> Load:
        return replace(self._load(BACK_DEVICES, BACKLOG_PER_UPLINK, number, uplinks), window=0)

    def _live(self, number: int, uplinks: int) -> Load:
        return replace(self._load(LIVE_DEVICES, 1, 50 + number, uplinks), rate_hz=LIVE_HZ, stamps=True)

    def _load(self, devices: tuple[str, ...], per: int, number: int, uplinks: int) -> Load:
        """Each number has an epoch and a time of its own, within the last days."""
        start_us = time.time_ns() // 1_000 - DAY_US + number % 50 * HOUR_US // 2
        return Load(
            self._target.port, self._target.master_hex, devices, uplinks, per, epoch=f"{number + 1:016x}", start_us=start_us
        )  # fmt: skip


def _require(load: Load, sent: Sent) -> None:
    due = load.uplinks_each * len(load.devices)
    if sent.uplinks != due:
        raise SystemExit(f"{due} uplinks were sent, {sent.uplinks} acknowledged, {sent.lost} never answered")


def sort_waits(
    lived: Sent,
    seen: dict[str, list[tuple[float, int]]],
    *,
    from_s: float,
    to_s: float,
    settled_s: float,
    idle: Waits,
    busy: Waits,
) -> None:
    """Puts each live uplink's waits where its sending falls: before the backlog (and settled), or while it drained."""
    for out_s, wait_s, kind in (
        *((out_s, wait_s, "ack") for out_s, wait_s in lived.waits()),
        *((out_s, wait_s, "row") for out_s, wait_s in delays_s(lived.sent_s, seen, 1)),
    ):
        if settled_s <= out_s < from_s:
            getattr(idle, kind).append(wait_s)
        elif from_s <= out_s <= to_s:
            getattr(busy, kind).append(wait_s)


def _figures(name: str, idle: Waits, busy: Waits, drained_per_s: float) -> list[Figure]:
    figures = [
        publish(
            Figure(
                f"backlog_{name}_drained", drained_per_s, "readings/s", f"aim {AIM_DRAIN_PER_S}", drained_per_s / AIM_DRAIN_PER_S
            )
        )
    ]
    for kind, alone, beside in (("ack", idle.ack, busy.ack), ("row", idle.row, busy.row)):
        idle_ms, busy_ms = quantile(alone, 0.99) * 1000, quantile(beside, 0.99) * 1000
        against = f"its value without a backlog, aim under {AIM_LIVE_RATIO}"
        figures += [
            publish(Figure(f"live_{kind}_{name}_idle_p99", idle_ms, "ms", "no backlog")),
            publish(Figure(f"live_{kind}_{name}_beside_backlog_p99", busy_ms, "ms", against, busy_ms / idle_ms)),
        ]
    return figures


def _flood_figures(name: str, flood: Flood) -> list[Figure]:
    said = (
        ("stored", flood.stored),
        ("later", flood.later),
        ("refused", flood.refused),
        ("kernel_dropped", flood.kernel_dropped),
    )
    return [
        publish(Figure(f"flood_{name}_sent", flood.sent, "datagrams")),
        *(publish(Figure(f"flood_{name}_{what}", count, "datagrams", "sent", count / flood.sent)) for what, count in said),
        publish(Figure(f"flood_{name}_unexplained", flood.unexplained, "datagrams", "aim 0")),
    ]  # fmt: skip
