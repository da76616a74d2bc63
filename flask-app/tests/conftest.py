"""Fixtures that several rooms of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_backbone import open_log
from simway_flask_app.store.sql import open_store
from simway_testing.ledger_house import House
from simway_testing.web_site import migrated


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    log = open_log("memory://", client_id="test")
    log.ensure_topics()
    (tmp_path / "store.db").write_bytes(migrated())
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    house = House(log, store)
    yield house
    house.dispatcher.close()
    store.close()
    log.close()
