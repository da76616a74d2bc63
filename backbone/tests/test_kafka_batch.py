"""What goes together in one record batch, and its bytes."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords
from simway_backbone.kafka_batch import BATCH_MAX_BYTES, Batch, Identity, cut, following
from simway_backbone.log import Append, LogUnavailable, Pairs, waiting_bytes


def append(records: Pairs, size_bytes: int = 1) -> Append:
    return Append(Future(), "uplink", 0, records, size_bytes)


def one_batch(*appends: Append) -> Batch:
    batch = Batch(("uplink", 0))
    for each in appends:
        assert batch.takes(each)
        batch.add(each)
    return batch


def test_a_batch_is_what_kafka_calls_one() -> None:
    batch = one_batch(append([(b"key", b"a"), (None, b"")]), append([(b"", b"c" * 300)]))
    encoded = batch.encoded(Identity(70_000_000_000, 5), 2**31 - 1)
    read = MemoryRecords(bytes(encoded)).next_batch()
    assert read.validate_crc()
    assert [(record.offset, record.key, record.value) for record in read] == [
        (0, b"key", b"a"), (1, None, b""), (2, b"", b"c" * 300)
    ]  # fmt: skip
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (70_000_000_000, 5, 2**31 - 1)
    assert batch.count == 3


def test_a_batch_keeps_its_bytes_whatever_it_is_asked_for_later() -> None:
    batch = one_batch(append([(None, b"a")]))
    first = bytes(batch.encoded(Identity(1, 0), 7))
    assert batch.encoded(Identity(2, 0), 0) == first


def test_each_append_hears_of_its_own_first_record() -> None:
    appends = [append([(None, b"a"), (None, b"b")]), append([(None, b"c")])]
    batch = one_batch(*appends)
    batch.succeed(40)
    assert [each.future.result(0) for each in appends] == [40, 42]
    assert batch.is_settled


def test_a_failure_is_told_to_each_append() -> None:
    appends = [append([(None, b"a")]), append([(None, b"b")])]
    batch = one_batch(*appends)
    batch.give_up(LogUnavailable("away"))
    assert [str(each.future.exception(0)) for each in appends] == ["away", "away"]
    assert batch.is_settled
    assert batch.is_given_up


@pytest.mark.parametrize(("sequence", "count", "next_one"), [(0, 1, 1), (2**31 - 1, 1, 0), (2**31 - 2, 5, 3)])
def test_sequence_numbers_begin_again(sequence: int, count: int, next_one: int) -> None:
    assert following(sequence, count) == next_one


@given(st.lists(st.integers(0, BATCH_MAX_BYTES), min_size=1, max_size=12))
def test_what_is_larger_than_a_batch_is_cut_in_order_and_answered_by_the_last_piece(sizes: list[int]) -> None:
    records = [(None, bytes(size)) for size in sizes]
    whole = append(records, waiting_bytes(records))
    pieces = cut(whole)
    assert [record for piece in pieces for record in piece.records] == records
    assert all(len(piece.records) == 1 or piece.size_bytes <= BATCH_MAX_BYTES for piece in pieces)
    for number, piece in enumerate(pieces):
        assert not whole.future.done()
        piece.future.set_result(40 + number)
    assert whole.future.result(0) == 40


def test_an_append_of_which_a_piece_fails_fails_once() -> None:
    records = [(None, bytes(BATCH_MAX_BYTES))] * 4
    whole = append(records, waiting_bytes(records))
    first, *others = cut(whole)
    first.future.set_result(40)
    for piece in others:
        piece.future.set_exception(LogUnavailable("away"))
    assert str(whole.future.exception(0)) == "away"


def test_a_batch_has_its_bound_and_takes_one_that_is_larger_alone() -> None:
    half = append([(None, b"a")], BATCH_MAX_BYTES // 2)
    assert not one_batch(half, half).takes(append([(None, b"b")]))
    assert len(one_batch(append([(None, b"a")], 5 * BATCH_MAX_BYTES)).appends) == 1
