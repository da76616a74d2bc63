"""From ``LOG_URL`` to a log."""

from __future__ import annotations

from collections.abc import Mapping

from simway_protocol.topics import TOPICS, Topic

from simway_backbone.log import Log


class BadLogUrl(ValueError):
    """``LOG_URL`` names no log: the operator's fault."""


def open_log(url: str, *, client_id: str, topics: Mapping[str, Topic] = TOPICS) -> Log:
    """The log at ``url``; nothing is made before ``ensure_topics``.

    ``sqlite:///var/log``: the embedded log in that folder (four slashes: an absolute path). ``kafka://host:port[,host:port...]``:
    Kafka, whose packages are imported only here. ``memory://``: a new log in this process, for tests. ``client_id`` is what
    Kafka's broker logs call this process. Raises ``BadLogUrl``.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or (scheme != "memory" and not rest.strip("/")):
        raise BadLogUrl(f"LOG_URL={url!r} is no log; write sqlite:///var/log or kafka://host:port")
    if scheme == "sqlite":
        from simway_backbone.embedded_log import EmbeddedLog

        if not rest.startswith("/"):
            raise BadLogUrl(f"LOG_URL={url!r}: write three slashes before a relative path, four before an absolute one")
        return EmbeddedLog(rest[1:], topics=topics)
    if scheme == "kafka":
        from simway_backbone.kafka_log import KafkaLog

        try:
            return KafkaLog(rest.rstrip("/").split(","), client_id=client_id, topics=topics)
        except ValueError as error:
            raise BadLogUrl(f"LOG_URL={url!r}: write kafka://host:port[,host:port...] ({error})") from error
    if scheme == "memory":
        from simway_backbone.memory_log import MemoryLog

        return MemoryLog(topics=topics)
    raise BadLogUrl(f"LOG_URL={url!r} begins with {scheme}://; there are sqlite:// and kafka://")
