"""The pairs of log and store that whole-platform tests run on."""

from __future__ import annotations

import pytest

PAIRS = ["sqlite", "kafka+postgres"]


def urls_of(pair: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """``log_url`` and ``store_url`` of a platform of its own; none for the embedded pair, whose files go to its folder.

    A broker's topics have fixed names, so one pytest process runs one platform on it.
    """
    if pair == "sqlite":
        return {}
    from simway_testing.postgres_server import database

    return {"log_url": request.getfixturevalue("kafka_url"), "store_url": database(request.getfixturevalue("postgres_url"))}
