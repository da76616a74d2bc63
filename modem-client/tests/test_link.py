"""The link against the real server endpoint, over networks of every kind."""

from __future__ import annotations

import pytest
from simway_modem_client.entries import make_entry
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.udp.events import AttachedTo
from simway_virtual_sim.radio_coverage import Carrier, Coverage

T0 = 1_790_000_000_000_000


def fill(world, count: int, start: int = 0) -> None:
    world.outbox.put([make_entry("n", start + index, "count", t_us=T0 + start + index) for index in range(count)])
    assert world.outbox.flush()


def drained(world) -> bool:
    return world.outbox.flush() and world.outbox.is_empty()


def test_it_attaches_with_the_cards_key_and_iccid(world) -> None:
    world.until(lambda: world.attached)
    session = world.server.attached[0]
    assert session.iccid == world.active_iccid()
    assert session.epoch == world.outbox.epoch
    assert session.boot_counter == 1
    assert world.link.state.attached


def test_readings_arrive_whole_and_leave_the_outbox(world) -> None:
    fill(world, 500)
    world.until(lambda: drained(world))
    assert world.server.logged == {
        (world.outbox.epoch, seq): Reading("n", T0 + seq - 1, seq - 1, "count") for seq in range(1, 501)
    }
    assert world.outbox.acknowledged() == [(1, 500, "logged")]


@pytest.mark.parametrize("seed", range(5))
def test_a_bad_network_loses_nothing(make_world, seed: int) -> None:
    world = make_world(seed=seed, loss=0.3)
    fill(world, 300)
    world.until(lambda: drained(world), within_s=600)
    assert sorted(seq for _epoch, seq in world.server.logged) == list(range(1, 301))


def test_what_the_full_outbox_dropped_is_reported_and_acknowledged(make_world) -> None:
    size = make_entry("n", 5, "count", t_us=T0).size_bytes
    world = make_world(outbox_bytes=10 * size + 20)
    fill(world, 30)
    assert world.outbox.dropped() != []
    world.until(lambda: drained(world))
    last = world.server.dropped[-1][1]
    assert world.server.dropped == [(1, last)]
    assert sorted(seq for _epoch, seq in world.server.logged) == list(range(last + 1, 31))
    assert world.outbox.acknowledged() == [(1, last, "dropped"), (last + 1, 30, "logged")]


def test_rejected_readings_are_not_sent_again(world) -> None:
    world.server.outcome = lambda seq: (Outcome.REJECTED, "too_old") if seq in (3, 4) else (Outcome.LOGGED, "")
    fill(world, 6)
    world.until(lambda: drained(world))
    assert world.outbox.acknowledged() == [(1, 2, "logged"), (3, 4, "rejected"), (5, 6, "logged")]
    assert (world.folder / "dead-letters.jsonl").read_text().count("too_old") == 2


def test_what_is_wanted_later_is_sent_later(world) -> None:
    world.server.outcome = lambda seq: (Outcome.LATER if seq % 2 else Outcome.LOGGED, "")
    world.server.later_ms = 2_000
    fill(world, 40)
    world.until(lambda: len(world.server.logged) == 20)
    world.server.outcome = lambda _seq: (Outcome.LOGGED, "")
    before_us = world.now_us
    world.until(lambda: drained(world))
    assert world.now_us - before_us > 1_000_000
    assert len(world.server.logged) == 40


def test_a_server_that_restarts_is_attached_to_again(world) -> None:
    fill(world, 50)
    world.until(lambda: drained(world))
    world.server.restart()
    fill(world, 50, start=50)
    world.until(lambda: drained(world))
    assert len(world.server.attached) == 2
    assert len(world.server.logged) == 100


def test_a_cut_network_is_waited_out_with_growing_patience(world) -> None:
    world.until(lambda: world.attached)
    world.net.cut = True
    fill(world, 10)
    opened = world.opened
    world.pass_time(600)
    assert not world.link.state.attached
    assert 3 < world.opened - opened < 40, "it keeps trying, ever more rarely, and resolves the name each time"
    world.net.cut = False
    world.until(lambda: drained(world), within_s=300)


def test_a_name_that_does_not_resolve_is_tried_again(world) -> None:
    world.path_trouble = "cannot resolve iot.example.org"
    world.pass_time(10)
    assert "cannot resolve" in world.link.state.trouble
    world.path_trouble = ""
    world.until(lambda: world.attached)


def test_a_refused_device_says_why_and_comes_back_later(world) -> None:
    world.server.refusal = "revoked"
    world.until(lambda: "revoked" in world.link.state.trouble)
    world.server.refusal = None
    world.until(lambda: world.attached, within_s=300)


def test_a_wrong_key_never_attaches(world) -> None:
    world.server.key = bytes(32)
    world.until(lambda: "refused" in world.link.state.trouble)
    assert not world.server.attached


def test_after_a_restart_of_the_device_the_rest_arrives_once(world) -> None:
    world.until(lambda: world.attached)
    fill(world, 200)
    world.until(lambda: len(world.server.logged) > 50)
    world.power_off()
    world.boot()
    world.until(lambda: drained(world))
    assert len(world.server.logged) == 200
    assert world.server.attached[-1].boot_counter == 2


def test_a_card_switched_by_other_means_is_noticed(world) -> None:
    world.until(lambda: world.attached)
    target = world.other_iccid()
    world.sim.use().enable(target)
    world.sim.use().apply_switch()
    world.until(lambda: len(world.server.attached) == 2, within_s=180)
    assert world.server.attached[-1].iccid == target


def test_junk_changes_nothing(world) -> None:
    world.until(lambda: world.attached)
    for size in (0, 1, 17, 33, 1_200):
        world.link.receive(world.random.randbytes(size))
    fill(world, 5)
    world.until(lambda: drained(world))
    assert len(world.server.attached) == 1


def test_an_attach_under_way_counts_for_the_iccid_that_it_named(world) -> None:
    """The card shows another profile, and the modem waits for its network, when the answer to the old ATTACH arrives."""
    world.until(lambda: world.attached)
    before, other, named = world.active_iccid(), world.other_iccid(), []
    world.agent.attached = lambda iccid, *_times: named.append(iccid)
    world.link.reattach()
    world.link.tick()
    world.sim.use().enable(other)
    world.sim.use().apply_switch()
    world.coverage = Coverage(carriers={other: Carrier(coverage="none")})
    world.link.reattach()
    world.link.tick()
    assert "no coverage" in world.link.state.trouble
    world.link._handle([AttachedTo(bytes(8), 2, world.now_us)], world.now_us)
    assert named == [before]
    assert world.link.state.iccid == before


def test_a_slow_card_does_not_use_up_the_time_of_the_attach(world, monkeypatch) -> None:
    world.until(lambda: world.attached)
    read = type(world.sim.use()).iccid

    def slow(uicc) -> str:
        world.now_us += 60_000_000
        return read(uicc)

    monkeypatch.setattr(type(world.sim.use()), "iccid", slow)
    world.link.reattach()
    world.link.tick()
    assert world.link._attach_until_us > world.now_us
