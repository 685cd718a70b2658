"""How batches are scored, by whichever scorer: what it gives is looked at before it is believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mint_ray.batches import Batches, Unsound
from mint_ray.errors import ModelError, RowError
from mint_ray.scorers.base import PROBE
from mint_ray.tasks.base import View

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer, StagedScorer


def batches_of(scorer: Scorer) -> Batches[View, np.ndarray]:
    """What scores a scorer's batches, and tells a case that it cannot score from a scorer that is broken."""
    return Batches(partial(sound_scores, scorer), "the scorer", [PROBE])


def sound_scores(scorer: Scorer, views: Sequence[View]) -> np.ndarray:
    """A batch's scores, (views, labels), all of them finite.

    Raises:
        ModelError: they are of another shape.
        Unsound: some are not finite.
    """
    scores, expected = np.asarray(scorer.scores(list(views))), (len(views), len(scorer.labels))
    if scores.shape != expected:
        raise ModelError(f"the scorer {scorer.name!r} gives scores of shape {scores.shape}; expected {expected}")
    for row in scores:
        if not np.isfinite(row).all():
            seen = f"{int((~np.isfinite(row)).sum())} of {row.size}"
            raise Unsound(RowError("score-not-finite", "scores", seen, "finite scores"))
    return scores


class Ahead:
    """A scorer that reads views in a thread while it works on those before them: images and tokens beside a forward.

    One that has no `prepare_all` reads them when they are scored. See `mint_ray.scorers.base.StagedScorer`.
    """

    def __init__(self, scorer: Scorer):
        self._scorer, self._thread = scorer, ThreadPoolExecutor(1)
        self.name, self.digest, self.labels, self.modalities = (
            scorer.name,
            scorer.digest,
            scorer.labels,
            scorer.modalities,
        )
        self._expected: deque[tuple[list[View], Future[list[Any]]]] = deque(maxlen=2)  # those at work, and the next

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def expect(self, views: Sequence[View]) -> None:
        """Begin to read the views that will be scored next."""
        if prepare_all := getattr(self._scorer, "prepare_all", None):
            self._expected.append((list(views), self._thread.submit(prepare_all, list(views))))

    def scores(self, views: list[View]) -> np.ndarray:
        """As the scorer's own, and raises as it does."""
        for expected, read in self._expected:
            if len(expected) == len(views) and all(map(is_, expected, views)):
                return cast("StagedScorer", self._scorer).score_prepared(read.result())
        return self._scorer.scores(views)
