"""Cases in, rankings out: what the HTTP application and the deployment handle both call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mint_ray.errors import RowError
from mint_ray.service import intake
from mint_ray.service.api import CaseProblem, CaseRanking, RankedLabel
from mint_ray.service.batching import Batcher, ForwardFailed, QueueFull
from mint_ray.service.metrics import Metrics
from mint_ray.service.problems import Problem, overloaded
from mint_ray.service.scoring import WARM_UP, Scoring
from mint_ray.service.settings import LimitsSection
from mint_ray.service.wire import Row
from mint_ray.tasks.base import Task, View

AT_ONCE = 2**18  # bytes that an event loop may read without others noticing


async def _all_ended(work: Iterable[Coroutine]) -> list[Any]:
    """What each came to, once all have ended: their places are not free while one of them runs.

    Raises:
        Exception: the first of any kind but `RowError`, which is a result.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, RowError):
            raise result
    return results


@dataclass(frozen=True)
class Submission:
    """A case as it came: its fields unchecked, and its image as bytes where it came as a file."""

    fields: Any
    image: bytes | None = None

    @property
    def size(self) -> int:
        """Characters of its texts and bytes of its image, about."""
        texts = self.fields.values() if isinstance(self.fields, dict) else ()
        return len(self.image or b"") + sum(len(text) for text in texts if isinstance(text, str))

    def __repr__(self) -> str:
        return "Submission()"


class Engine:
    """A scorer and the queue before its batches. Use from one event loop."""

    def __init__(self, scorer: Scoring, task: Task, limits: LimitsSection, max_batch_size: int, metrics: Metrics):
        self.scorer, self.task, self.limits, self.metrics = scorer, task, limits, metrics
        self._batcher = Batcher(self._score, scorer.at_once, max_batch_size, limits.queued_cases)

    async def start(self) -> None:
        """Begin to serve; returns once a forward has run, so that what is ready is known to work."""
        self._batcher.start()
        # For its first case a task may read an ontology, which no request shall wait for.
        await asyncio.to_thread(self.task.scorer_view, self.task.example)
        await self.row(WARM_UP)

    async def stop(self) -> None:
        await self._batcher.stop()

    @property
    def alive(self) -> bool:
        return self._batcher.alive and self.scorer.alive

    @property
    def queued(self) -> int:
        return self._batcher.queued

    async def rank(self, submissions: list[Submission], top_k: int, bottom_q: int) -> list[CaseRanking | CaseProblem]:
        """One result a case, in order.

        Raises:
            Problem: `overloaded` or `not-ready`, for all of them or none.
        """
        with self._places(len(submissions)):
            return await _all_ended(self._result(case, top_k, bottom_q) for case in submissions)

    async def rank_one(self, submission: Submission, top_k: int, bottom_q: int) -> CaseRanking:
        """The ranking of one case.

        Raises:
            Problem: whatever is wrong with it, or `overloaded`.
        """
        with self._places(1):
            return await self._ranked(submission, top_k, bottom_q)

    @contextmanager
    def _places(self, count: int) -> Iterator[None]:
        try:
            with self._batcher.places(count):
                yield
        except QueueFull:
            raise overloaded(f"{self.queued} cases are waiting", self.limits.retry_after_seconds) from None

    async def _result(self, submission: Submission, top_k: int, bottom_q: int) -> CaseRanking | CaseProblem:
        try:
            return await self._ranked(submission, top_k, bottom_q)
        except Problem as problem:
            if problem.code == "not-ready":  # no fault of the case
                raise
            self.metrics.refusal(problem.code)
            return CaseProblem(id=intake.case_id(submission.fields), problem=problem.details)

    async def _ranked(self, submission: Submission, top_k: int, bottom_q: int) -> CaseRanking:
        started = time.perf_counter()
        try:
            case_id, view = await self._read_cheaply(submission)
            self.metrics.stage("read", time.perf_counter() - started)
            scores = await self._scores(view)
        except Problem:
            self.metrics.case("problem")
            raise
        self.metrics.case("ranking")
        top, bottom = self._head_and_tail(scores, top_k, bottom_q)
        return CaseRanking(id=case_id, top=top, bottom=bottom)

    async def _read_cheaply(self, submission: Submission) -> tuple[str, View]:
        """A small case is read at once: to hand it to a thread would cost more than to read it."""
        return self._read(submission) if submission.size <= AT_ONCE else await asyncio.to_thread(self._read, submission)

    def _read(self, submission: Submission) -> tuple[str, View]:
        case = intake.read_case(submission.fields, self.limits)
        image = submission.image if submission.image is not None else intake.decode_image(case.image, self.limits)
        if image is not None:
            intake.check_header(image, self.limits)
        return case.id, intake.scorer_view(case.case(image), self.task)

    async def _scores(self, view: View) -> np.ndarray:
        try:
            return await self.row(view)
        except RowError as error:
            raise intake.from_row_error(error) from None

    async def row(self, view: View) -> np.ndarray:
        """The scores of one view over all labels.

        Raises:
            RowError: the view cannot be scored.
            Problem: `not-ready`, the scorer is gone.
        """
        try:
            row, waited = await self._batcher.submit(view)
        except ForwardFailed:
            raise Problem("not-ready", "the scorer ended", headers=self._retry_after) from None
        self.metrics.stage("queue", waited)
        if isinstance(row, RowError):
            raise row
        return row

    async def rows(self, views: list[View]) -> list[np.ndarray | RowError]:
        """The scores of each view, or why there are none. They share forwards with everyone else's.

        Raises:
            Problem: `overloaded` or `not-ready`, for all of them or none.
        """
        with self._places(len(views)):
            return await _all_ended(self.row(view) for view in views)

    async def _score(self, views: list[View]) -> list[Row]:
        scored = await self.scorer.score(views)
        self.metrics.batch(len(views), scored.prepare, scored.forward)
        return scored.rows

    @property
    def _retry_after(self) -> dict[str, str]:
        return {"Retry-After": str(self.limits.retry_after_seconds)}

    def _head_and_tail(
        self, scores: np.ndarray, top_k: int, bottom_q: int
    ) -> tuple[list[RankedLabel], list[RankedLabel]]:
        order = np.argsort(-scores, kind="stable")
        first_of_tail = max(len(order) - bottom_q, 0)
        return (
            [self._label(rank, index, scores) for rank, index in enumerate(order[:top_k], 1)],
            [self._label(rank, index, scores) for rank, index in enumerate(order[first_of_tail:], first_of_tail + 1)],
        )

    def _label(self, rank: int, index: int, scores: np.ndarray) -> RankedLabel:
        label = self.scorer.labels[index]
        return RankedLabel(rank=rank, id=label.id, name=label.name, score=float(scores[index]))
