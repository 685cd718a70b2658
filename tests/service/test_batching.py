"""The queue alone: forwards share, nobody waits for company, one bad item costs itself."""

import asyncio
import threading

import pytest

from mint_ray.service.batching import Batcher, ForwardFailed, QueueFull


class Doubler:
    """A forward that can be held, and that keeps the batches that it saw."""

    def __init__(self):
        self.batches, self.gate, self.entered = [], threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self, values):
        self.batches.append(list(values))
        self.entered.set()
        self.gate.wait(10)
        if "bad" in values:
            raise ValueError("bad")
        return [2 * value for value in values]


async def batcher_of(forward, max_batch_size=4, max_queued=8, at_once=1):
    async def in_thread(values):
        return await asyncio.to_thread(forward, values)

    batcher = Batcher(in_thread, at_once, max_batch_size, max_queued)
    batcher.start()
    return batcher


async def hold(batcher, forward):
    """A first item in a forward that does not end until the gate opens."""
    forward.gate.clear()
    first = asyncio.create_task(batcher.submit(1))
    while not forward.entered.is_set():
        await asyncio.sleep(0.001)
    return first


def test_a_lone_item_goes_at_once_and_alone():
    async def scenario():
        forward = Doubler()
        batcher = await batcher_of(forward)
        row, waited = await batcher.submit(3)
        await batcher.stop()
        return row, waited >= 0, forward.batches

    assert asyncio.run(scenario()) == (6, True, [[3]])


def test_what_gathers_during_a_forward_shares_the_next_in_order_of_arrival():
    async def scenario():
        forward = Doubler()
        batcher = await batcher_of(forward)
        first = await hold(batcher, forward)
        others = [asyncio.create_task(batcher.submit(i)) for i in range(2, 8)]
        await asyncio.sleep(0)
        forward.gate.set()
        rows = [row for row, _ in await asyncio.gather(first, *others)]
        await batcher.stop()
        return rows, forward.batches

    assert asyncio.run(scenario()) == ([2, 4, 6, 8, 10, 12, 14], [[1], [2, 3, 4, 5], [6, 7]])


def test_a_second_forward_starts_beside_the_first_and_the_rest_share_the_next():
    async def scenario():
        forward = Doubler()
        batcher = await batcher_of(forward, at_once=2)
        first = await hold(batcher, forward)
        second = asyncio.create_task(batcher.submit(2))
        while len(forward.batches) < 2:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.submit(i)) for i in (3, 4)]
        await asyncio.sleep(0)
        beside = list(forward.batches), first.done()
        forward.gate.set()
        rows = [row for row, _ in await asyncio.gather(first, second, *others)]
        await batcher.stop()
        return beside, rows, forward.batches

    assert asyncio.run(scenario()) == (([[1], [2]], False), [2, 4, 6, 8], [[1], [2], [3, 4]])


def test_an_item_that_was_given_up_while_waiting_reaches_no_forward():
    async def scenario():
        forward = Doubler()
        batcher = await batcher_of(forward)
        first = await hold(batcher, forward)
        given_up, kept = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        forward.gate.set()
        await asyncio.gather(first, kept)
        await batcher.stop()
        return forward.batches

    assert asyncio.run(scenario()) == [[1], [3]]


def test_a_forward_that_raises_fails_its_own_batch_alone_and_without_its_words():
    async def scenario():
        forward = Doubler()
        batcher = await batcher_of(forward)
        first = await hold(batcher, forward)
        failing = [asyncio.create_task(batcher.submit(value)) for value in (2, "bad", 3, 4)]
        after = asyncio.create_task(batcher.submit(5))
        await asyncio.sleep(0)
        forward.gate.set()
        results = await asyncio.gather(first, *failing, after, return_exceptions=True)
        alive = batcher.alive
        await batcher.stop()
        return results, alive

    results, alive = asyncio.run(scenario())
    assert (results[0][0], results[5][0], alive) == (2, 10, True)
    assert all(isinstance(each, ForwardFailed) and str(each) == "" for each in results[1:5])


def test_places_are_all_or_none_and_come_back():
    async def scenario():
        batcher = await batcher_of(Doubler(), max_queued=8)
        with batcher.places(6):
            with pytest.raises(QueueFull), batcher.places(3):
                pass
            with batcher.places(2):
                assert batcher.queued == 8
        await batcher.stop()
        return batcher.queued

    assert asyncio.run(scenario()) == 0
