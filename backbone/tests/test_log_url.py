from __future__ import annotations

from pathlib import Path

import pytest
from simway_backbone import kafka_log, open_log
from simway_backbone.embedded_log import EmbeddedLog
from simway_backbone.kafka_log import KafkaLog, topic_settings
from simway_backbone.log import LogRefused
from simway_backbone.log_url import BadLogUrl
from simway_backbone.memory_log import MemoryLog
from simway_protocol.topics import TOPICS


@pytest.mark.parametrize(
    "url",
    ["", "var/log", "sqlite://", "sqlite://var/log", "kafka://", "kafka:///", "kafka://host:x", "amqp://host", "sqlite:///"],
)
def test_a_bad_url_says_what_to_write(url: str) -> None:
    with pytest.raises(BadLogUrl, match="LOG_URL"):
        open_log(url, client_id="x")


def test_urls_choose_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log("sqlite:///var/log", client_id="x")
    assert isinstance(log, EmbeddedLog)
    log.ensure_topics()
    assert (tmp_path / "var" / "log" / "log.db").exists()
    assert isinstance(open_log(f"sqlite:///{tmp_path}/other", client_id="x"), EmbeddedLog)
    assert isinstance(open_log("memory://", client_id="x"), MemoryLog)
    kafka = open_log("kafka://a:9092,b:9092", client_id="x")
    assert isinstance(kafka, KafkaLog)
    kafka.close()


def test_kafka_needs_crc32c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka.record.util.crc32c_c", None)
    with pytest.raises(LogRefused, match=r"crc32c.*pip install"):
        open_log("kafka://a:9092", client_id="x")
    assert kafka_log.WAITING_MAX_BYTES > 0


@pytest.mark.parametrize(
    ("name", "brokers", "settings"),
    [
        (
            "uplink",
            1,
            {"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "1", "flush.messages": "1"},
        ),
        ("uplink", 3, {"cleanup.policy": "delete", "min.insync.replicas": "2"}),
        ("registry", 1, {"cleanup.policy": "compact", "retention.ms": "-1", "flush.messages": "1"}),
    ],
)
def test_how_topics_are_made(name: str, brokers: int, settings: dict[str, str]) -> None:
    made = topic_settings(TOPICS[name], brokers)
    assert settings.items() <= made.items()
    assert ("flush.messages" in made) == (brokers == 1)
