"""One suite for the groups of every log: who reads what while members join, leave, die, fall silent and wake."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest
from simway_backbone import group_reader, open_log
from simway_backbone.log import Log, LogRefused
from simway_protocol.topics import TOPICS
from simway_testing.group_members import Member, ProcessMember, ThreadMember
from simway_testing.waiting import wait_for

M = TypeVar("M", ThreadMember, ProcessMember)
TOPIC = "uplink"
PARTITIONS = frozenset(range(TOPICS[TOPIC].partitions))
WAIT_S = 60.0
SESSIONS_S = {"memory": 1.0, "sqlite": 2.0, "kafka": 6.0}
"""As short as each log has them."""


@pytest.fixture(scope="module", params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.real)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if kind == "kafka":
        return str(request.getfixturevalue("kafka_url"))
    return "memory://" if kind == "memory" else f"sqlite:///{tmp_path_factory.mktemp('log')}"


@pytest.fixture(scope="module")
def log(url: str) -> Iterator[Log]:
    log = open_log(url, client_id="groups")
    log.ensure_topics()
    yield log
    log.close()


class Group:
    """A group of its own on a log, of members that end with the test."""

    def __init__(self, kind: str, url: str, log: Log, stack: ExitStack) -> None:
        self.name, self.log, self.session_s = uuid.uuid4().hex, log, SESSIONS_S[kind]
        self._kind, self._url, self._stack = kind, url, stack
        self._start = {partition: end for partition, (_, end) in log.bounds(TOPIC).items()}
        self.members: list[Member] = []

    def thread(self) -> ThreadMember:
        return self._join(ThreadMember(self.log, TOPIC, self.name, self._next_name(), self.session_s, self._start))

    def stoppable(self) -> ThreadMember | ProcessMember:
        """A member that can be stopped and killed: a process, where the log can be shared by several."""
        if self._kind == "memory":
            return self.thread()
        return self._join(ProcessMember(self._url, TOPIC, self.name, self._next_name(), self.session_s, self._start))

    def settle(self, *members: Member) -> None:
        """Waits until everything is shared out evenly among ``members``."""

        def is_even() -> bool:
            shares = [member.assigned for member in members]
            sizes = [len(share) for share in shares]
            return frozenset().union(*shares) == PARTITIONS and sum(sizes) == 24 and max(sizes) - min(sizes) <= 1

        wait_for(is_even, WAIT_S, lambda: f"an even share: {[sorted(member.assigned) for member in members]}")

    def reads(self, member: Member, partition: int) -> None:
        """Waits until ``member`` has read something new."""
        value = uuid.uuid4().hex
        self.log.append(TOPIC, partition, [(None, value.encode())]).result(WAIT_S)
        wait_for(lambda: member.has_read(value), WAIT_S, f"a record of partition {partition}")

    def _next_name(self) -> str:
        return f"m{len(self.members)}"

    def _join(self, member: M) -> M:
        self.members.append(member)
        self._stack.callback(member.end)
        return member


@pytest.fixture
def group(kind: str, url: str, log: Log) -> Iterator[Group]:
    with ExitStack() as stack:
        made = Group(kind, url, log, stack)
        yield made
        for member in made.members:
            if isinstance(member, ThreadMember):
                member.ask_to_end()


def overlaps_s(one: Member, other: Member, since_s: float = 0.0) -> float:
    """The longest time, from ``since_s`` on, that both were reading a partition."""
    longest = 0.0
    for partition in PARTITIONS:
        for begin, end in spans(one, partition):
            for start, stop in spans(other, partition):
                longest = max(longest, min(end, stop) - max(begin, start, since_s))
    return longest


def spans(member: Member, partition: int) -> list[tuple[float, float]]:
    """When a member was reading a partition."""
    times = [event.t_s for event in member.events if event.what != "read" and partition in event.values]
    times += [time.monotonic()] * (len(times) % 2)
    return list(zip(times[::2], times[1::2], strict=True))


def test_members_join_and_leave(group: Group) -> None:
    first = group.thread()
    group.settle(first)
    second, third = group.thread(), group.thread()
    group.settle(first, second, third)
    for member in (first, second, third):
        group.reads(member, min(member.assigned))
    kept = first.assigned
    second.end()
    group.settle(first, third)
    assert kept <= first.assigned, "what does not have to move stays"
    group.reads(first, max(first.assigned))
    for one, other in ((first, second), (first, third), (second, third)):
        assert overlaps_s(one, other) < group.session_s


def test_of_20_members_one_dies_and_one_falls_silent_and_wakes(group: Group) -> None:
    """Their shares move on after the session timeout; nobody else waits for that, nor loses anything by it."""
    doomed, sleeper = group.stoppable(), group.stoppable()
    group.settle(doomed, sleeper)
    others = [group.thread() for _ in range(18)]
    group.settle(doomed, sleeper, *others)
    before = [member.assigned for member in others]
    sleeper_had, waiting_for = sleeper.assigned, sleeper.assigned | doomed.assigned
    sleeper.stop()
    doomed.kill()
    reads = 0
    while not waiting_for <= frozenset().union(*(member.assigned for member in others)):
        group.reads(others[reads % 18], min(before[reads % 18]))
        reads += 1
    assert reads > 5, "the others read on while the two were missed"
    group.settle(*others)
    assert all(had <= member.assigned for had, member in zip(before, others, strict=True))
    for partition in waiting_for:
        group.reads(next(member for member in others if partition in member.assigned), partition)
    woken_s = time.monotonic()
    sleeper.wake()
    group.settle(sleeper, *others)
    first_lost = next(event for event in sleeper.events if event.what == "lost" and event.t_s >= woken_s)
    assert sleeper_had <= set(first_lost.values), "it begins with nothing of what it had"
    assert all(overlaps_s(sleeper, member, woken_s) < group.session_s for member in others)
    group.reads(sleeper, min(sleeper.assigned))


def test_what_begin_raises_comes_out_of_poll_and_is_tried_again(group: Group) -> None:
    failures = [RuntimeError("the store is away"), RuntimeError("still")]
    begun: list[frozenset[int]] = []

    def begin(partitions: frozenset[int]) -> dict[int, int]:
        begun.append(partitions)
        if failures:
            raise failures.pop(0)
        return dict.fromkeys(partitions, 0)

    reader = group.log.group_reader(
        TOPIC, group.name, member="m", begin=begin, lost=lambda _: None, session_timeout_s=group.session_s
    )
    raised = []

    def poll() -> bool:
        try:
            reader.poll(0.1)
        except RuntimeError as error:
            raised.append(str(error))
        return bool(reader.assigned)

    wait_for(poll, WAIT_S, "a beginning")
    assert raised == ["the store is away", "still"]
    assert begun == [PARTITIONS] * 3
    reader.begin_again(frozenset({1, 2}))
    assert reader.assigned == PARTITIONS - {1, 2}
    reader.poll(0.0)
    assert reader.assigned == PARTITIONS
    assert begun[-1] == {1, 2}
    reader.close()


def test_who_does_not_poll_leaves_and_joins_again(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    lively = group.thread()
    group.settle(lively)
    monkeypatch.setattr(group_reader, "STALL_S", 0.5)
    lost: list[frozenset[int]] = []
    hanging = group.log.group_reader(
        TOPIC, group.name, member="hanging", begin=lambda new: dict.fromkeys(new, 0), lost=lost.append,
        session_timeout_s=group.session_s,
    )  # fmt: skip
    monkeypatch.undo()
    wait_for(lambda: hanging.poll(0.1) or len(hanging.assigned) == 12, WAIT_S, "a share")
    group.settle(lively)
    wait_for(lambda: hanging.poll(0.1) or lost, WAIT_S, "word of the loss")
    wait_for(lambda: hanging.poll(0.1) or len(hanging.assigned) == 12, WAIT_S, "another share")
    hanging.close()
    group.settle(lively)


def test_a_group_on_a_topic_that_is_not_there(group: Group) -> None:
    with pytest.raises(LogRefused):
        group.log.group_reader("no-such", "g", member="m", begin=dict, lost=lambda _: None, session_timeout_s=6.0)  # type: ignore[arg-type]
