"""The modem client's settings, from environment variables (docs/settings.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simway_backbone.logs import FORMATS, LEVELS
from simway_backbone.settings import Env, SettingError
from simway_protocol.identity import is_device_id
from simway_protocol.sim.numbering import ICCID_WORDS, is_iccid

from simway_modem_client.outbox import MAX_BYTES_DEFAULT

OUTBOX_LEAST_BYTES = 64 * 1024


@dataclass(frozen=True)
class ModemSettings:
    """One device. Paths as written; nothing is looked up here."""

    device: str
    key_version: int
    key_file: Path
    key_provider: str
    card_key_level: str
    server_host: str
    server_port: int
    local_port: int
    modem_dir: Path
    card: str
    card_reader: str
    card_iccid: str
    sim_file: Path | None
    bearer: str
    coverage_file: Path | None
    modem_port: str
    modem_interface: str
    source: str
    source_interval_s: float
    signal_interval_s: float
    outbox_max_bytes: int
    metrics_host: str
    metrics_port: int
    log_level: str
    log_format: str

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> ModemSettings:
        """Raises ``SettingError``, which names the variable."""
        env = Env(mapping)
        device = env.text("DEVICE_ID", "demo")
        if not is_device_id(device):
            raise SettingError(f"DEVICE_ID={device!r} is no device id: 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or digit first")
        card = env.text("CARD", "virtual")
        return cls(
            device=device,
            key_version=env.integer("DEVICE_KEY_VERSION", 1, least=1, most=2**32 - 1),
            key_file=env.path("DEVICE_KEY_FILE", "var/secrets/demo.key"),
            key_provider=env.choice("KEY_PROVIDER", ("card", "file"), "card"),
            card_key_level=env.choice("CARD_KEY_LEVEL", ("card", "profile"), "card"),
            server_host=env.text("SERVER_HOST", "127.0.0.1"),
            server_port=env.port("SERVER_PORT", 6001),
            local_port=env.port("LOCAL_PORT", 0),
            modem_dir=env.path("MODEM_DIR", "var/modem"),
            card=card,
            card_reader=env.text("CARD_READER", ""),
            card_iccid=_iccid(env.text("CARD_ICCID", "")),
            sim_file=env.optional_path("SIM_FILE"),
            bearer=env.text("BEARER", "virtual" if card == "virtual" else "none"),
            coverage_file=env.optional_path("COVERAGE_FILE"),
            modem_port=env.text("MODEM_PORT", ""),
            modem_interface=env.text("MODEM_INTERFACE", ""),
            source=env.choice("SOURCE", ("host", "stdin", "csv"), "host"),
            source_interval_s=env.seconds("SOURCE_INTERVAL_S", 1),
            signal_interval_s=env.seconds("SIGNAL_INTERVAL_S", 10),
            outbox_max_bytes=env.integer("OUTBOX_MAX_BYTES", MAX_BYTES_DEFAULT, least=OUTBOX_LEAST_BYTES),
            metrics_host=env.text("METRICS_HOST", "127.0.0.1"),
            metrics_port=env.port("MODEM_METRICS_PORT", 9104),
            log_level=env.choice("LOG_LEVEL", LEVELS, "info"),
            log_format=env.choice("LOG_FORMAT", FORMATS, "console"),
        )

    @property
    def outbox_path(self) -> Path:
        """The readings that wait."""
        return self.modem_dir / "outbox.db"

    @property
    def journal_path(self) -> Path:
        """Counters, commands and the open switch."""
        return self.modem_dir / "journal.db"

    @property
    def status_path(self) -> Path:
        """What ``status`` reads, written once a second."""
        return self.modem_dir / "status.json"

    @property
    def card_settings(self) -> dict[str, str]:
        """What the card driver gets."""
        return {
            "state_file": str(self.modem_dir / "sim.json"), "reader": self.card_reader, "iccid": self.card_iccid,
            "port": self.modem_port, "sim_file": str(self.sim_file or ""),
        }  # fmt: skip

    @property
    def bearer_settings(self) -> dict[str, str]:
        """What the bearer gets."""
        coverage_file = str(self.coverage_file or "")
        return {"coverage_file": coverage_file, "port": self.modem_port, "interface": self.modem_interface}


def _iccid(text: str) -> str:
    """In upper case, without the spaces that people and SIM cards put between the digits."""
    digits = text.replace(" ", "").upper()
    if digits and not is_iccid(digits):
        raise SettingError(
            f"CARD_ICCID={text!r} is no ICCID: {ICCID_WORDS}; as printed on the card and by: simway-modem sim readers"
        )
    return digits
