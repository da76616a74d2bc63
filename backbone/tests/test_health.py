"""When a process is ready: not before all that it has to say was said."""

from __future__ import annotations

import json

from simway_backbone.health import Health


def test_a_process_that_has_said_nothing_is_alive_and_not_ready() -> None:
    health = Health()
    assert health.alive
    assert not health.ready
    assert json.loads(health.report(health.ready)) == {"status": "starting", "checks": {}}


def test_ready_is_when_each_check_that_was_promised_is_well() -> None:
    health = Health()
    health.starting("log", "store")
    health.set("log", None)
    assert health.checks() == {"log": None, "store": "starting"}
    assert not health.ready
    health.set("store", None)
    assert health.ready


def test_a_check_that_was_promised_late_keeps_what_is_known() -> None:
    health = Health()
    health.set("log", "no answer")
    health.starting("log")
    assert health.checks() == {"log": "no answer"}


def test_a_check_that_has_to_be_heard_again_is_not_well_before_it_is_heard_first() -> None:
    health = Health()
    health.starting("database")
    health.expect("database", 60)
    assert health.checks() == {"database": "starting"}
    health.set("database", None)
    assert health.ready
