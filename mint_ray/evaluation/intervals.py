"""95 % intervals by bootstrap over groups: cases of one publication, patient or slide resemble each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mint_ray.errors import EvaluationError

MINIMUM_GROUPS = 5  # fewer give at most 126 distinct resamples, too coarse for a 95 % interval
_LEVELS = (2.5, 97.5)
_AT_ONCE = 2**22  # how often a group is drawn, in memory: 64 MB


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95 % interval; None where no case has the figure, the ends where groups are too few."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bootstrap:
    """The means of m figures, shape (m,), and the same means in each resample of the groups, (draws, m)."""

    means: np.ndarray
    draws: np.ndarray

    def intervals(self) -> list[Interval]:
        """One percentile interval a figure."""
        return _intervals(self.means, self.draws)

    def difference(self, other: Bootstrap) -> list[Interval]:
        """Self minus other, paired: both were drawn over the same groups with the same seed."""
        return _intervals(self.means - other.means, self.draws - other.draws)

    def p_values(self, other: Bootstrap) -> list[float | None]:
        """Two-sided, a figure: how far the resampled paired differences lie on one side of zero; at least 2 / (draws + 1).

        It agrees with the interval: below 0.05 where the interval of `difference` is clear of zero.
        """
        found: list[float | None] = []
        for mean, column in zip(self.means - other.means, (self.draws - other.draws).T, strict=True):
            seen = column[~np.isnan(column)]
            if np.isnan(mean) or not len(seen):
                found.append(None)
            else:
                beyond = min((seen <= 0).sum(), (seen >= 0).sum())
                found.append(float(min(1.0, 2 * (beyond + 1) / (len(seen) + 1))))
        return found


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for being many (Holm 1979): rejecting those below a level errs anywhere no oftener than it says."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def bootstrap(values: np.ndarray, groups: Sequence[str], draws: int, seed: int) -> Bootstrap:
    """Resample groups with replacement.

    Args:
        values: shape (cases, m); NaN where a case does not have the figure.
        groups: each case's group. The same groups and seed give the same resamples, in any order of the cases.

    Raises:
        EvaluationError: fewer than `MINIMUM_GROUPS` groups.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < MINIMUM_GROUPS:
        raise EvaluationError(
            f"{len(names)} groups answered; an interval over groups needs at least {MINIMUM_GROUPS}: evaluate more cases"
        )
    sums, counts = np.zeros((2, len(names), values.shape[1]))
    np.add.at(sums, member, np.nan_to_num(values))
    np.add.at(counts, member, ~np.isnan(values))
    generator, even = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    resampled: list[np.ndarray] = []
    with np.errstate(invalid="ignore"):  # 0/0: a resample in which no case has the figure
        for some in _parts(draws, max(1, _AT_ONCE // len(names))):
            # One draw after the other, so that it is the same resample in whatever part it is drawn.
            times = generator.multinomial(len(names), even, size=some).astype(float)
            resampled.append((times @ sums) / (times @ counts))
        return Bootstrap(sums.sum(0) / counts.sum(0), np.concatenate(resampled))


def _parts(total: int, most: int) -> list[int]:
    """A number as a sum of numbers of at most `most`."""
    return [min(most, total - start) for start in range(0, total, most)]


def _intervals(means: np.ndarray, draws: np.ndarray) -> list[Interval]:
    found = []
    for mean, column in zip(means, draws.T, strict=True):
        seen = column[~np.isnan(column)]
        if np.isnan(mean) or not len(seen):
            found.append(Interval(None, None, None))
        else:
            low, high = np.percentile(seen, _LEVELS)
            found.append(Interval(float(mean), float(low), float(high)))
    return found
