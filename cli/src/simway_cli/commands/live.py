"""``simway readings --follow``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from simway_cli.client import device_path
from simway_cli.commands.asking import PAGE_MAX, newest, value_text
from simway_cli.errors import Exit, Usage
from simway_cli.follow import events
from simway_cli.parsing import Arguments, Run
from simway_cli.table import clean

SENSORS_MAX = 50
"""In one question."""


class _Follower:
    """Prints each sensor's readings once, in order of their time. One that comes late, behind newer ones, is not shown."""

    def __init__(self, run: Run, args: Arguments) -> None:
        self._run, self._args = run, args
        self._path = device_path(args.device, "readings")
        self._seen: dict[str, int] = {}
        self._room = 0

    def begin(self, readings: Iterable[Any]) -> None:
        """What counts as seen already."""
        for item in readings:
            self._seen[item["sensor"]] = max(item["t_us"], self._seen.get(item["sensor"], item["t_us"]))

    def show(self, readings: Iterable[Any]) -> None:
        """Prints them and remembers them."""
        for item in readings:
            self._seen[item["sensor"]] = item["t_us"]
            if self._run.screen.json_:
                self._run.screen.record(item)
                continue
            self._room = max(self._room, len(item["sensor"]))
            value = clean(f"{value_text(item['value'])} {item['unit'] or ''}".rstrip())
            self._run.screen.line(f"{self._run.times.text(item['t_us'])}  {clean(item['sensor']).ljust(self._room)}  {value}")

    def wants(self, item: Any) -> bool:
        return not self._args.sensor or item["sensor"] in self._args.sensor

    def catch_up(self, newest: Sequence[Any]) -> None:
        """Prints what lies between what was seen and the newest readings: the stream tells of each sensor's newest alone."""
        fresh = [item for item in newest if self.wants(item) and item["t_us"] > self._seen.get(item["sensor"], item["t_us"] - 1)]
        if not fresh:
            return
        after = {item["sensor"]: self._seen.get(item["sensor"], item["t_us"] - 1) for item in fresh[:SENSORS_MAX]}
        query = {"sensor": list(after), "from": min(after.values()) + 1, "to": max(item["t_us"] for item in fresh) + 1}
        found = self._run.client.pages(self._path, "readings", query, limit=0, page_max=PAGE_MAX)
        self.show(item for item in found if item["t_us"] > after[item["sensor"]])
        self.catch_up(fresh[SENSORS_MAX:])


def follow(run: Run, args: Arguments) -> Exit:
    """Prints readings as they come, until Ctrl-C."""
    if args.to is not None:
        raise Usage("--follow has no end", hint="Leave --to away.")
    follower = _Follower(run, args)
    latest_path = device_path(args.device, "readings", "latest")
    begun = False
    for event in events(run.client, run.screen, args.device):
        if event.name == "ready":
            latest = run.client.get(latest_path)["readings"]
            if begun:
                follower.catch_up(latest)
                continue
            follower.begin(latest)
            if args.last is not None or args.from_ is not None:
                follower.show(newest(run, args)[0])
            begun = True
        elif event.name == "readings":
            follower.catch_up(event.data["readings"])
    return Exit.OK
