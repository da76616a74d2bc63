"""Settings of the udp-server (docs/settings.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simway_backbone import logs
from simway_backbone.settings import Env, SettingError, read_secret
from simway_backbone.tracing import TraceSettings
from simway_protocol.identity import MASTER_SECRET_BYTES

DAY_US = 24 * 3600 * 1_000_000
WORKERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """See docs/settings.md."""

    log_url: str
    master_secret_file: Path
    udp_host: str
    udp_port: int
    udp_workers: int
    metrics_host: str
    metrics_port: int
    raw_retention_days: int
    log_level: str
    log_format: str
    traces: TraceSettings

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> Settings:
        """Reads the environment; no file is touched. Raises ``SettingError``."""
        env = Env(mapping)
        return cls(
            log_url=env.text("LOG_URL", "sqlite:///var/log"),
            master_secret_file=env.path("MASTER_SECRET_FILE", "var/secrets/master.key"),
            udp_host=env.text("UDP_HOST", "0.0.0.0"),
            udp_port=env.port("UDP_PORT", 6001),
            udp_workers=env.integer("UDP_WORKERS", 1, least=1, most=WORKERS_MAX),
            metrics_host=env.text("METRICS_HOST", "127.0.0.1"),
            metrics_port=env.port("UDP_METRICS_PORT", 9101),
            raw_retention_days=env.integer("RAW_RETENTION_DAYS", 30, least=1, most=36_500),
            log_level=env.choice("LOG_LEVEL", logs.LEVELS, "info"),
            log_format=env.choice("LOG_FORMAT", logs.FORMATS, "console"),
            traces=TraceSettings.of(env),
        )

    @property
    def retention_us(self) -> int:
        """Raw retention in microseconds."""
        return self.raw_retention_days * DAY_US

    def master_secret(self) -> bytes:
        """The master secret, 32 bytes, from its file of hex digits. Raises ``SettingError``."""
        text = read_secret(self.master_secret_file, "MASTER_SECRET_FILE")
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != MASTER_SECRET_BYTES:
            raise SettingError(f"MASTER_SECRET_FILE={self.master_secret_file} must hold {2 * MASTER_SECRET_BYTES} hex digits")
        return secret
