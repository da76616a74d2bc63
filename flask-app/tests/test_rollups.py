"""Adding up rows: whatever the order, however they are cut into batches."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.store.rollups import DAY_US, HOUR_US, MINUTE_US, SUM_MAX, AddedUp, Window, add_up, merged
from simway_flask_app.store.values import FLOAT, STRING, Row
from simway_testing.rollups import expected

rows = st.lists(
    st.builds(
        lambda series, t_us, num: (series, t_us, num, STRING if num is None else FLOAT, None, None),
        st.integers(1, 3),
        st.integers(-3, 3).flatmap(lambda n: st.integers(n * HOUR_US - 2, n * HOUR_US + 2 * MINUTE_US)),
        st.one_of(st.none(), st.integers(-3, 3).map(float)),
    ),
    unique_by=lambda row: row[:2],
)


def named(added: AddedUp) -> dict[tuple[str, int, int], Window]:
    tiers = {"rollup_minute": added.minutes, "rollup_hour": added.hours, "rollup_day": added.days}
    return {(name, *key): window for name, windows in tiers.items() for key, window in windows.items()}


@given(batch=rows)
def test_one_batch_is_what_its_rows_come_to(batch: list[Row]) -> None:
    added = add_up(sorted(batch, key=lambda row: row[0]))
    assert named(added) == expected((row[0], row[1], row[2]) for row in batch if row[2] is not None)
    assert added.newest == [
        max((row for row in batch if row[0] == n), key=lambda row: row[1]) for n in sorted({r[0] for r in batch})
    ]


@given(batch=rows, cuts=st.lists(st.integers(0, 50), max_size=4))
def test_batches_merge_to_the_whole(batch: list[Row], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(batch)]
    parts = [named(add_up(sorted(batch[a:b], key=lambda row: row[0]))) for a, b in pairwise(edges)]
    whole = named(add_up(sorted(batch, key=lambda row: row[0])))
    assert {key: reduce(merged, [part[key] for part in parts if key in part]) for key in whole} == whole


def test_a_sum_stays_within_the_range_of_a_double() -> None:
    added = add_up([(1, n, 1.7e308, FLOAT, None, None) for n in range(4)])
    assert (added.days[(1, 0)].sum, added.days[(1, 0)].n) == (SUM_MAX, 4)
    assert merged(added.days[(1, 0)], added.days[(1, 0)]).sum == SUM_MAX


def test_the_first_window_that_a_column_can_hold() -> None:
    added = add_up([(1, -(2**63), 1.0, FLOAT, None, None), (1, -(2**63) + 1, 2.0, FLOAT, None, None)])
    assert {(key, window.n) for windows in (added.minutes, added.hours, added.days) for key, window in windows.items()} == {
        ((1, -(2**63)), 2)
    }
    assert DAY_US % HOUR_US == HOUR_US % MINUTE_US == 0
