"""Fixtures that several rooms of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_backbone import open_log
from simway_flask_app.store.sql import open_store
from simway_testing.ledger_house import House
from simway_testing.web_site import Site, migrated


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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The web app with one device enrolled; files that want another app have a fixture of this name of their own."""
    site = Site(tmp_path)
    site.enrol()
    yield site
    site.close()
