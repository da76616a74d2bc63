"""Fixtures of the contract suites: a store on SQLite and on a real PostgreSQL, one each a module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.sql import SqlStore, open_store
from simway_testing import postgres_server
from simway_testing.stores import UplinkLog


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    return postgres_server.database(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[SqlStore]:
    store = open_store(url)
    assert store.migrate()
    yield store
    store.close()


@pytest.fixture
def device() -> str:
    return f"d-{uuid.uuid4().hex}"


@pytest.fixture
def follower() -> Follower:
    return Follower("recorder", uuid.uuid4().hex, "uplink")


@pytest.fixture
def log(store: SqlStore) -> UplinkLog:
    return UplinkLog(store)
