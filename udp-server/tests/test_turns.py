"""Whose datagram is next: senders that just go on do not wait behind what others bring, and nobody starves."""

from collections import Counter
from itertools import count, groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_udp_server.turns import QUANTUM, Turns


def taken(turns: Turns, most: int = 1_000_000) -> list[tuple[bytes, str]]:
    return [turns.take() for _ in range(min(most, turns.size))]


def brought(turns: Turns, address: str, datagrams: int) -> None:
    for number in range(datagrams):
        turns.add(b"%d" % number, address)


def test_who_just_goes_on_is_next_however_much_others_brought_before():
    turns = Turns()
    for number in range(10):
        brought(turns, f"back-{number}", 64)
    taken(turns, 100)
    turns.add(b"live", "live")
    assert (b"live", "live") in taken(turns, 2)


def test_those_with_much_take_turns():
    turns = Turns()
    brought(turns, "a", 3)
    brought(turns, "b", 200)
    brought(turns, "c", 3)
    assert {"a": 3, "c": 3}.items() <= Counter(address for _, address in taken(turns, 7 + QUANTUM)).items()
    assert {address for _, address in taken(turns)} == {"b"}


def test_a_turn_is_so_many_datagrams_of_one_sender():
    turns = Turns()
    brought(turns, "a", 3 * QUANTUM + 1)
    brought(turns, "b", 3 * QUANTUM + 1)
    taken(turns, 1)
    for _ in range(QUANTUM // 2):
        turns.add(b"more", "live")
        taken(turns, 2)
    served = [address for _, address in taken(turns)]
    lengths = [len(list(run)) for _, run in groupby(address for address in served if address != "live")]
    assert len(lengths) <= 8
    assert max(lengths) == QUANTUM


def test_senders_that_somebody_makes_up_do_not_stop_those_who_wait():
    turns, made_up = Turns(), count()
    brought(turns, "back", 40)
    served = []
    for _ in range(82):
        turns.add(b"hello", f"made-up-{next(made_up)}")
        turns.add(b"hello", f"made-up-{next(made_up)}")
        served.append(turns.take()[1])
    assert served.count("back") == 40


def test_who_brings_one_after_the_other_is_new_only_after_the_others_had_their_turn():
    turns = Turns()
    brought(turns, "a", 10 * QUANTUM)
    brought(turns, "b", 10 * QUANTUM)
    served = []
    for _ in range(12 * QUANTUM):
        turns.add(b"more", "quick")
        served.append(turns.take()[1])
    assert min(served.count("a"), served.count("b")) >= 2 * QUANTUM


def test_nobody_is_remembered_once_nothing_waits():
    turns = Turns()
    for number in range(1_000):
        brought(turns, f"{number}", 2)
        taken(turns)
    assert not turns._queues
    assert not turns._round
    with pytest.raises(IndexError):
        turns.take()


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=200))
def test_each_datagram_comes_once_and_those_of_a_sender_in_order(steps):
    turns, numbers = Turns(), count()
    given_to = {sender: [] for sender in range(6)}
    came = {sender: [] for sender in range(6)}
    for sender in steps:
        if sender is not None:
            given_to[sender].append(b"%d" % next(numbers))
            turns.add(given_to[sender][-1], sender)
        elif turns.size:
            datagram, found = turns.take()
            came[found].append(datagram)
    for datagram, found in taken(turns):
        came[found].append(datagram)
    assert came == given_to
    assert turns.size == 0
