"""How batches are scored, by whichever scorer: what it gives is looked at before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mint_ray.batches import Batches, Unsound
from mint_ray.errors import ModelError, RowError
from mint_ray.scorers.base import PROBE
from mint_ray.tasks.base import View

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer


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
