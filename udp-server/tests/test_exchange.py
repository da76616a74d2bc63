"""The glue of one worker, between both ends of the protocol and a log in memory: no socket, and time is the test's."""

import asyncio
import os

import pytest
from simway_protocol import messages
from simway_protocol.commands import BodyType, Kind
from simway_protocol.messages import Attached, CommandEvent, Detached, Inventory, Profile, RegistryEntry
from simway_protocol.readings import Reading
from simway_protocol.udp import frames
from simway_protocol.udp.bodies import ResultPart, encode_result_part, result_digest
from simway_protocol.udp.events import (
    Acknowledged,
    AttachRefused,
    BusyUntil,
    CommandArrived,
    SessionLost,
    Settled,
)  # fmt: skip
from simway_protocol.udp.reports import Report
from simway_testing.exchange_world import (
    COMMAND_ID,
    EPOCH,
    ICCID,
    START_US,
    Client,
    command,
    readings,
    run,
)
from simway_udp_server import exchange
from simway_udp_server.exchange import NO_COMMAND


def test_an_attach_is_published_with_what_the_device_said():
    async def scenario(world):
        client = await world.attached()
        (event,) = world.events()
        assert (event.device, event.iccid, event.epoch, event.address) == ("demo", ICCID, EPOCH, "192.0.2.1:40000")
        assert event.generation == client.endpoint.generation
        assert world.log.records("device-events")[0].key == b"demo"

    run(scenario)


def test_readings_are_acknowledged_when_the_log_has_them_and_not_before():
    async def scenario(world):
        client = await world.attached()
        world.log.hold()
        sent = readings(world)
        assert client.endpoint.send_data(1, sent, [], world.now_us) == 3
        await world.settle()
        assert client.logged == []
        world.log.release()
        await world.until(lambda: client.logged)
        assert client.logged == [(1, 3)]
        (uplink,) = world.uplinks()
        assert (uplink.device, uplink.first_seq, uplink.readings) == ("demo", 1, sent)

    run(scenario)


def test_while_the_log_is_away_the_device_is_told_to_come_later_and_nothing_is_lost():
    async def scenario(world):
        client = await world.attached()
        world.log.outage = "no broker"
        client.endpoint.send_data(1, readings(world), [], world.now_us)
        await world.until(lambda: client.of(Acknowledged))
        assert client.of(Acknowledged)[0].later == [(1, 3)]
        assert client.of(Acknowledged)[0].later_ms >= 250
        assert client.logged == []
        client.endpoint.send_data(4, readings(world), [], world.now_us)
        await world.settle()
        world.log.outage = None
        world.exchange.batcher._away_until_s = 0
        world.now_us += 10 * 10**6
        client.endpoint.send_data(1, readings(world), [], world.now_us)
        await world.until(lambda: (1, 3) in client.logged)

    run(scenario)


def test_what_cannot_be_admitted_is_refused_for_good_and_kept():
    async def scenario(world):
        client = await world.attached()
        old = Reading("a", world.now_us - 40 * 86_400 * 10**6, 1)
        client.endpoint.send_data(1, [old, *readings(world, 1)], [], world.now_us)
        await world.until(lambda: client.of(Acknowledged))
        (ack,) = client.of(Acknowledged)
        assert ack.rejected == [(1, 1, "too_old")]
        assert ack.logged == [(2, 2)]
        (letter,) = [messages.decode("dead-letter", record.value) for record in world.log.records("dead-letter")]
        assert (letter.device, letter.seq, letter.reason, letter.reading) == ("demo", 1, "too_old", old)
        assert world.counts.rejected == {"too_old": 1}

    run(scenario)


def test_how_old_readings_may_be_is_what_holds_now():
    async def scenario(world):
        client = await world.attached()
        old = Reading("a", world.now_us - 40 * 86_400 * 10**6, 1)
        world.retention_us = 50 * 86_400 * 10**6
        client.endpoint.send_data(1, [old], [], world.now_us)
        await world.until(lambda: client.logged == [(1, 1)])

    run(scenario)


def test_what_is_to_come_later_is_not_kept_as_a_dead_letter_yet():
    async def scenario(world):
        client = await world.attached()
        batcher = world.exchange.batcher
        batcher._backoff_s, batcher._away_until_s = 1.0, asyncio.get_running_loop().time() + 1_000
        old = Reading("a", world.now_us - 40 * 86_400 * 10**6, 1)
        client.endpoint.send_data(1, [old, *readings(world, 1)], [], world.now_us)
        await world.until(lambda: client.of(Acknowledged))
        assert client.of(Acknowledged)[0].later == [(1, 2)]
        assert world.letters.by_reason == {}

    run(scenario)


def test_dropped_ranges_count_only_where_they_are_admitted():
    async def scenario(world):
        client = await world.attached()
        client.endpoint.send_data(10, readings(world, 1), [(3, 5)], world.now_us)
        client.endpoint.send_data(20, readings(world, 1), [(20, 2**53 - 1)], world.now_us)
        await world.until(lambda: len(world.uplinks()) >= 2)
        assert world.counts.dropped_at_device == 3

    run(scenario)


def test_a_refused_device_does_not_attach():
    async def scenario(world):
        world.refusals["demo"] = "unknown_device"
        client = world.clients[40_000] = Client(world)
        client.attach()
        await world.until(lambda: client.of(AttachRefused))
        assert client.of(AttachRefused)[0].reason == "unknown_device"
        assert world.counts.refused["unknown_device"] == 1
        assert world.events() == []

    run(scenario)


def test_revoking_ends_the_session_at_once():
    async def scenario(world):
        await world.attached()
        world.refusals["demo"] = "revoked"
        world.exchange.registry_changed(RegistryEntry("demo", "revoked", [], 0), world.now_us)
        assert world.server.sessions == 0
        await world.until(lambda: any(isinstance(event, Detached) for event in world.events()))
        assert world.events()[-1].reason == "revoked"

    run(scenario)


@pytest.mark.parametrize(("versions", "sessions"), [([1, 2], 1), ([2], 0)])
def test_a_key_version_that_is_listed_no_more_ends_its_session(versions, sessions):
    async def scenario(world):
        await world.attached()
        world.exchange.registry_changed(RegistryEntry("demo", "active", versions, 0), world.now_us)
        assert world.server.sessions == sessions

    run(scenario)


def test_a_newer_session_elsewhere_ends_ours():
    async def scenario(world):
        client = await world.attached()
        (own,) = world.events()
        world.exchange.device_events([(own, world.now_us)], world.now_us)
        assert world.server.sessions == 1
        newer = Attached("demo", client.endpoint.generation + 1, "udp", ICCID, 2, EPOCH, 0, 1, world.now_us)
        world.exchange.device_events([(newer, world.now_us)], world.now_us)
        assert world.server.sessions == 0
        client.endpoint.send_data(1, readings(world), [], world.now_us)
        await world.settle()
        for _ in range(3):
            world.now_us += 5 * 10**6
            await world.settle()
        assert client.of(SessionLost)

    run(scenario)


@pytest.mark.parametrize(("kind", "told"), [(Kind.PING, []), (Kind.AUDIT, []), (Kind.SWITCH, ["sent", "received"])])
def test_only_what_ends_in_this_session_keeps_its_progress_for_the_result(monkeypatch, kind, told):
    """A switch's RESULT comes by another session: its worker would publish it before RECEIVED is out."""
    monkeypatch.setattr(exchange, "PROGRESS_PATIENCE_S", 3_600)

    async def scenario(world):
        client = await world.attached()
        world.exchange.downlink([(command(kind=kind), START_US)], world.now_us)
        await world.until(lambda: client.of(CommandArrived))
        client.endpoint.send_receipt(COMMAND_ID, 1, world.now_us)
        await world.settle()
        assert [event for event, _ in world.command_events()] == told
        client.endpoint.send_result(COMMAND_ID, "executed", "", {}, world.now_us)
        await world.until(lambda: client.of(Settled))
        assert [event for event, _ in world.command_events()] == ["sent", "received", "result"]

    run(scenario)


def test_a_command_goes_down_once_a_session_is_there_and_its_result_is_settled_when_logged():
    async def scenario(world):
        sent = command()
        world.exchange.downlink([(sent, START_US)], world.now_us)
        client = await world.attached()
        await world.until(lambda: client.of(CommandArrived))
        assert (client.of(CommandArrived)[0].body, client.of(CommandArrived)[0].mac) == (sent.body, sent.mac)
        client.endpoint.send_receipt(COMMAND_ID, 1, world.now_us)
        await world.until(lambda: ("received", "") in world.command_events())
        world.log.hold()
        client.endpoint.send_result(COMMAND_ID, "executed", "", {"x": 1}, world.now_us)
        await world.settle()
        assert client.of(Settled) == []
        world.log.release()
        await world.until(lambda: client.of(Settled))
        assert client.of(Settled) == [Settled(COMMAND_ID, "result")]
        assert world.command_events() == [("sent", ""), ("received", ""), ("result", "executed")]
        assert len(world.exchange.commands) == 0
        client.endpoint.send_closed(COMMAND_ID, "closed", world.now_us)
        await world.until(lambda: Settled(COMMAND_ID, "closed") in client.of(Settled))
        assert world.command_events()[-1] == ("closed", "closed")

    run(scenario)


def test_our_own_result_read_back_from_the_log_does_not_stop_the_confirm():
    async def scenario(world):
        client = await world.attached()
        world.exchange.downlink([(command(), START_US)], world.now_us)
        await world.until(lambda: client.of(CommandArrived))
        client.endpoint.send_result(COMMAND_ID, "executed", "", {}, world.now_us)
        await world.until(lambda: client.of(Settled))
        result = world.events()[-1]
        world.now_us += 1000
        world.exchange.downlink([(command(BodyType.CONFIRM), world.now_us)], world.now_us)
        world.exchange.device_events([(result, result.t_us)], world.now_us)
        await world.until(lambda: len(client.of(CommandArrived)) == 2)
        assert client.of(CommandArrived)[-1].body == command(BodyType.CONFIRM).body

    run(scenario)


def test_a_result_that_another_worker_logged_ends_the_command_here():
    async def scenario(world):
        world.exchange.downlink([(command(), START_US), (command(BodyType.CONFIRM), START_US + 20)], world.now_us)
        result = CommandEvent("demo", COMMAND_ID.hex(), "result", "udp", 1, 0, outcome="executed")
        world.exchange.device_events([(result, START_US + 10)], world.now_us)
        client = await world.attached()
        await world.settle()
        assert [arrived.body for arrived in client.of(CommandArrived)] == [command(BodyType.CONFIRM).body]

    run(scenario)


def test_a_command_that_nobody_sent_is_said_to_have_expired_and_never_sent():
    async def scenario(world):
        world.exchange.downlink([(command(expires_us=START_US + 10**6), START_US)], world.now_us)
        world.now_us += 10 * 10**6
        world.exchange.expire(world.now_us)
        await world.until(lambda: ("expired", "") in world.command_events())
        client = await world.attached()
        await world.settle()
        assert client.of(CommandArrived) == []

    run(scenario)


INVENTORY = {
    "eid": "89049032000000000000000000000001",
    "active_iccid": ICCID,
    "profiles": [{"iccid": ICCID, "aid": "a0", "state": "enabled", "provider": "Alpha"}],
}


def test_an_inventory_that_nobody_asked_for_is_logged_alone_and_settled():
    async def scenario(world):
        client = await world.attached()
        client.endpoint.send_result(NO_COMMAND, "executed", "", {"inventory": INVENTORY}, world.now_us)
        await world.until(lambda: client.of(Settled))
        (found,) = [event for event in world.events() if isinstance(event, Inventory)]
        assert (found.active_iccid, found.profiles) == (ICCID, [Profile(ICCID, "a0", "enabled", "Alpha")])
        assert world.command_events() == []

    run(scenario)


def test_an_inventory_that_is_none_is_put_aside_and_settled():
    async def scenario(world):
        client = await world.attached()
        client.endpoint.send_result(NO_COMMAND, "executed", "", {"inventory": [1]}, world.now_us)
        await world.until(lambda: client.of(Settled))
        await world.until(lambda: world.log.records("dead-letter"))
        assert not [event for event in world.events() if isinstance(event, Inventory)]

    run(scenario)


def test_a_result_that_breaks_a_rule_is_put_aside_and_settled():
    async def scenario(world):
        client = await world.attached()
        whole = frames.encode_body({1: "executed", 2: "", 3: {"a": float("inf")}})
        part = ResultPart(COMMAND_ID, result_digest(whole), 0, 1, whole)
        report = Report(
            frames.Type.RESULT, part.command_id, part.digest, [frames.encode_body(encode_result_part(part))], world.now_us
        )
        client.endpoint._reports._add(report)
        await world.until(lambda: client.of(Settled))
        await world.until(lambda: world.log.records("dead-letter"))
        assert world.counts.refused == {"bad_result": 1}
        assert world.command_events() == []

    run(scenario)


def test_an_audit_gives_both_the_inventory_and_the_result():
    async def scenario(world):
        client = await world.attached()
        world.exchange.downlink([(command(), START_US)], world.now_us)
        await world.until(lambda: client.of(CommandArrived))
        evidence = {"inventory": INVENTORY, "journal": {"state": "closed"}}
        client.endpoint.send_result(COMMAND_ID, "executed", "", evidence, world.now_us)
        await world.until(lambda: client.of(Settled))
        kinds = [type(event).__name__ for event in world.events()]
        assert kinds[-2:] == ["Inventory", "CommandEvent"]
        assert world.events()[-1].evidence["journal"] == {"state": "closed"}

    run(scenario)


def test_an_outage_of_the_log_delays_events_and_loses_none():
    async def scenario(world):
        world.log.outage = "no broker"
        client = world.clients[40_000] = Client(world)
        client.attach()
        await world.until(lambda: client.endpoint.attached)
        await world.settle()
        assert world.log.records("device-events") == []
        world.log.outage = None
        await world.until(world.events)

    run(scenario)


def test_busy_turns_away_who_wants_to_attach_and_lets_sessions_go_on():
    async def scenario(world):
        client = await world.attached()
        world.server.busy(700)
        late = world.clients[40_001] = Client(world, "late", 40_001)
        late.attach()
        await world.until(lambda: late.of(BusyUntil))
        assert late.of(BusyUntil)[0].retry_after_ms == 700
        client.endpoint.send_data(1, readings(world), [], world.now_us)
        await world.until(lambda: client.logged)

    run(scenario)


def test_no_datagram_stops_the_worker():
    async def scenario(world):
        client = await world.attached()
        client.endpoint.send_data(1, readings(world), [], world.now_us)
        sound = client.endpoint.take_output(world.now_us)[-1]
        bad = [sound[:cut] for cut in range(len(sound))]
        bad += [sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :] for at in range(len(sound))]
        bad += [os.urandom(size) for size in range(0, 1_400, 7)]
        for datagram in bad:
            world.exchange.take(world.server.receive(datagram, client.address, world.now_us), world.now_us)
        assert sum(world.counts.refused.values()) >= len(bad)
        for _ in range(2):
            world.exchange.take(world.server.receive(sound, client.address, world.now_us), world.now_us)
        assert world.counts.refused["replayed"] >= 1
        await world.until(lambda: client.logged)

    run(scenario)
