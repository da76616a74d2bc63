"""Settings of the four entry points: one frozen dataclass each, made from an environment by a pure function (docs/settings.md).

Secrets stay in their files; a settings object holds their paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simway_backbone.logs import FORMATS, LEVELS
from simway_backbone.settings import Env, SettingError, read_secret
from simway_backbone.tracing import TraceSettings
from simway_protocol.identity import MASTER_SECRET_BYTES, is_device_id
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from simway_flask_app.policy import SWITCHES_PER_DAY_DEFAULT

AUDIT_INTERVAL_DEFAULT_S = 24 * 3600
AUDIT_INTERVAL_MAX_S = 365 * 24 * 3600
SESSION_TIMEOUT_DEFAULT_S = 10


@dataclass(frozen=True)
class StoreSettings:
    """Where the store is. ``password_file``: None where the URL has the password, or needs none."""

    url: str
    password_file: Path | None

    @classmethod
    def of(cls, env: Env) -> StoreSettings:
        """Raises ``SettingError``."""
        url = env.text("STORE_URL", "sqlite:///var/store.db")
        try:
            name = make_url(url).get_backend_name()
        except ArgumentError:
            raise SettingError("STORE_URL is no URL; write sqlite:///file or postgresql://user@host:port/database") from None
        if name not in ("sqlite", "postgresql"):
            raise SettingError(f"STORE_URL names {name}; write sqlite:///file or postgresql://user@host:port/database")
        return cls(url, _optional_path(env, "STORE_PASSWORD_FILE"))

    def complete_url(self) -> str:
        """The URL with the password from its file. Raises ``SettingError``."""
        if self.password_file is None:
            return self.url
        password = read_secret(self.password_file, "STORE_PASSWORD_FILE")
        return make_url(self.url).set(password=password).render_as_string(hide_password=False)


@dataclass(frozen=True)
class ServiceSettings:
    """Health, metrics and log lines of a process."""

    metrics_host: str
    metrics_port: int
    log_level: str
    log_format: str

    @classmethod
    def of(cls, env: Env, port_name: str, port: int) -> ServiceSettings:
        """Raises ``SettingError``."""
        return cls(env.text("METRICS_HOST", "127.0.0.1"), env.port(port_name, port), *_logging(env))


@dataclass(frozen=True)
class WebSettings:
    """``python -m simway_flask_app web``. ``switches_per_day``: of one device; 0 for no cap."""

    store: StoreSettings
    master_secret_file: Path
    admin_token_file: Path
    session_secret_file: Path
    host: str
    port: int
    service: ServiceSettings
    switches_per_day: int

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> WebSettings:
        """Raises ``SettingError``."""
        env = Env(mapping)
        return cls(
            StoreSettings.of(env), _master(env), _token(env), _session(env), env.text("WEB_HOST", "127.0.0.1"),
            env.port("WEB_PORT", 8000), ServiceSettings.of(env, "WEB_METRICS_PORT", 9105),
            env.integer("SWITCHES_PER_DAY", SWITCHES_PER_DAY_DEFAULT, least=0, most=100_000),
        )  # fmt: skip


@dataclass(frozen=True)
class RecorderSettings:
    """``python -m simway_flask_app recorder``. ``grafana_url`` empty: no live pushes."""

    log_url: str
    store: StoreSettings
    service: ServiceSettings
    raw_retention_days: int
    group_session_timeout_s: float
    grafana_url: str
    grafana_admin_user: str
    grafana_admin_password_file: Path | None
    grafana_token_file: Path
    traces: TraceSettings

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> RecorderSettings:
        """Raises ``SettingError``."""
        env = Env(mapping)
        return cls(
            _log(env), StoreSettings.of(env), ServiceSettings.of(env, "RECORDER_METRICS_PORT", 9102),
            env.integer("RAW_RETENTION_DAYS", 30, least=1, most=36_500),
            env.integer("GROUP_SESSION_TIMEOUT_S", SESSION_TIMEOUT_DEFAULT_S, least=6, most=30), env.text("GRAFANA_URL", ""),
            env.text("GRAFANA_ADMIN_USER", "admin"), _optional_path(env, "GRAFANA_ADMIN_PASSWORD_FILE"),
            env.path("GRAFANA_TOKEN_FILE", "var/secrets/grafana.token"), TraceSettings.of(env),
        )  # fmt: skip


@dataclass(frozen=True)
class DispatcherSettings:
    """``python -m simway_flask_app dispatcher``. ``audit_interval_s``: 0 for no scheduled audits."""

    log_url: str
    store: StoreSettings
    service: ServiceSettings
    master_secret_file: Path
    audit_interval_s: int

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> DispatcherSettings:
        """Raises ``SettingError``."""
        env = Env(mapping)
        return cls(
            _log(env), StoreSettings.of(env), ServiceSettings.of(env, "DISPATCHER_METRICS_PORT", 9103), _master(env),
            env.integer("AUDIT_INTERVAL_S", AUDIT_INTERVAL_DEFAULT_S, least=0, most=AUDIT_INTERVAL_MAX_S),
        )  # fmt: skip


@dataclass(frozen=True)
class InitSettings:
    """``python -m simway_flask_app init``. ``grafana_reader_password_file`` None: no database role for Grafana is made."""

    log_url: str
    store: StoreSettings
    master_secret_file: Path
    admin_token_file: Path
    session_secret_file: Path
    device: str
    device_key_file: Path
    grafana_reader_password_file: Path | None
    log_level: str
    log_format: str

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> InitSettings:
        """Raises ``SettingError``."""
        env = Env(mapping)
        device = env.text("DEVICE_ID", "demo")
        if not is_device_id(device):
            raise SettingError(f"DEVICE_ID={device!r} is no device id: 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or digit first")
        return cls(
            _log(env), StoreSettings.of(env), _master(env), _token(env), _session(env), device,
            env.path("DEVICE_KEY_FILE", "var/secrets/demo.key"), _optional_path(env, "GRAFANA_READER_PASSWORD_FILE"),
            *_logging(env),
        )  # fmt: skip


def read_master_secret(path: Path) -> bytes:
    """The master secret, 32 bytes. Raises ``SettingError``."""
    text = read_secret(path, "MASTER_SECRET_FILE")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != MASTER_SECRET_BYTES:
        raise SettingError(f"MASTER_SECRET_FILE={path} must hold {2 * MASTER_SECRET_BYTES} hex digits")
    return secret


def _log(env: Env) -> str:
    return env.text("LOG_URL", "sqlite:///var/log")


def _master(env: Env) -> Path:
    return env.path("MASTER_SECRET_FILE", "var/secrets/master.key")


def _token(env: Env) -> Path:
    return env.path("ADMIN_TOKEN_FILE", "var/admin.token")


def _session(env: Env) -> Path:
    return env.path("SESSION_SECRET_FILE", "var/secrets/session.key")


def _logging(env: Env) -> tuple[str, str]:
    return env.choice("LOG_LEVEL", LEVELS, "info"), env.choice("LOG_FORMAT", FORMATS, "console")


def _optional_path(env: Env, name: str) -> Path | None:
    text = env.text(name, "")
    return Path(text) if text else None
