"""Cases in, rankings out: what the HTTP application and the deployment handle both call."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mint_ray.corpora.images import check_image
from mint_ray.errors import RowError
from mint_ray.scorers.base import Scorer
from mint_ray.service import intake
from mint_ray.service.api import EXAMPLE_IMAGE, CaseProblem, CaseRanking, RankedLabel
from mint_ray.service.batching import Batcher, ForwardFailed, QueueFull
from mint_ray.service.metrics import Metrics
from mint_ray.service.problems import Problem, overloaded
from mint_ray.service.settings import BatchingSection, LimitsSection
from mint_ray.tasks.base import Task, View

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submission:
    """A case as it came: its fields unchecked, and its image as bytes where it came as a file."""

    fields: Any
    image: bytes | None = None

    def __repr__(self) -> str:
        return "Submission()"


class Engine:
    """A scorer, the threads that prepare its inputs, and the queue before its forwards. Use from one event loop."""

    def __init__(self, scorer: Scorer, task: Task, limits: LimitsSection, batching: BatchingSection, metrics: Metrics):
        self.scorer, self.task, self.limits, self.metrics = scorer, task, limits, metrics
        self._staged = hasattr(scorer, "prepare") and hasattr(scorer, "score_prepared")
        forward = scorer.score_prepared if self._staged else scorer.scores
        self._batcher = Batcher(forward, batching.max_batch_size, limits.queued_cases, metrics.batch)
        self._threads = ThreadPoolExecutor(batching.preparing_threads, thread_name_prefix="prepare")

    async def start(self) -> None:
        """Begin to serve; returns once a forward has run, so that what is ready is known to work."""
        self._batcher.start()
        await self.row(View(text="warm-up", image=base64.b64decode(EXAMPLE_IMAGE)))

    async def stop(self) -> None:
        await self._batcher.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        return self._batcher.alive

    @property
    def queued(self) -> int:
        return self._batcher.queued

    async def rank(self, submissions: list[Submission], top_k: int, bottom_q: int) -> list[CaseRanking | CaseProblem]:
        """One result a case, in order.

        Raises:
            Problem: `overloaded`, for all of them or none.
        """
        with self._places(len(submissions)):
            return list(await asyncio.gather(*(self._result(case, top_k, bottom_q) for case in submissions)))

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
            self.metrics.refusal(problem.code)
            return CaseProblem(id=intake.case_id(submission.fields), problem=problem.details)

    async def _ranked(self, submission: Submission, top_k: int, bottom_q: int) -> CaseRanking:
        started = time.perf_counter()
        try:
            case_id, prepared = await self._in_thread(self._prepare_case, submission)
            self.metrics.stage("prepare", time.perf_counter() - started)
            scores = await self._forward(prepared)
        except Problem:
            self.metrics.case("problem")
            raise
        self.metrics.case("ranking")
        top, bottom = self._head_and_tail(scores, top_k, bottom_q)
        return CaseRanking(id=case_id, top=top, bottom=bottom)

    def _prepare_case(self, submission: Submission) -> tuple[str, Any]:
        case = intake.read_case(submission.fields, self.limits)
        image = submission.image if submission.image is not None else intake.decode_image(case.image, self.limits)
        if image is not None:
            intake.check_header(image, self.limits)
        try:
            return case.id, self._prepared(intake.scorer_view(case.case(image), self.task))
        except RowError as error:
            raise intake.from_row_error(error) from None

    def _prepared(self, view: View) -> Any:
        try:
            if not self._staged and view.image is not None:
                check_image(view.image)
            return self.scorer.prepare(view) if self._staged else view
        except RowError:
            raise
        except Exception as error:  # its text may quote the case
            logger.error("a case could not be prepared: %s", type(error).__name__)
            raise RowError("not-scorable", "image or text", type(error).__name__) from None

    async def row(self, view: View) -> np.ndarray:
        """The scores of one view over all labels.

        Raises:
            RowError: the view cannot be scored.
        """
        prepared = await self._in_thread(self._prepared, view)
        try:
            return await self._forward(prepared)
        except Problem as problem:
            raise RowError("not-scorable", "scores", problem.code) from None

    async def rows(self, views: list[View]) -> list[np.ndarray | RowError]:
        """The scores of each view, or why there are none. They share forwards with everyone else's.

        Raises:
            Problem: `overloaded`, for all of them or none.
        """
        with self._places(len(views)):
            results = await asyncio.gather(*(self.row(view) for view in views), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, RowError):
                raise result
        return results

    async def _forward(self, prepared: Any) -> np.ndarray:
        try:
            scores, timing = await self._batcher.submit(prepared)
        except ForwardFailed:
            raise Problem("scoring-failed") from None
        self.metrics.stage("queue", timing.queue)
        if not np.isfinite(scores).all():
            raise Problem("scoring-failed", "a score is not finite")
        return scores

    async def _in_thread(self, function, *arguments) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

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
