"""The faults look where they say: a seed is a plan, what breaks is noticed, and network and disks do what they are told."""

from __future__ import annotations

import dataclasses
import os
import random
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_flask_app.store.writers import APPLICATION
from simway_testing.fault_checks import Found, Journal, Left, Stored, Sums, balanced, rollup_complaints, unnamed
from simway_testing.fault_disk import RLIMIT, TMPFS
from simway_testing.fault_fence import Move
from simway_testing.fault_fence import complaints as stale_writes
from simway_testing.fault_plan import APART_S, KAFKA, LASTS_S, PAIRS, SESSION_TIMEOUT_S, WORDS, Plan, plan_of, quotas
from simway_testing.fault_proxy import Proxy
from simway_testing.fault_weather import CALM, CUT, Weather, fates, storm
from simway_testing.platform import living
from simway_testing.rollups import Window
from simway_testing.waiting import wait_for

plans = st.builds(
    lambda seed, pair, short: plan_of(seed, pair, short=short), st.integers(), st.sampled_from(PAIRS), st.booleans()
)


def test_a_process_that_has_ended_does_not_live_on_until_somebody_asks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)
    assert living([process]) == [process]
    child.kill()
    wait_for(lambda: not living([process]), 30, "a killed process has ended")
    assert process.is_running(), "as long as nobody asked"
    child.communicate()
    assert living([process]) == []


@given(plans)
def test_a_seed_says_all_of_a_plan(plan: Plan) -> None:
    assert plan == plan_of(plan.seed, plan.pair, short=plan.short)
    assert len(plan.faults) == sum(quotas(plan.pair, plan.short).values())
    assert [fault.at_s for fault in plan.faults] == sorted(fault.at_s for fault in plan.faults)
    assert all(fault.kind in WORDS and fault.kind in LASTS_S for fault in plan.faults)


@given(plans)
def test_no_target_has_two_faults_at_once(plan: Plan) -> None:
    over_s: defaultdict[str, float] = defaultdict(float)
    for fault in plan.faults:
        assert fault.at_s >= over_s[fault.target]
        over_s[fault.target] = fault.at_s + fault.for_s + 0.9 * APART_S


@given(plans)
def test_a_stopped_recorder_is_silent_for_longer_than_the_session_timeout(plan: Plan) -> None:
    silent = [fault.for_s for fault in plan.faults if fault.kind == "stop" and fault.target.startswith("recorder")]
    assert silent
    assert min(silent) > SESSION_TIMEOUT_S
    assert 6 <= SESSION_TIMEOUT_S <= 10


@given(st.integers(), st.sampled_from(PAIRS))
def test_a_full_plan_has_a_hundred_faults_and_ten_on_broker_and_database(seed: int, pair: str) -> None:
    plan = plan_of(seed, pair)
    assert len(plan.faults) >= 100
    on = [fault.target for fault in plan.faults]
    if pair == KAFKA:
        assert on.count("broker") >= 10
    assert on.count("database") >= (10 if pair == KAFKA else 9)
    processes = {"udp-server", "dispatcher", "web"} | {f"recorder-{at}" for at in range(1, plan.load.recorders + 1)}
    assert processes <= set(on)


def test_seeds_differ() -> None:
    assert plan_of(1, KAFKA).faults != plan_of(2, KAFKA).faults


# --- what breaks is noticed ----------------------------------------------------------------------------------------------

T_US = 1_800_000_000_000_000


def rows_of(count: int) -> list[Stored]:
    return [Stored("n/whole", T_US + at * 20_000_000, at, "Cel", float(at)) for at in range(1, count + 1)]


def journal_of(rows: list[Stored], **changes: Any) -> Journal:
    left = {at: Left(row.sensor, row.t_us, row.value, row.unit) for at, row in enumerate(rows, 1)}
    return dataclasses.replace(Journal("fed-1", "e", len(rows), [(1, len(rows), "logged")], left), **changes)


def ledger_of(**counts: Any) -> dict[str, Any]:
    none = dict.fromkeys(("sent", "stored", "duplicate", "conflict", "dropped", "missing"), 0)
    return none | {"rejected": {}} | counts


def minutes_of(rows: list[Stored]) -> dict[tuple[str, int], Window]:
    made: dict[tuple[str, int], list[Stored]] = defaultdict(list)
    for row in rows:
        made[(row.sensor, row.t_us // 60_000_000 * 60_000_000)].append(row)
    return {
        key: Window(
            len(part), sum(row.num or 0 for row in part), part[0].num, part[0].t_us, part[-1].num, part[-1].t_us,
            part[0].num, part[0].t_us, part[-1].num, part[-1].t_us,
        )
        for key, part in made.items()
    }  # fmt: skip


def sums_of(journal: Journal, rows: list[Stored], **counts: Any) -> Sums:
    sums = Sums()
    ledger = ledger_of(**{"sent": journal.highest, "stored": len(rows)} | counts)
    sums.add(journal, Found(rows, ledger, {60_000_000: minutes_of(rows)}))
    return sums


def test_what_is_whole_is_not_complained_about() -> None:
    rows = rows_of(9)
    sums = sums_of(journal_of(rows), rows)
    assert (sums.acknowledged, sums.stored, sums.lost, sums.twice, sums.unbalanced, sums.complaints) == (9, 9, 0, 0, 0, [])


def test_an_acknowledged_reading_that_is_gone_is_lost() -> None:
    rows = rows_of(9)
    sums = sums_of(journal_of(rows), rows[:4] + rows[5:], missing=1)
    assert (sums.lost, sums.unbalanced) == (1, 1)
    assert "5 Left(" in sums.complaints[0]


def test_an_acknowledged_reading_with_another_value_is_lost() -> None:
    rows = rows_of(9)
    assert sums_of(journal_of(rows), [*rows[:8], rows[8]._replace(value=77)]).lost == 1


def test_a_reading_without_a_trace_at_the_device_is_lost() -> None:
    rows = rows_of(9)
    journal = journal_of(rows)
    assert sums_of(dataclasses.replace(journal, left={at: journal.left[at] for at in range(1, 9)}), rows).lost == 1


def test_a_reading_under_two_times_is_counted_twice() -> None:
    rows = rows_of(9)
    again = [*rows, rows[3]._replace(t_us=rows[3].t_us + 1)]
    sums = sums_of(journal_of(rows), again, stored=9)
    assert sums.twice > 0
    assert any("stored more than once" in words for words in sums.complaints)
    assert any("never sent" in words for words in sums.complaints)


def test_what_was_dropped_may_have_arrived_and_is_counted_once() -> None:
    rows = rows_of(9)
    journal = journal_of(rows, ranges=[(1, 3, "logged"), (4, 6, "dropped"), (7, 9, "logged")])
    gone = sums_of(journal, rows[:3] + rows[6:], dropped=3)
    arrived = sums_of(journal, rows[:4] + rows[6:], dropped=2)
    assert (gone.complaints, arrived.complaints) == ([], [])
    assert (gone.lost, gone.dropped, arrived.lost) == (0, 3, 0)
    assert sums_of(journal, rows[:3] + rows[6:], dropped=2, rejected={"too_old": 1}).complaints == []
    assert sums_of(journal, rows[:3] + rows[6:], dropped=3, rejected={"too_old": 1}).unbalanced == 1
    assert sums_of(journal, rows[:3] + rows[6:], dropped=2, missing=1).unbalanced == 1


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"stored": 8}, "does not balance"),
        ({"stored": 8, "missing": 1}, "missing in the ledger"),
        ({"stored": 8, "duplicate": 1}, "rows in the store"),
        ({"sent": 10, "dropped": 1}, "numbers given by the outbox"),
        ({"stored": 8, "rejected": {"bad_time": 1}}, "that were rejected"),
        ({"stored": 8, "conflict": 1}, "conflicts"),
    ],
)
def test_a_ledger_that_says_otherwise_is_named(counts: dict[str, Any], words: str) -> None:
    rows = rows_of(9)
    sums = sums_of(journal_of(rows), rows, **counts)
    assert sums.unbalanced == 1
    assert any(words in complaint for complaint in sums.complaints), sums.complaints


def test_what_is_rejected_must_lie_in_the_devices_own_dead_letters() -> None:
    rows = rows_of(9)
    journal = journal_of(rows, ranges=[(1, 8, "logged"), (9, 9, "rejected")])
    counts = {"rejected": {"too_old": 1}}
    assert sums_of(dataclasses.replace(journal, buried=frozenset({9})), rows[:8], **counts).complaints == []
    assert any("own dead letters" in words for words in sums_of(journal, rows[:8], **counts).complaints)


def test_what_nobody_answered_is_named() -> None:
    rows = rows_of(9)
    sums = sums_of(journal_of(rows, ranges=[(1, 8, "logged")]), rows)
    assert any("numbers given" in complaint for complaint in sums.complaints)


@given(st.dictionaries(st.sampled_from(["stored", "duplicate", "conflict", "dropped", "missing"]), st.integers(0, 50)))
def test_a_balance_is_the_sum_of_its_parts(counts: dict[str, int]) -> None:
    total = sum(counts.values())
    assert balanced(ledger_of(sent=total + 2, rejected={"bad_time": 2}, **counts))
    assert not balanced(ledger_of(sent=total + 3, rejected={"bad_time": 2}, **counts))


@pytest.mark.parametrize("changed", Window._fields)
def test_each_column_of_a_rollup_is_compared(changed: str) -> None:
    rows = rows_of(9)
    told = minutes_of(rows)
    assert rollup_complaints(rows, told, 60_000_000) == []
    key = sorted(told)[1]
    told[key] = told[key]._replace(**{changed: getattr(told[key], changed) + 1})
    assert len(rollup_complaints(rows, told, 60_000_000)) == 1


def test_a_rollup_that_is_missing_or_too_many_is_named() -> None:
    rows = rows_of(9)
    told = minutes_of(rows)
    key, bucket = told.popitem()
    assert "missing" in rollup_complaints(rows, told, 60_000_000)[0]
    told |= {key: bucket, ("n/whole", 0): bucket}
    assert "without rows" in rollup_complaints(rows, told, 60_000_000)[0]


def moved(begin: int, end: int, by: str = "one", holder: str = "one", number: int = 1, tx: int = 1) -> Move:
    return Move(tx, 3, begin, end, APPLICATION + by, holder, number)


def test_a_stale_recorder_that_writes_is_seen() -> None:
    taken = moved(4, 9, "two", "two", 2, 2)
    assert stale_writes([moved(0, 4), taken], {1, 2}) == []
    assert "past the right of two" in stale_writes([moved(0, 4), moved(4, 9, "one", "two", 2)], set())[0]
    assert "by number 1 after 2" in stale_writes([moved(0, 4), taken, moved(9, 11)], set())[0]
    assert "did not go on at 4" in stale_writes([moved(0, 4), moved(3, 5)], set())[0]
    assert "moved no position" in stale_writes([moved(0, 4)], {1, 7})[0]


def test_a_fault_that_nobody_speaks_of_is_named() -> None:
    log = "the store is away; waiting detail='the database is not usable now: cannot execute INSERT in a read-only transaction'"
    assert unnamed({"read-only database": 3, "kill web": 9}, {"recorder-2": log}) == []
    assert "read-only" in unnamed({"read-only database": 3}, {"recorder-2": "", "web": log})[0]
    assert unnamed({"read-only database": 2}, {}) == []


# --- network and disks ---------------------------------------------------------------------------------------------------


@given(st.integers())
def test_storms_are_a_function_of_the_seed_and_let_something_through(seed: int) -> None:
    assert storm(random.Random(seed)) == storm(random.Random(seed))
    weather = storm(random.Random(seed))
    rng = random.Random(seed)
    fallen = [fates(weather, rng) for _ in range(400)]
    assert any(not fate for fate in fallen)
    assert any(len(fate) == 2 for fate in fallen)
    assert sum(map(bool, fallen)) > 150


@settings(max_examples=20)
@given(st.integers())
def test_a_cut_network_passes_nothing_and_a_calm_one_nearly_all(seed: int) -> None:
    rng = random.Random(seed)
    assert not any(fates(CUT, rng) for _ in range(100))
    assert sum(bool(fates(CALM, rng)) for _ in range(1000)) > 950
    assert all(delay_s <= CALM.delay_s + CALM.late_s for _ in range(100) for delay_s in fates(CALM, rng))


def test_the_proxy_passes_duplicates_and_drops_datagrams_both_ways() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        device.settimeout(20)
        proxy = Proxy(server.getsockname(), "test")
        try:
            proxy.weather = Weather(duplicate=1.0)
            device.sendto(b"up", ("127.0.0.1", proxy.port))
            (first, address), (second, _) = server.recvfrom(100), server.recvfrom(100)
            assert (first, second) == (b"up", b"up")
            server.sendto(b"down", address)
            assert device.recv(100) == b"down"
            proxy.weather = CUT
            device.sendto(b"lost", ("127.0.0.1", proxy.port))
            wait_for(lambda: proxy.counts["dropped"] == 1, 60, "a datagram is dropped")
            proxy.weather = Weather()
            proxy.rebind()
            wait_for(lambda: proxy.counts["rebinds"] == 1, 60, "every device has another address")
            device.sendto(b"moved", ("127.0.0.1", proxy.port))
            moved, elsewhere = server.recvfrom(100)
            assert (moved, elsewhere != address) == (b"moved", True)
        finally:
            proxy.close()


DISK = """
import os, pathlib, sys
from simway_flask_app.store.writers import APPLICATION
from simway_testing.fault_fence import Move
from simway_testing.fault_fence import complaints as stale_writes
from simway_testing.fault_disk import Disk, private_mounts
folder, way = pathlib.Path(sys.argv[1]), sys.argv[2] or private_mounts()
disk = Disk(folder, way, 1_000_000, lambda: [os.getpid()])
file = folder / "file"
file.write_bytes(b"before")
disk.fill()
try:
    (folder / "other").write_bytes(bytes(9_000))
except OSError as error:
    refused = error.strerror
disk.free()
(folder / "other").write_bytes(bytes(9_000))
print(file.read_text(), (folder / "other").stat().st_size, way, refused)
"""


@pytest.mark.parametrize("way", ["", RLIMIT])
def test_a_disk_is_full_and_has_room_again(tmp_path: Path, way: str) -> None:
    """In a process of its own, which gets a mount namespace where that may be had."""
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", DISK, str(tmp_path), way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() in (
        f"before 9000 {TMPFS} No space left on device", f"before 9000 {RLIMIT} File too large",
    ), done  # fmt: skip


FULL_LOG = """
import pathlib, sys
from simway_backbone import open_log
from simway_backbone.log import LogUnavailable
from simway_testing.fault_disk import TMPFS, Disk, private_mounts
if private_mounts() != TMPFS:
    sys.exit(77)
folder = pathlib.Path(sys.argv[1])
disk = Disk(folder, TMPFS, 30_000_000, lambda: [])
url = f"sqlite:///{folder}"
log = open_log(url, client_id="test")
log.ensure_topics()
log.close()
disk.fill()
def told(act):
    try:
        act(open_log(url, client_id="test"))
    except LogUnavailable as error:
        return "is full" in str(error) and str(folder) in str(error) or error
    return "nothing was wrong"
print(told(lambda log: log.append("uplink", 3, [(None, bytes(9_000))]).result(20)))
print(told(lambda log: log.bounds("uplink")))
disk.free()
log = open_log(url, client_id="test")
print(log.append("uplink", 3, [(None, b"there is room")]).result(20), log.bounds("uplink")[3])
"""


def test_a_full_disk_of_the_log_is_named_to_writers_and_readers(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", FULL_LOG, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        pytest.skip("no mount namespace may be had here, so no disk of its own")
    assert done.stdout.splitlines() == ["True", "True", "0 (0, 1)"], done
