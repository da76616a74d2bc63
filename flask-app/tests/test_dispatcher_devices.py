"""What devices tell beside their commands: sessions and inventories are kept, and what cannot be kept stops nobody."""

from __future__ import annotations

from simway_flask_app.store.schema import dead_letters
from simway_protocol.messages import Attached, CommandEvent, Detached, Inventory
from simway_testing.ledger_house import ALPHA, BETA, PROFILES, T0_US, House, inventory
from sqlalchemy import select


def test_sessions_and_inventories_are_kept(house: House) -> None:
    house.attach()
    inventory(house)
    detail = house.store.device("demo")
    assert detail.session is not None
    assert (detail.session.iccid, detail.session.detached_us) == (ALPHA, None)
    assert detail.inventory is not None
    assert detail.inventory.active_profile == PROFILES[0]
    house.tell(Attached("demo", 1, "udp", BETA, 1, "00ff", 0, 1, house.now_us))
    house.tell(Detached("demo", 1, "udp", "superseded", house.now_us))
    assert house.store.device("demo").session == detail.session, "an older session changes nothing"
    house.tell(Detached("demo", house.generation, "udp", "idle", house.now_us + 5))
    session = house.store.device("demo").session
    assert session is not None
    assert (session.detached_us, session.detached_reason) == (house.now_us + 5, "idle")


def test_the_newest_inventory_is_that_of_the_newest_session_whatever_a_clock_says(house: House) -> None:
    house.attach()
    inventory(house, ALPHA)
    older, house.now_us = house.generation, house.now_us - 3600_000_000
    house.attach(BETA)
    inventory(house, BETA)
    house.tell(Inventory("demo", "udp", older, house.now_us + 7200_000_000, "89" * 16, ALPHA, PROFILES))
    held = house.store.device("demo").inventory
    assert held is not None
    assert (held.active_iccid, held.generation) == (BETA, house.generation)


def test_an_event_that_cannot_be_kept_stops_nobody(house: House) -> None:
    """A number that no database column takes."""
    house.tell(Attached("demo", 2**80, "udp", ALPHA, 1, "00ff", 0, 1, T0_US))
    house.attach()
    session = house.store.device("demo").session
    assert session is not None
    assert session.generation == house.generation
    with house.store.reading() as connection:
        assert [row.reason for row in connection.execute(select(dead_letters.c.reason))] == ["refused_by_store"]


def test_what_does_not_decode_goes_aside(house: House) -> None:
    house.log.append("device-events", 0, [(b"demo", b'{"type": "nonsense"}')]).result(60)
    house.attach()
    assert house.store.device("demo").session is not None
    with house.store.reading() as connection:
        assert [row.reason for row in connection.execute(select(dead_letters.c.reason))] == ["corrupt_record"]
    assert house.log.bounds("dead-letter")[0][1] == 1


def test_events_of_commands_and_devices_that_nobody_knows(house: House) -> None:
    house.tell(CommandEvent("demo", "00" * 16, "result", "udp", 1, T0_US, outcome="executed"))
    house.tell(Attached("stranger", 1, "udp", ALPHA, 1, "00ff", 5, 1, T0_US))
    house.attach()
    assert house.store.device("demo").session is not None
