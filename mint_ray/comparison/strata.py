"""Cases in groups of like size by a count: training cases of their label, what the task counts of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stratum:
    """Cases whose count lies in a range, ends included; `member` is a mask over the cases."""

    title: str
    member: np.ndarray


def terciles(counts: Sequence[int]) -> list[Stratum]:
    """Up to three ranges of a count with about equally many cases; equal counts never part. One value: no strata."""
    values = np.asarray(counts, int)
    if len(np.unique(values)) < 2:
        return []
    ends = np.unique([*np.quantile(values, [1 / 3, 2 / 3], method="lower"), values.max()])
    strata, before = [], values.min() - 1
    for end in ends:
        member = (values > before) & (values <= end)
        low, high = values[member].min(), values[member].max()
        strata.append(Stratum(str(low) if low == high else f"{low}–{high}", member))
        before = end
    return strata
