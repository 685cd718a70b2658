"""Continuous batching: one queue, a few forwards at a time, and each forward takes what waits.

A lone request starts at once. While forwards run, others gather; when one ends they go together. So the
batch size follows the load by itself, and no timer makes anyone wait for company. `queued` bounds what is
accepted and not yet answered; above it new cases are refused at once.

Why not `@serve.batch` (Ray 2.60): it closes a batch before it waits for its turn, so with no wait a batch is whatever came in one
turn of the event loop, while other batches queue behind the forward; any wait is paid by a lone request too. With 32 clients that
ask 5 ms after their answers its forwards had 1.4 cases and ours 16: 113 cases a second against 286, p99 382 ms against 133
(`benchmarks/batch_queues.py`, docs/results.md, 2026-11-27).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

Forward = Callable[[list[Any]], Awaitable[list[Any]]]


class QueueFull(Exception):
    """No room for so many cases now."""


class ForwardFailed(Exception):
    """The forward of this item's batch failed. The cause's text is dropped: it may quote an item."""


@dataclass
class _Item:
    value: Any
    future: asyncio.Future
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Awaits `forward(list of items) -> one row each` on whatever waits, `at_once` times beside each other.

    Use from one event loop.
    """

    def __init__(self, forward: Forward, at_once: int, max_batch_size: int, max_queued: int):
        self._forward, self._at_once = forward, at_once
        self._max_batch_size, self._max_queued = max_batch_size, max_queued
        self._waiting: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task] = []
        self.queued = 0

    def start(self) -> None:
        self._tasks = [asyncio.get_running_loop().create_task(self._run()) for _ in range(self._at_once)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    @property
    def alive(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places for a request's cases from acceptance to their forward's end, all of them or none.

        Raises:
            QueueFull: there are not so many.
        """
        if self.queued + count > self._max_queued:
            raise QueueFull
        self.queued += count
        try:
            yield
        finally:
            self.queued -= count

    async def submit(self, value: Any) -> tuple[Any, float]:
        """The forward's row for one item, and the seconds that it waited. Cancelled meanwhile, it reaches no forward.

        Raises:
            ForwardFailed: the forward raised.
        """
        item = _Item(value, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return await item.future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await self._serve(batch)

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        while self._waiting and len(batch) < self._max_batch_size:
            item = self._waiting.popleft()
            if not item.future.done():
                batch.append(item)
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _serve(self, batch: list[_Item]) -> None:
        started = time.perf_counter()
        try:
            rows = await self._forward([item.value for item in batch])
        except Exception as error:
            logger.error("a forward over %d item(s) failed: %s", len(batch), type(error).__name__)
            rows = None
        for index, item in enumerate(batch):
            if item.future.done():
                continue
            if rows is None:
                item.future.set_exception(ForwardFailed())
            else:
                item.future.set_result((rows[index], started - item.since))
