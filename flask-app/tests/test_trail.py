"""The hash chain: any single change, removal, insertion or reordering is found, and where."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from simway_flask_app.trail import EMPTY, Entry, Head, Link, Signer, chain, detail_text, follow, is_signed

MASTER = bytes(range(32))
texts = st.text(max_size=12)
fields = st.tuples(st.integers(-(2**62), 2**62), texts, texts, texts, texts, texts)


def trail_of(rows: list[tuple[int, str, str, str, str, str]]) -> list[Link]:
    links: list[Link] = []
    for seq, row in enumerate(rows, 1):
        entry = Entry(seq, *row)
        links.append(Link(entry, chain(links[-1].hash if links else EMPTY.hash, entry)))
    return links


@given(st.lists(fields, max_size=8))
def test_a_trail_that_nobody_touched_holds(rows: list[tuple[int, str, str, str, str, str]]) -> None:
    links = trail_of(rows)
    head, broken = follow(links)
    assert broken is None
    assert head == (Head(len(links), links[-1].hash) if links else EMPTY)
    half = len(links) // 2
    assert follow(links[half:], follow(links[:half])[0]) == (head, None), "by pages it is the same"


@given(st.lists(fields, min_size=1, max_size=6), st.data())
def test_any_change_of_one_field_is_found_at_its_entry(
    rows: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    links = trail_of(rows)
    place = data.draw(st.integers(0, len(links) - 1))
    field = data.draw(st.sampled_from(["t_us", "kind", "device", "actor", "subject", "detail"]))
    value = data.draw(st.integers(-(2**62), 2**62) if field == "t_us" else texts)
    link = links[place]
    assume(getattr(link.entry, field) != value)
    links[place] = Link(link.entry._replace(**{field: value}), link.hash)
    _, broken = follow(links)
    assert broken is not None
    assert (broken.seq, broken.problem) == (place + 1, "changed")


@given(st.lists(fields, min_size=2, max_size=6), st.data())
def test_text_moved_from_one_field_to_its_neighbour_is_found(
    rows: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    links = trail_of(rows)
    place = data.draw(st.integers(0, len(links) - 1))
    entry, stored = links[place]
    assume(entry.kind or entry.device)
    moved = (
        entry._replace(kind=entry.kind + entry.device, device="") if entry.device else entry._replace(kind="", device=entry.kind)
    )
    links[place] = Link(moved, stored)
    assert follow(links)[1] is not None


@given(st.lists(fields, min_size=1, max_size=6), st.data())
def test_a_removed_entry_is_missing_or_the_head_is_another(
    rows: list[tuple[int, str, str, str, str, str]], data: st.DataObject
) -> None:
    links = trail_of(rows)
    place = data.draw(st.integers(0, len(links) - 1))
    whole, _ = follow(links)
    head, broken = follow(links[:place] + links[place + 1 :])
    if place == len(links) - 1:
        assert broken is None
        assert head != whole, "cut at the end: the head, and what was signed of it, tell"
    else:
        assert broken is not None
        assert (broken.seq, broken.problem) == (place + 1, "missing")


@given(st.lists(fields, min_size=2, max_size=6), st.data())
def test_two_entries_in_each_others_place_are_found(rows: list[tuple[int, str, str, str, str, str]], data: st.DataObject) -> None:
    links = trail_of(rows)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(links) - 1), min_size=2, max_size=2, unique=True)))
    assume(links[first].entry[1:] != links[second].entry[1:])
    swapped = list(links)
    swapped[first] = Link(links[second].entry._replace(seq=first + 1), links[second].hash)
    swapped[second] = Link(links[first].entry._replace(seq=second + 1), links[first].hash)
    _, broken = follow(swapped)
    assert broken is not None
    assert broken.seq == first + 1


@given(st.lists(fields, min_size=1, max_size=6), fields, st.data())
def test_an_entry_put_in_between_is_found(
    rows: list[tuple[int, str, str, str, str, str]], row: tuple[int, str, str, str, str, str], data: st.DataObject
) -> None:
    links = trail_of(rows)
    place = data.draw(st.integers(0, len(links) - 1))
    before = links[place - 1].hash if place else EMPTY.hash
    entry = Entry(place + 1, *row)
    assume(entry != links[place].entry)
    _, broken = follow([*links[:place], Link(entry, chain(before, entry)), *links[place:]])
    assert broken is not None, "even with a right hash of its own: the next one does not follow it"


def test_the_chain_can_be_followed_with_a_standard_library() -> None:
    entry = Entry(1, 1795312800000000, "command.forced", "demo", "api", "00ff", detail_text({"reason": "Prüfstand", "a": 1}))
    text = '[1,1795312800000000,"command.forced","demo","api","00ff",' + json.dumps(entry.detail) + "]"
    made = hashlib.sha256(b"simway audit entry\x00" + bytes(32) + text.encode("ascii")).hexdigest()
    assert chain(EMPTY.hash, entry) == made
    assert entry.detail == '{"a":1,"reason":"Prüfstand"}'


@given(st.integers(0, 2**53), st.binary(min_size=32, max_size=32), st.integers(0, 2**53), st.binary(min_size=32, max_size=32))
def test_a_signature_is_of_one_head_and_one_platform(seq: int, digest: bytes, other_seq: int, other_digest: bytes) -> None:
    signer, head, other = Signer.of(MASTER), Head(seq, digest.hex()), Head(other_seq, other_digest.hex())
    signature = signer.sign(head)
    assert signer.verify(head, signature)
    assert is_signed(signer.public_key, head, signature)
    assert signer.verify(other, signature) == (other == head)
    assert not Signer.of(bytes(32)).verify(head, signature)


@pytest.mark.parametrize("signature", ["", "00", "zz", "é", "00" * 64])
def test_what_is_no_signature_is_none(signature: str) -> None:
    assert not Signer.of(MASTER).verify(EMPTY, signature)
