"""Uplinks go to the log packed, within the limits, and are answered when the log has them and not before."""

import asyncio
from contextlib import suppress

import pytest
from simway_backbone.log import LogRefused
from simway_backbone.memory_log import MemoryLog
from simway_ingest.batcher import Batcher, Busy
from simway_protocol import limits, messages
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink
from simway_protocol.readings import Reading

DEADLINE_S = 10


def uplink(device="demo", seq=1, value=1.5):
    return Uplink(device, "udp", 1_795_312_800_000_000, "9f3c5a7e01b2d4c6", seq, [Reading("a", 1_795_312_800_000_000, value)])


def run(scenario, **options):
    """Runs ``scenario(bench)`` on a fresh loop, log and batcher."""

    async def main():
        log = MemoryLog()
        log.ensure_topics()
        bench = Bench(log, **options)
        await scenario(bench)

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


class Bench:
    def __init__(self, log, **options):
        self.log, self.results = log, []
        self.batcher = Batcher(log, asyncio.get_running_loop(), self.results.extend, **options)

    @property
    def durable(self):
        return [token for result in self.results if result.error is None for token in result.tokens]

    @property
    def failed(self):
        return [token for result in self.results if result.error is not None for token in result.tokens]

    def batches(self):
        return [messages.decode("uplink", record.value).uplinks for record in self.log.records("uplink")]


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_uplinks_of_one_partition_share_a_record_in_order_and_come_back_as_they_went():
    async def scenario(bench):
        sent = [uplink(seq=seq) for seq in range(1, 6)]
        for one in sent:
            bench.batcher.add([one], one.first_seq)
        assert bench.durable == []
        await until(lambda: len(bench.durable) == 5)
        assert bench.batches() == [sent]
        assert bench.durable == [1, 2, 3, 4, 5]
        assert bench.log.records("uplink")[0].partition == partition_of("demo")

    run(scenario)


def test_all_uplinks_of_a_token_lie_in_one_record():
    async def scenario(bench):
        bench.batcher.add([uplink(seq=1), uplink(seq=3)], "token")
        await until(lambda: bench.durable)
        assert [len(batch) for batch in bench.batches()] == [2]
        assert bench.durable == ["token"]

    run(scenario)


def test_each_partition_has_a_record_of_its_own():
    async def scenario(bench):
        devices = [f"device-{index}" for index in range(40)]
        for device in devices:
            bench.batcher.add([uplink(device)], device)
        await until(lambda: len(bench.durable) == 40)
        for record in bench.log.records("uplink"):
            found = messages.decode("uplink", record.value).uplinks
            assert {partition_of(one.device) for one in found} == {record.partition}
        assert len(bench.results) == 1

    run(scenario)


def test_nothing_is_answered_before_the_log_has_it():
    async def scenario(bench):
        bench.log.hold()
        bench.batcher.add([uplink()], 1)
        await until(lambda: bench.batcher._appended)
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.results == []
        bench.log.release()
        await until(lambda: bench.durable == [1])

    run(scenario)


def test_a_full_record_goes_at_once_by_count_and_by_size():
    async def by_count(bench):
        for seq in range(1, limits.BATCH_MAX_UPLINKS + 2):
            bench.batcher.add([Uplink("demo", "udp", 1)], seq)
        assert [len(batch) for batch in bench.batches()] == [limits.BATCH_MAX_UPLINKS]

    async def by_size(bench):
        big = uplink(value="x" * 900)
        for index in range(150):
            bench.batcher.add([big], index)
        assert len(bench.batches()) == 2
        assert all(len(record.value) <= limits.BATCH_MAX_BYTES + 64 for record in bench.log.records("uplink"))

    run(by_count, age_max_s=60)
    run(by_size, age_max_s=60)


def test_while_a_record_is_under_way_the_next_of_its_partition_grows_and_goes_when_it_is_answered():
    async def scenario(bench):
        bench.log.hold()
        bench.batcher.add([uplink(seq=1)], 1)
        await until(lambda: bench.batcher._appended)
        for seq in range(2, 6):
            bench.batcher.add([uplink(seq=seq)], seq)
            await asyncio.sleep(0.005)
        bench.batcher.add([uplink("device-1", seq=9)], 9)
        await until(lambda: len(bench.batcher._appended) == 2)
        bench.log.release()
        await until(lambda: len(bench.durable) == 6)
        assert sorted(len(batch) for batch in bench.batches()) == [1, 1, 4]

    run(scenario, age_max_s=0.001)


def test_while_the_log_is_away_the_sender_is_told_when_to_come_again():
    async def scenario(bench):
        bench.log.outage = "no broker"
        bench.batcher.add([uplink("device-1")], 1)
        bench.batcher.add([uplink("device-2")], 2)
        await until(lambda: len(bench.failed) == 2)
        assert all(result.retry_after_ms == 250 for result in bench.results)
        with pytest.raises(Busy) as caught:
            bench.batcher.add([uplink()], 3)
        assert 0 < caught.value.retry_after_ms <= 250
        assert bench.batcher.busy_ms > 0
        bench.log.outage = None
        await until(lambda: bench.batcher.busy_ms == 0)
        bench.batcher.add([uplink()], 4)
        await until(lambda: bench.durable == [4])

    run(scenario)


def test_the_back_off_grows_to_its_limit_and_ends_with_the_first_success():
    async def scenario(bench):
        bench.log.outage = "no broker"
        waits = []
        for _ in range(7):
            bench.batcher._away_until_s = 0
            bench.batcher.add([uplink()], 0)
            bench.batcher.flush()
            await until(lambda: len(bench.results) > len(waits))
            waits.append(bench.results[-1].retry_after_ms)
        assert waits == [250, 500, 1000, 2000, 4000, 5000, 5000]
        bench.log.outage, bench.batcher._away_until_s = None, 0
        bench.batcher.add([uplink()], 1)
        await until(lambda: bench.durable)
        assert bench.batcher.busy_ms == 0

    run(scenario)


def test_a_log_that_does_not_answer_makes_busy_and_memory_stays_bounded():
    async def slow(bench):
        bench.log.hold()
        bench.batcher.add([uplink()], 0)
        await until(lambda: bench.batcher.busy_ms)
        taken = [0]
        with suppress(Busy):
            while True:
                taken.append(len(taken))
                bench.batcher.add([uplink()], taken[-1])
                await asyncio.sleep(0.001)
        bench.log.release()
        await until(lambda: bench.durable == taken[:-1] and not bench.batcher.busy_ms)
        bench.batcher.add([uplink()], "again")

    async def full(bench):
        bench.log.hold()
        taken = 0
        with suppress(Busy):
            while True:
                bench.batcher.add([uplink(value="x" * 900)], taken)
                taken += 1
        assert taken < 12
        assert 10_000 < bench.batcher._held_bytes < 12_500
        bench.log.release()
        bench.batcher.flush()
        await until(lambda: bench.batcher.busy_ms == 0 and bench.batcher._held_bytes == 0)

    run(slow, slow_after_s=0.02)
    run(full, bytes_max=10_000)


def test_an_error_that_is_not_the_logs_is_no_loss_either():
    class Broken(MemoryLog):
        def append(self, topic, partition, records):
            future = super().append("no such topic", partition, records)
            assert isinstance(future.exception(), LogRefused)
            return future

    async def main():
        bench = Bench(Broken())
        bench.batcher.add([uplink()], 1)
        await until(lambda: bench.failed == [1])
        assert isinstance(bench.results[0].error, LogRefused)

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


def test_close_waits_for_the_log_and_gives_up_at_its_deadline():
    async def answered(bench):
        bench.batcher.add([uplink()], 1)
        await bench.batcher.close(5)
        assert bench.durable == [1]

    async def not_answered(bench):
        bench.log.hold()
        bench.batcher.add([uplink()], 1)
        await bench.batcher.close(0.02)
        assert bench.results == []

    run(answered, age_max_s=60)
    run(not_answered)
