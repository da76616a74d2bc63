"""How well a backlog uses a link, and what queue it makes there, over links in simulated time (``udp_links``)."""

import pytest
from simway_testing.udp_links import SECOND_US, Link, Simulation, cellular, changing, steady

MBIT = 125_000
CHANGE_US = 20 * SECOND_US
SLOWER = changing(steady(60_000), CHANGE_US, steady(400_000))
TO_2G = changing(cellular(), CHANGE_US, cellular(350_000, 450_000, 900_000))


@pytest.mark.parametrize(
    ("link", "begin_s", "end_s", "used"),
    [
        pytest.param(Link(steady(20_000), MBIT), 5, 25, 0.95, id="steady"),
        pytest.param(Link(cellular(), MBIT), 10, 30, 0.90, id="cellular"),
        pytest.param(Link(cellular(), 2 * MBIT), 10, 30, 0.80, id="cellular, fast"),
        pytest.param(Link(cellular(30_000, 300_000), MBIT), 10, 30, 0.70, id="cellular, uneven"),
        pytest.param(Link(cellular(), MBIT, flush_us=50_000), 10, 30, 0.80, id="cellular, the log is flushed 20 times a second"),
        pytest.param(Link(SLOWER, MBIT), 10, 20, 0.95, id="before the radio changes"),
        pytest.param(Link(SLOWER, MBIT), 45, 65, 0.90, id="after the radio changed"),
        pytest.param(Link(TO_2G, 8_000), 40, 65, 0.80, id="from LTE to 2G"),
        pytest.param(Link(steady(60_000), 8_000), 5, 45, 0.95, id="64 kbit/s"),
        pytest.param(Link(cellular(), 8_000), 5, 45, 0.95, id="64 kbit/s, cellular"),
        pytest.param(Link(steady(60_000), MBIT, loss=0.025), 5, 35, 0.65, id="5 % are lost, there or back"),
        pytest.param(Link(steady(20_000), MBIT, 500_000, retry_after_us=SECOND_US), 5, 25, 0.90, id="a full server"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_backlog_uses_the_link(link, begin_s, end_s, used, seed):
    simulation = Simulation(link, seed).run(end_s * SECOND_US)
    assert simulation.frames_per_s(begin_s, end_s) >= used * link.frames_per_s


@pytest.mark.parametrize(
    ("link", "wait_ms"),
    [
        pytest.param(Link(steady(20_000), MBIT), 70, id="steady"),
        pytest.param(Link(cellular(), MBIT), 120, id="cellular"),
        pytest.param(Link(cellular(), 2 * MBIT), 80, id="cellular, fast"),
        pytest.param(Link(steady(60_000), 8_000), 600, id="64 kbit/s"),
        pytest.param(Link(SLOWER, MBIT), 150, id="a radio that changes"),
    ],
)
def test_the_queue_of_a_backlog_stays_short(link, wait_ms):
    """Less than its bound for 95 of 100 frames; a full buffer would be 4 s. At 64 kbit/s a frame alone takes 150 ms."""
    deep = Link(link.delay, link.bytes_per_s, buffer_us=4 * SECOND_US)
    simulation = Simulation(deep, seed=1).run(60 * SECOND_US)
    assert simulation.wait_us(0.95, begin_s=5) <= wait_ms * 1_000


def test_many_backlogs_share_a_link_and_nobody_waits_for_ever():
    """40 frames in flight are the least that 20 devices have: 190 ms at this bottleneck. A full buffer would be 4 s."""
    link = Link(steady(20_000), 2 * MBIT, buffer_us=4 * SECOND_US)
    simulation = Simulation(link, seed=1, devices=20).run(60 * SECOND_US)
    arrived = [len(times) for times in simulation.arrived]
    assert simulation.frames_per_s(10, 60) >= 0.95 * link.frames_per_s
    assert simulation.wait_us(0.95, begin_s=10) <= 1_000_000
    assert min(arrived) >= 0.3 * sum(arrived) / len(arrived)


def test_a_simulation_is_the_same_each_time():
    first, second = (Simulation(Link(cellular(), MBIT, loss=0.05), seed=7).run(5 * SECOND_US) for _ in range(2))
    assert (first.arrived, first.waits) == (second.arrived, second.waits)
