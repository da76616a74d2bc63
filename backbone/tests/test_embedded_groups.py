"""Groups of the embedded log: who died is known by its lock, who is stopped by its silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from simway_backbone import open_log, sqlite
from simway_backbone.embedded_groups import LOCKS, EmbeddedLeases, is_free
from simway_backbone.log import Log, LogDamaged, LogUnavailable
from simway_testing.group_members import ProcessMember, ThreadMember

WAIT_S = 30.0
NEVER_S = 3600.0
"""A session that no test waits for."""
NONE: frozenset[int] = frozenset()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = open_log(f"sqlite:///{tmp_path}/log", client_id="test")
    log.ensure_topics()
    yield log
    log.close()


def leases(tmp_path: Path) -> EmbeddedLeases:
    return EmbeddedLeases(tmp_path, "uplink", "recorder", 4)


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_member_that_is_killed_is_not_waited_for(log: Log, tmp_path: Path) -> None:
    start = dict.fromkeys(range(24), 0)
    doomed = ProcessMember(f"sqlite:///{tmp_path}/log", "uplink", "g", "doomed", NEVER_S, start)
    until(lambda: len(doomed.assigned) == 24)
    doomed.kill()
    heir = ThreadMember(log, "uplink", "g", "heir", NEVER_S, start)
    until(lambda: len(heir.assigned) == 24)
    heir.end()
    doomed.end()
    assert list((tmp_path / "log" / LOCKS).iterdir()) == []


def test_who_lives_keeps_its_lease_without_a_word(tmp_path: Path) -> None:
    silent, other = leases(tmp_path), leases(tmp_path)
    assert len(silent.turn("silent", NEVER_S, NONE).held) == 4
    assert other.turn("other", NEVER_S, NONE).held == NONE
    (lock, _) = sorted((tmp_path / LOCKS).iterdir())
    assert not is_free(lock)
    silent.leave("silent")
    assert len(other.turn("other", NEVER_S, NONE).held) == 4
    other.leave("other")


def test_groups_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = leases(tmp_path), EmbeddedLeases(tmp_path, "uplink", "another", 4)
    assert len(one.turn("m", NEVER_S, NONE).held) == len(other.turn("m", NEVER_S, NONE).held) == 4
    one.leave("m")
    assert len(other.turn("m", NEVER_S, NONE).held) == 4
    other.leave("m")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "groups.db").write_bytes(b"no database" * 100)
    with pytest.raises(LogDamaged, match=r"groups\.db"):
        leases(tmp_path).turn("m", 6.0, NONE)


def test_a_state_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    one = leases(tmp_path)
    one.turn("m", NEVER_S, NONE)
    db = sqlite.connect(tmp_path / "groups.db")
    db.execute("""UPDATE groups SET state = '{"members": 7}'""")
    db.close()
    turn = one.turn("m", NEVER_S, NONE)
    assert turn.anew
    assert len(turn.held) == 4
    one.leave("m")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="nowhere"):
        leases(tmp_path / "nowhere").turn("m", 6.0, NONE)
