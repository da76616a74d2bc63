"""The web app on a real store in a folder, and short ways to put into that store what devices and gateways would."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from simway_flask_app import ledger
from simway_flask_app.clock import utc_now_us
from simway_flask_app.ledger import Event
from simway_flask_app.store import commands, registry
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.web.app import WebConfig, create_app
from simway_flask_app.web.problems import MEDIA_TYPE
from simway_protocol.messages import Attached, Inventory, Profile, Uplink
from simway_protocol.readings import Reading, Value

TOKEN = "a-token-for-tests-0123456789"
DEVICE = "demo"
ICCIDS = ("8988211000000000025", "8988211000000000033", "8988211000000000041")
PROVIDERS = ("Nordlink Mobile", "Azul Telecom", "Tatra Cellular")
API = "/api/v1"
T_US = 1_767_225_600_000_000
VALUES = [21.5, 0.0, 5e-324, 0, 2**53 + 1, -(2**63), True, False, "", 'a "b",\r\nü', {"a": [1, 2.5, None]}]


@cache
def migrated() -> bytes:
    """An empty SQLite store with the newest schema: making one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        store = open_store(f"sqlite:///{file}")
        store.migrate()
        store.close()
        return file.read_bytes()


class Site:
    """One app and its store. ``limits``: fields of ``WebConfig``, such as ``streams_max``."""

    def __init__(self, folder: Path, url: str = "", **limits: Any) -> None:
        if not url:
            (folder / "store.db").write_bytes(migrated())
        self.url = url or f"sqlite:///{folder / 'store.db'}"
        self.store: SqlStore = open_store(self.url)
        self.store.migrate()
        self._writer = self.store.uplink_writer()
        self._written = 0
        self._sequence = 1
        self.config = WebConfig(TOKEN, b"session secret of the tests", bytes(range(32)), **limits)
        self.app: Flask = create_app(self.config, self.store)

    def close(self) -> None:
        self.store.close()

    @staticmethod
    def now_us() -> int:
        """The app's clock."""
        return utc_now_us()

    @property
    def stranger(self) -> FlaskClient:
        """A client without credentials."""
        return self.app.test_client()

    @property
    def client(self) -> FlaskClient:
        """A client that sends the API token."""
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
        return client

    def enrol(self, device: str = DEVICE) -> str:
        self.store.add_device(device, name="", now_us=utc_now_us())
        return device

    def measure(self, sensor: str, *values: Value, unit: str | None = None, t_us: int = 0, step_us: int = 1_000_000) -> int:
        """Stores readings of ``DEVICE``, the first at ``t_us`` (0: such that the last is now); gives the first time."""
        first_us = t_us or utc_now_us() - (len(values) - 1) * step_us
        self.store_readings([Reading(sensor, first_us + index * step_us, value, unit) for index, value in enumerate(values)])
        return first_us

    def store_readings(self, readings: Sequence[Reading], device: str = DEVICE) -> None:
        now_us = utc_now_us()
        uplink = Uplink(device, "udp", now_us, "00000000000000aa", self._sequence, list(readings))
        follower = Follower("recorder", "log of the tests", "uplink")
        self._writer.store([uplink], follower, {0: (self._written, self._written + 1)}, now_us=now_us)
        self._written += 1
        self._sequence += len(readings)

    def attach(self, iccid: str = ICCIDS[0], generation: int = 1, device: str = DEVICE) -> None:
        event = Attached(device, generation, "udp", iccid, 1, "00000000000000aa", 0, 1, utc_now_us(), "192.0.2.7:6002")
        with self.store.transaction() as connection:
            registry.note_attached(connection, event)

    def hold(self, active: str = ICCIDS[0], device: str = DEVICE, providers: Sequence[str] = PROVIDERS) -> None:
        """Stores an inventory of three profiles, ``active`` being the enabled one."""
        profiles = [
            Profile(iccid, "a0", "enabled" if iccid == active else "disabled", provider, f"{provider} IoT")
            for iccid, provider in zip(ICCIDS, providers, strict=True)
        ]
        event = Inventory(device, "udp", 1, utc_now_us(), "89049032000001000000012345678901", active, profiles)
        with self.store.transaction() as connection:
            registry.note_inventory(connection, event)

    def happen(self, command_id: str, *events: Event, evidence: dict[str, Any] | None = None) -> None:
        """Moves a command along its ledger."""
        for event in events:
            now_us = utc_now_us()
            with self.store.transaction() as connection:
                row = commands.find(connection, command_id)
                after = ledger.move(row.kind, ledger.State(row.state), event)
                assert after is not None, f"{event} means nothing in {row.state}"
                commands.transition(
                    connection, row, after, actor="udp", event=event.value, t_us=now_us, now_us=now_us, evidence=evidence
                )


def every_kind(site: Site) -> list[Reading]:
    """Stores a reading of each of ``VALUES``, a sensor each, from ``T_US`` on; the readings."""
    made = [Reading(f"s{n:02}", T_US + n, value, "V" if n % 2 else None) for n, value in enumerate(VALUES)]
    site.store_readings(made)
    return made


def problem(response: Any, status: int, reason: str) -> Any:
    """The body of an error, checked for its shape."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == MEDIA_TYPE
    body = response.get_json()
    assert body["status"] == status
    assert body["reason"] == reason
    assert body["type"] == f"urn:simway:problem:{reason}"
    assert body["title"]
    assert body["detail"]
    return body
