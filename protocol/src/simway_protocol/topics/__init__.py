"""The topics of the log, one small JSON file each: producers, consumers, key, retention, version and examples.

Made by ``Log.ensure_topics``, and held to ``messages`` by tests: every example decodes and encodes to itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec


class Example(msgspec.Struct, frozen=True):
    """One record. ``value`` is the JSON that the record holds; bytes within it are base64 text."""

    note: str
    value: dict[str, Any]
    key: str | None = None


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic of the log.

    ``key``: what the record's key is: ``device`` (its id in UTF-8) or ``none``. Where ``partitions`` is above 1 the partition
    is ``identity.partition_of(device)`` and always given explicitly. ``retention_s``: None keeps for good. ``compacted``:
    only the newest record of each key is sure to be kept. ``version``: that of the message, its field ``v``.
    """

    name: str
    about: str
    partitions: int
    key: str
    retention_s: int | None
    compacted: bool
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    version: int
    examples: tuple[Example, ...]


def _load(name: str) -> Topic:
    return msgspec.json.decode((files(__name__) / f"{name}.json").read_bytes(), type=Topic)


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {name: _load(name) for name in ("uplink", "downlink", "device-events", "registry", "dead-letter")}
)
"""All topics by name."""
