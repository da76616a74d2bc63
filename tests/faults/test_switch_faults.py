"""The switch faults look where they say: a run is had again from its seed, and what breaks is noticed (see switch_faults)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from simway_testing.switch_checks import complaints
from simway_testing.switch_plans import EACH_STEP, EACH_WRITE, EVERY_STEP, RUNS, plan_of
from simway_testing.switch_run import COVERAGES, FAULTS, Ended, House, Plan


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def test_the_seeds_cover_each_write_for_every_coverage_and_each_fault() -> None:
    writes = {(plan.coverage, plan.cuts[0]) for plan in map(plan_of, range(EACH_WRITE))}
    assert len(writes) == EACH_WRITE
    assert {plan_of(seed).cuts[0] for seed in range(EACH_WRITE, EACH_STEP)} == set(range(1, EACH_STEP - EACH_WRITE + 1))
    drawn = [plan_of(seed) for seed in range(EACH_STEP, RUNS)]
    assert {(plan.coverage) for plan in drawn} == set(COVERAGES)
    assert {plan.fault for plan in drawn} == set(FAULTS)
    assert RUNS >= 1_000


def test_no_switch_has_more_steps_and_writes_than_the_seeds_reach(house: House) -> None:
    for plan in (Plan(1, "none", counts_writes=True), Plan(1, "lossy", counts_writes=True), Plan(1, "none"), Plan(1, "lossy")):
        ended = house.run(plan)
        assert ended.steps <= (EACH_WRITE // len(COVERAGES) if plan.counts_writes else EACH_STEP - EACH_WRITE), plan


@pytest.mark.parametrize("seed", [31, EACH_STEP + 3, EVERY_STEP + 700])
def test_a_seed_says_all_of_a_run(house: House, seed: int) -> None:
    first, again = house.run(plan_of(seed)), house.run(plan_of(seed))
    assert (first.where, first.enabled, first.state.reason) == (again.where, again.enabled, again.state.reason)
    assert [(line.event, line.state) for line in first.history] == [(line.event, line.state) for line in again.history]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"enabled": ["A", "", "B"]}, "no profile was enabled"),
        ({"inventory_active": "X"}, "the server believes"),
        ({"journal_is_open": True}, "still open"),
        ({"history": []}, "VERIFIED without"),
        ({"plan": Plan(1, "none")}, "verified over a carrier with coverage none"),
        ({"target_plmn": "99999"}, "the radio says"),
        ({"active": "X", "inventory_active": "X"}, "the card is on another profile"),
    ],
)
def test_what_breaks_is_noticed(house: House, changes: dict[str, Any], words: str) -> None:
    ended: Ended = house.run(Plan(1, "good"))
    assert complaints(ended) == []
    assert any(words in complaint for complaint in complaints(dataclasses.replace(ended, **changes)))


def test_a_second_switch_for_one_command_is_noticed(house: House) -> None:
    ended = house.run(Plan(1, "good"))
    again = dataclasses.replace(ended, enabled=[*ended.enabled, ended.previous, ended.target])
    assert any("2 times for one command" in complaint for complaint in complaints(again))
