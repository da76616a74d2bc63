"""``init`` and the settings: what is missing is made, what is there stays, and every error says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from simway_backbone import open_log
from simway_backbone.settings import SettingError
from simway_flask_app import init
from simway_flask_app.settings import (
    DispatcherSettings,
    InitSettings,
    RecorderSettings,
    StoreSettings,
    WebSettings,
    read_master_secret,
)
from simway_flask_app.store.sql import open_store
from simway_protocol.identity import derive_device_key
from simway_testing import postgres_server

ALL = (WebSettings, RecorderSettings, DispatcherSettings, InitSettings)
T0_US = 1_795_312_800_000_000


def settings(directory: Path, **more: str) -> InitSettings:
    given = {
        "LOG_URL": f"sqlite:///{directory}/log", "STORE_URL": f"sqlite:///{directory}/store.db",
        "MASTER_SECRET_FILE": f"{directory}/secrets/master.key", "ADMIN_TOKEN_FILE": f"{directory}/admin.token",
        "SESSION_SECRET_FILE": f"{directory}/secrets/session.key", "DEVICE_KEY_FILE": f"{directory}/secrets/demo.key",
    }  # fmt: skip
    return InitSettings.from_env(given | more)


def contents(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*.key")} | {
        "token": (directory / "admin.token").read_text()
    }


def test_init_makes_what_is_missing_and_only_once(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    init.initialise(chosen, now_us=lambda: T0_US)
    before = contents(tmp_path)
    assert sorted(before) == ["secrets/demo.key", "secrets/master.key", "secrets/session.key", "token"]
    for path in (*tmp_path.rglob("*.key"), tmp_path / "admin.token"):
        assert path.stat().st_mode & 0o777 == 0o600
    init.initialise(chosen, now_us=lambda: T0_US)
    assert contents(tmp_path) == before
    master = read_master_secret(chosen.master_secret_file)
    assert before["secrets/demo.key"].strip() == derive_device_key(master, "demo", 1).hex()
    store = open_store(chosen.store.url)
    assert [detail.device.device for detail in store.devices()] == ["demo"]
    store.check_schema()
    log = open_log(chosen.log_url, client_id="test")
    assert log.partitions("uplink") == 24
    log.close()


def test_a_device_key_of_another_master_secret_is_written_anew(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    init.make_secrets(chosen)
    right = chosen.device_key_file.read_text()
    chosen.device_key_file.write_text("00" * 32 + "\n")
    init.make_secrets(chosen)
    assert chosen.device_key_file.read_text() == right


def test_a_broken_master_secret_is_not_replaced(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.master_secret_file.parent.mkdir()
    chosen.master_secret_file.write_text("short")
    with pytest.raises(SettingError, match="MASTER_SECRET_FILE"):
        init.make_secrets(chosen)
    assert chosen.master_secret_file.read_text() == "short"


@pytest.mark.real
def test_grafanas_role_reads_the_views_and_nothing_else(tmp_path: Path, postgres_url: str) -> None:
    url = postgres_server.database(postgres_url)
    password = tmp_path / "reader.password"
    password.write_text("it's \\ secret\n")
    chosen = settings(tmp_path, STORE_URL=url, GRAFANA_READER_PASSWORD_FILE=str(password))
    for _ in range(2):
        init.initialise(chosen, now_us=lambda: T0_US)
    reader = {"user": "simway_grafana", "password": "it's \\ secret"}
    with psycopg.connect(url, autocommit=True, **reader) as connection:
        assert connection.execute("SELECT device FROM devices_view").fetchall() == [("demo",)]
        for view in ("readings_view", "latest_view", "series_view", "commands_view", "command_history_view"):
            assert connection.execute(f"SELECT * FROM {view}").fetchall() == []
        for refused in ("SELECT * FROM readings", "SELECT * FROM devices", "CREATE TABLE x (y int)", "DELETE FROM series_view"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                connection.execute(refused)


@pytest.mark.parametrize("kind", ALL)
def test_defaults_need_nothing(kind: Any) -> None:
    assert kind.from_env({}) == kind.from_env({"STORE_URL": "", "LOG_LEVEL": ""})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (WebSettings, "WEB_PORT", "80000"), (WebSettings, "STORE_URL", "nonsense"), (InitSettings, "STORE_URL", "mysql://x/y"),
        (RecorderSettings, "RAW_RETENTION_DAYS", "0"), (DispatcherSettings, "LOG_LEVEL", "loud"),
        (InitSettings, "DEVICE_ID", "no such id"), (DispatcherSettings, "DISPATCHER_METRICS_PORT", "x"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(kind: Any, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        kind.from_env({name: value})


def test_the_stores_password_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss/word\n")
    assert (
        StoreSettings("postgresql://simway@db:5432/simway", file).complete_url()
        == "postgresql://simway:p%40ss%2Fword@db:5432/simway"
    )
    with pytest.raises(SettingError, match="STORE_PASSWORD_FILE"):
        StoreSettings("postgresql://simway@db:5432/simway", tmp_path / "none").complete_url()


@pytest.mark.parametrize(
    ("command", "words"), [("recorder", "run 'python -m simway_flask_app init'"), ("dispatcher", "MASTER_SECRET_FILE")]
)
def test_a_service_without_init_ends_with_one_clear_line(tmp_path: Path, command: str, words: str) -> None:
    env = {"PATH": os.environ["PATH"], f"{command.upper()}_METRICS_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "simway_flask_app", command],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert words in error[0]
