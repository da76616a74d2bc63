"""``init``: makes what is missing (secrets, schema, topics, the demo device, Grafana's database role); what is there stays.

It may run any number of times, before each start. Secrets are files of mode 0600 that appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from simway_backbone import open_log
from simway_backbone.log import LogUnavailable
from simway_backbone.settings import read_secret
from simway_protocol.identity import MASTER_SECRET_BYTES, derive_device_key

from simway_flask_app.settings import InitSettings, read_master_secret
from simway_flask_app.store.port import DeviceExists, StoreUnavailable
from simway_flask_app.store.sql import SqlStore, open_store

log = structlog.get_logger()

PATIENCE_S = 60.0
"""So long a log or store that is just starting is waited for."""
SESSION_SECRET_BYTES = 32
KEY_VERSION = 1
T = TypeVar("T")


def initialise(settings: InitSettings, *, now_us: Callable[[], int]) -> None:
    """Makes what is missing. Raises ``SettingError``, ``LogError``, ``StoreError``."""
    make_secrets(settings)
    store = open_store(settings.store.complete_url())
    try:
        if _patiently(store.migrate, StoreUnavailable):
            log.info("schema brought up to date")
        _make_grafana_role(settings, store)
        _make_topics(settings.log_url)
        with contextlib.suppress(DeviceExists):
            store.add_device(settings.device, name="Demo device", now_us=now_us(), actor="init")
            log.info("device registered", device=settings.device)
    finally:
        store.close()


def make_secrets(settings: InitSettings) -> None:
    """The secrets that are not there yet, and the demo device's key, which follows from the master secret."""
    _make(settings.master_secret_file, secrets.token_hex(MASTER_SECRET_BYTES))
    _make(settings.session_secret_file, secrets.token_hex(SESSION_SECRET_BYTES))
    _make(settings.admin_token_file, secrets.token_urlsafe(32))
    master = read_master_secret(settings.master_secret_file)
    key = derive_device_key(master, settings.device, KEY_VERSION).hex()
    if not _make(settings.device_key_file, key) and settings.device_key_file.read_text().strip() != key:
        log.warning("the device key is not of this master secret; writing it anew", file=str(settings.device_key_file))
        _write(settings.device_key_file, key, replace=True)


def _make(path: Path, text: str) -> bool:
    """Writes a new file of mode 0600; False when there is one."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        _write(path, text, replace=False)
    except FileExistsError:
        return False
    log.info("made", file=str(path))
    return True


def _write(path: Path, text: str, *, replace: bool) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _make_grafana_role(settings: InitSettings, store: SqlStore) -> None:
    if settings.grafana_reader_password_file is not None and not store.is_sqlite:
        store.ensure_grafana_role(read_secret(settings.grafana_reader_password_file, "GRAFANA_READER_PASSWORD_FILE"))


def _make_topics(url: str) -> None:
    opened = _patiently(lambda: open_log(url, client_id="init"), LogUnavailable)
    try:
        _patiently(opened.ensure_topics, LogUnavailable)
    finally:
        opened.close()


def _patiently(action: Callable[[], T], passing: type[Exception]) -> T:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action()
        except passing as error:
            if time.monotonic() > deadline_s:
                raise
            log.info("waiting", detail=str(error))
            time.sleep(1)
