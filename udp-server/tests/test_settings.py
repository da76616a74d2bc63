"""Settings come from the environment alone, and wrong ones are named."""

import pytest
from simway_backbone.settings import SettingError
from simway_udp_server.settings import Settings


def test_nothing_need_be_set():
    settings = Settings.from_env({})
    assert (settings.udp_port, settings.udp_workers, settings.metrics_port) == (6001, 1, 9101)
    assert settings.retention_us == 30 * 86_400 * 10**6


@pytest.mark.parametrize("name", ["UDP_PORT", "UDP_WORKERS", "UDP_METRICS_PORT", "RAW_RETENTION_DAYS", "LOG_LEVEL"])
def test_a_wrong_setting_is_named(name):
    with pytest.raises(SettingError, match=name):
        Settings.from_env({name: "many"})


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 31, "00" * 33])
def test_a_master_secret_that_is_none_is_named(tmp_path, text):
    (tmp_path / "master.key").write_text(text)
    with pytest.raises(SettingError, match="MASTER_SECRET_FILE"):
        Settings.from_env({"MASTER_SECRET_FILE": str(tmp_path / "master.key")}).master_secret()


def test_the_master_secret_is_hex_in_a_file(tmp_path):
    (tmp_path / "master.key").write_text(bytes(range(32)).hex() + "\n")
    settings = Settings.from_env({"MASTER_SECRET_FILE": str(tmp_path / "master.key")})
    assert settings.master_secret() == bytes(range(32))
    assert bytes(range(32)).hex() not in repr(settings)
