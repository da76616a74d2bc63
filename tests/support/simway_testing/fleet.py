"""Several devices on one platform, each with a card and a radio of its own making."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from simway_testing.feeding import FedModem
from simway_testing.platform import Front, Process
from simway_testing.waiting import wait_for

ATTACHED_WITHIN_S = 60.0
PHASE_WITHIN_S = 30.0
PLMNS = ("99970", "99971", "99972")
PROVIDERS = ("Northwind Mobile", "Blue Harbour Telecom", "Alpine Connect")
REPORT_INTERVAL_S = 5
"""So often the cards of a fleet tell what they know themselves."""
DEADLINE_S = 30
"""The shortest that the platform takes."""


class Truck:
    """One device: its modem client as a process, its card's profiles (the first one is enabled), its coverage."""

    def __init__(self, front: Front, name: str, iccids: tuple[str, ...], process: Process, fed: FedModem | None) -> None:
        self.front, self.name, self.iccids, self.process, self.fed = front, name, iccids, process, fed

    @property
    def home(self) -> str:
        """The ICCID that it began with."""
        return self.iccids[0]

    @property
    def away(self) -> str:
        """The ICCID that tests switch to."""
        return self.iccids[1]

    def start(self) -> None:
        """Starts its modem client, again if it was killed."""
        (self.fed or self.process).start()

    def attached(self) -> bool:
        """Whether the platform has a session with it and knows its card."""
        shown = self.front.api.device(self.name)
        return bool(shown["inventory"] and shown["session"] and shown["session"]["attached"])

    def wait_attached(self) -> None:
        wait_for(self.attached, ATTACHED_WITHIN_S, lambda: f"{self.name} is attached\n{self.process.tail()}")

    def switch(self, iccid: str, **wishes: Any) -> str:
        """Orders a switch that must be taken; the command's id."""
        wishes = {"deadline_s": DEADLINE_S, **wishes}
        return str(self.front.api.command(self.name, kind="switch", iccid=iccid, **wishes)["id"])

    def follow(self, command_id: str, *until: str, seconds: float = 60.0) -> Any:
        """As ``Api.follow``."""
        return self.front.api.follow(self.name, command_id, set(until), seconds)

    def ask(self, kind: str) -> Any:
        """A ping or audit, executed: what the device said."""
        posted = self.front.api.command(self.name, kind=kind)
        return self.follow(posted["id"], "EXECUTED")["evidence"]

    def active_on_server(self) -> str:
        """The ICCID that the platform shows as active."""
        return str(self.front.api.device(self.name)["active_carrier"]["iccid"])

    def wait_phase(self, *phases: str) -> None:
        """Until the open switch in the device's journal stands in one of these phases."""
        wait_for(lambda: self._phase() in phases, PHASE_WITHIN_S, lambda: f"the switch is {phases}, not {self._phase()!r}")

    def _phase(self) -> str:
        journal = Path(self.process.settings["MODEM_DIR"]) / "journal.db"
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5)) as connection:
            row = connection.execute("SELECT phase FROM switch").fetchone()
        return row[0] if row else ""

    def card_words(self) -> list[Any]:
        """The card's own switch log as it was told to the platform, in order."""
        return [row["value"] for row in self.front.api.readings(self.name, sensor="sim/switch")]

    def counted(self, metric: str) -> dict[str, float]:
        """A counter of its modem client, by reason."""
        text = requests.get(f"http://127.0.0.1:{self.process.settings['MODEM_METRICS_PORT']}/metrics", timeout=60).text
        families = text_string_to_metric_families(text)
        return {
            sample.labels.get("reason", ""): sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"{metric}_total"
        }


class Fleet(Front):
    """Modem clients beside those of the tests; ``front``: the platform that they belong to."""

    def __init__(self, front: Front) -> None:
        super().__init__(front.api, front.udp, front.directory / "fleet")
        self.directory.mkdir(exist_ok=True)
        self._run = uuid.uuid4().hex[:6]
        self.trucks: dict[str, Truck] = {}

    def add(
        self, role: str, *, coverage: Mapping[str, str] = {}, faults: str = "", profiles: int = 3, test_profile: bool = False,
        fed: bool = False, server_port: int | None = None,
    ) -> Truck:  # fmt: skip
        """A device that is not yet started. ``coverage``: TOML lines by PLMN; ``faults``: TOML lines; ``fed``: it is given
        numbered readings, else it measures this machine; ``test_profile``: the card's last profile is of the test class."""
        name = f"{role}-{self._run}"
        iccids = tuple(f"89999{at}{len(self.trucks):03d}{int(self._run, 16):010d}" for at in range(profiles))
        home = self.directory / role
        home.mkdir()
        (home / "sim.toml").write_text(_sim_file(iccids, faults, test_profile))
        (home / "coverage.toml").write_text("".join(f"[carriers.{plmn}]\n{lines}\n" for plmn, lines in coverage.items()))
        settings = {"SIM_FILE": str(home / "sim.toml"), "COVERAGE_FILE": str(home / "coverage.toml"), "BEARER": "virtual"}
        if server_port is not None:
            settings["SERVER_PORT"] = str(server_port)
        feeder = FedModem(self, name, **settings) if fed else None
        process = feeder.process if feeder else self.modem(name, self.api.enrol(name), SOURCE="host", **settings)
        truck = self.trucks[role] = Truck(self, name, iccids, process, feeder)
        return truck


def _sim_file(iccids: tuple[str, ...], faults: str, test_profile: bool) -> str:
    lines = [f"report_interval_s = {REPORT_INTERVAL_S}"]
    for at, iccid in enumerate(iccids):
        lines += [
            "[[profiles]]", f'iccid = "{iccid}"', f'imsi = "{PLMNS[at]}{iccid[-10:]}"', f'provider = "{PROVIDERS[at]}"',
            f'class = "{"test" if test_profile and at == len(iccids) - 1 else "operational"}"',
        ]  # fmt: skip
    return "\n".join([*lines, "[faults]", faults, ""])
