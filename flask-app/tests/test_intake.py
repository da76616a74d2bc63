"""Whose turn it is in the recorder, and how large a transaction is."""

from __future__ import annotations

from simway_backbone.log import Record
from simway_flask_app.intake import TURN_MAX_BYTES, TURN_MIN_BYTES, TURN_S, Pace, Waiting, cost_bytes

NOW_US = 1_795_312_800_000_000
SECOND_US = 1_000_000


def record(partition: int, offset: int, size: int = 900, age_s: float = 0.0) -> Record:
    return Record(partition, offset, None, b"x" * size, NOW_US - int(age_s * SECOND_US))


def taken(waiting: Waiting, bytes_max: int) -> list[tuple[int, int]]:
    return [(one.partition, one.offset) for one in waiting.turn(bytes_max)]


def test_a_partition_with_little_is_in_the_next_turn_whatever_others_bring() -> None:
    waiting = Waiting()
    waiting.add([record(0, offset, age_s=9) for offset in range(100)] + [record(1, offset, age_s=8) for offset in range(50)])
    waiting.add([record(2, 7, 300), record(2, 8, 300)])
    turn = taken(waiting, 10_000)
    assert (2, 7) in turn
    assert (2, 8) in turn
    assert {partition for partition, _ in turn} == {0, 1, 2}


def test_the_order_of_a_partition_stays_and_nothing_is_lost_or_comes_twice() -> None:
    waiting = Waiting()
    sizes = {0: 40, 1: 3, 2: 17}
    waiting.add(record(partition, offset, 100 + 211 * offset % 1_500) for partition, n in sizes.items() for offset in range(n))
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    while waiting:
        turn = taken(waiting, 4_000)
        assert turn
        for partition, offset in turn:
            seen[partition].append(offset)
    assert seen == {partition: list(range(n)) for partition, n in sizes.items()}
    assert waiting.size_bytes == 0


def test_a_turn_keeps_to_its_bytes_beside_the_oldest_record() -> None:
    waiting = Waiting()
    waiting.add([record(0, 0, 5_000), record(0, 1, 1_000)])
    assert taken(waiting, 1_000) == [(0, 0)]
    waiting.add([record(1, offset, 0) for offset in range(30)])
    turn = list(waiting.turn(1_000))
    assert sum(cost_bytes(one) for one in turn[1:]) <= 1_000


def test_large_records_do_not_starve_beside_partitions_that_use_their_share() -> None:
    waiting = Waiting()
    waiting.add([record(0, 0, 60_000, age_s=5)])
    for offset in range(5):
        waiting.add([record(partition, offset, 400, age_s=3) for partition in range(1, 9)])
        if (0, 0) in taken(waiting, 4_000):
            return
    raise AssertionError("the large record was not taken")


def test_what_is_left_of_a_turn_goes_to_the_oldest() -> None:
    waiting = Waiting()
    waiting.add([record(0, offset, age_s=1) for offset in range(20)])
    waiting.add([record(1, offset, age_s=5) for offset in range(20)])
    waiting.add([record(2, 0, 0)])
    turn = taken(waiting, 9_000)
    assert turn[0] == (1, 0)
    assert [sum(partition == one for one, _ in turn) for partition in range(3)] == [3, 6, 1]


def test_what_is_not_asked_for_stays_and_what_is_dropped_does_not_come() -> None:
    waiting = Waiting()
    waiting.add([record(0, 0), record(0, 1), record(1, 0)])
    turn = waiting.turn(100_000)
    first = next(turn)
    turn.close()
    waiting.drop({0})
    assert taken(waiting, 100_000) == ([] if first.partition == 1 else [(1, 0)])


def test_turns_take_about_their_time_while_something_is_fresh() -> None:
    pace, waiting = Pace(), Waiting()
    waiting.add([record(0, 0, age_s=30), record(1, 0)])
    for _ in range(40):
        size = pace.turn_bytes(waiting, NOW_US)
        pace.note(size, 0.02 + size / 8_000_000)
    assert 0.9 * TURN_S < 0.02 + pace.turn_bytes(waiting, NOW_US) / 8_000_000 < 1.1 * TURN_S
    pace.note(TURN_MIN_BYTES, 300.0)
    for _ in range(40):
        pace.note(TURN_MIN_BYTES, 300.0)
    assert pace.turn_bytes(waiting, NOW_US) == TURN_MIN_BYTES


def test_turns_are_as_large_as_can_be_where_everything_is_late() -> None:
    waiting = Waiting()
    waiting.add([record(0, 0, age_s=30), record(1, 0, age_s=2)])
    assert Pace().turn_bytes(waiting, NOW_US) == TURN_MAX_BYTES
