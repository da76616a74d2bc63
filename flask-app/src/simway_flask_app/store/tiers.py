"""How long each tier of readings is kept: set at run time, for all processes, with an entry of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping

from simway_protocol.limits import RAW_RETENTION_US
from simway_protocol.messages import EVERY_DEVICE, RegistryEntry
from sqlalchemy import Connection, insert, select, update

from simway_flask_app.store import outbox, trail
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import Tier
from simway_flask_app.store.schema import tiers

TIERS = ("raw", "minute", "hour", "day")
SETTINGS = "settings"
"""The actor of a value that follows the settings."""
KEEP_MIN_S = 86_400
KEEP_MAX_S = 36_500 * 86_400


class Tiers:
    """The part of the store that knows how long readings are kept."""

    _database: Database

    def retention(self) -> list[Tier]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return list(load(connection).values())

    def set_retention(self, keep_s: Mapping[str, int], *, actor: str, now_us: int) -> list[Tier]:
        """See ``port.WebStore``."""
        with trail.deciding(self._database) as connection:
            for tier, seconds in keep_s.items():
                if tier not in TIERS or not (seconds == 0 or KEEP_MIN_S <= seconds <= KEEP_MAX_S):
                    raise ValueError(f"{tier}: {seconds} s is no retention")
                _set(connection, tier, seconds, actor, now_us)
            return list(load(connection).values())


def load(connection: Connection) -> dict[str, Tier]:
    """Every tier by name, the finest first."""
    found = {row.tier: Tier(row.tier, row.keep_s, row.updated_us, row.actor) for row in connection.execute(select(tiers))}
    unset = Tier("raw", RAW_RETENTION_US // 1_000_000, 0, SETTINGS)
    return {tier: found.get(tier, unset) for tier in TIERS}


def follow_settings(database: Database, raw_keep_s: int, now_us: int) -> None:
    """Takes over what the settings say of raw readings, unless a person has set that tier."""
    with database.read() as connection:
        raw = load(connection)["raw"]
    if raw.actor == SETTINGS and (raw.keep_s != raw_keep_s or raw.updated_us == 0):
        with trail.deciding(database) as connection:
            if load(connection)["raw"] == raw:
                _set(connection, "raw", raw_keep_s, SETTINGS, now_us)


def note_gone(connection: Connection, tier: str, before_us: int) -> None:
    """Notes, in the transaction that deletes, that a tier has lost what is older: it stays so when more is kept again."""
    further = (tiers.c.tier == tier) & (tiers.c.gone_before_us < before_us)
    connection.execute(update(tiers).where(further).values(gone_before_us=before_us))


def announce(connection: Connection, now_us: int) -> None:
    """Tells gateways by the registry how long raw readings are kept, unless nobody has said so yet."""
    raw = load(connection)["raw"]
    if raw.updated_us:
        entry = RegistryEntry(EVERY_DEVICE, "revoked", [], now_us, raw.keep_s)
        outbox.enqueue(connection, "registry", entry, now_us)


def _set(connection: Connection, tier: str, keep_s: int, actor: str, now_us: int) -> None:
    before = load(connection)[tier]
    values = {"keep_s": keep_s, "updated_us": now_us, "actor": actor}
    if connection.execute(update(tiers).where(tiers.c.tier == tier).values(**values)).rowcount == 0:
        connection.execute(insert(tiers).values(tier=tier, **values))
    trail.append(
        connection, "retention.set", device="", actor=actor, subject=tier, now_us=now_us,
        detail={"keep_s": keep_s, "before_s": before.keep_s},
    )  # fmt: skip
    if tier == "raw":
        announce(connection, now_us)
