"""A comparison repeated with other seeds, taken together: whether an arm is better, or one training of it was.

<to>/
  pooled.json    figures over the cases of all seeds; differences to MINT, pooled, by seed and over trainings
  report.html    the same as a page
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mint_ray.comparison.arms import ARMS
from mint_ray.comparison.measure import (
    REFERENCE,
    Difference,
    Measured,
    differences,
    measure_replies,
    primary,
)
from mint_ray.comparison.repetitions import Repetition
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.inputs import Rules
from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.measure import keyed, resampled
from mint_ray.evaluation.metrics import Figure
from mint_ray.evaluation.results import Truth

_TWO_SIDED = stats.norm.ppf(0.975)  # standard errors from the middle of a 95 % interval to its end


@dataclass(frozen=True)
class Pooled:
    """Everything the page shows. Seeds in the order in which they were named, arms and references by name.

    Args:
        rules: what all repetitions are judged by, with the seed of the first.
        truths: the cases of all seeds. A group that several seeds tested is resampled as one.
        intervals: for other cases of the trainings that were made.
        differences: the same, arm minus MINT, paired.
        by_seed: each seed's own differences, by arm.
        over_trainings: by arm, the mean of the seeds' differences, for other trainings and other cases; see `spread`.
        left_out: by seed, the arms that not all seeds have.
    """

    seeds: list[int]
    rules: Rules
    truths: list[Truth]
    figures: list[Figure]
    intervals: dict[str, list[Interval]]
    differences: dict[str, Difference]
    by_seed: dict[int, dict[str, Difference]]
    over_trainings: dict[str, list[Interval]]
    left_out: dict[int, list[str]]


def measure_pooled(repetitions: Mapping[int, Repetition]) -> Pooled:
    """All figures of comparisons taken together.

    Args:
        repetitions: by seed.

    Raises:
        EvaluationError: they share no arm to hold against MINT.
    """
    told = {seed: list(each.replies) for seed, each in repetitions.items()}
    common = [name for name in ARMS if all(name in arms for arms in told.values())]
    if REFERENCE not in common or len(common) < 2:
        listed = "; ".join(f"seed {seed}: {', '.join(arms)}" for seed, arms in told.items())
        raise EvaluationError(f"the comparisons share no arm beside {REFERENCE} to hold against it ({listed})")
    parts = {
        seed: measure_replies(each.given, {name: each.replies[name] for name in common})
        for seed, each in repetitions.items()
    }
    rules, first = next(iter(repetitions.values())).given.known.rules, next(iter(parts.values()))
    truths = [truth for part in parts.values() for truth in part.truths]
    names = [name for name in first.arrays if all(name in part.arrays for part in parts.values())]
    arrays = {name: np.concatenate([part.arrays[name] for part in parts.values()]) for name in names}
    by_seed = {seed: gaps(repetitions[seed].given.known.rules, part, common) for seed, part in parts.items()}
    return Pooled(
        seeds=list(repetitions),
        rules=rules,
        truths=truths,
        figures=first.figures,
        intervals={name: resampled(rules, truths, array).intervals() for name, array in arrays.items()},
        differences=gaps(rules, Measured(truths, first.figures, arrays), common),
        by_seed=by_seed,
        over_trainings={
            name: spread([found[name].intervals for found in by_seed.values()]) for name in common if name != REFERENCE
        },
        left_out={seed: rest for seed, arms in told.items() if (rest := [name for name in arms if name not in common])},
    )


def gaps(rules: Rules, part: Measured, arms: Sequence[str]) -> dict[str, Difference]:
    """Every arm minus MINT, paired; Holm's correction runs over the arms and the primary figures."""
    draws = {name: resampled(rules, part.truths, part.arrays[name]) for name in arms}
    return differences(draws, part.figures, primary(rules))


def spread(by_seed: Sequence[Sequence[Interval]]) -> list[Interval]:
    """The mean of the seeds' values with its 95 % interval by Student's t, a figure each.

    A seed is one draw of everything: patients, scorer, pairs, first weights and order. So this interval holds for the
    next seed too, where a bootstrap over cases holds for other cases of the same trainings. It is wide for few seeds,
    as it has to be: with two it is 12.7 standard errors to each side, with five 2.8. Seeds that lie close together by
    luck make it no narrower than their own intervals allow: the standard error is the larger one of what the seeds
    differ by and what their cases leave open (Röver et al. 2015, the modified Knapp-Hartung method, equal weights).

    Args:
        by_seed: for each seed, a value a figure with its interval over cases.
    """
    found = []
    for seen in zip(*by_seed, strict=True):
        values = [interval.value for interval in seen]
        if None in values:
            found.append(Interval(None, None, None))
            continue
        of_cases = [(interval.high - interval.low) / (2 * _TWO_SIDED) for interval in seen]
        error = max(stats.sem(values), np.linalg.norm(of_cases) / len(seen))
        mean, reach = np.mean(values), stats.t.ppf(0.975, len(seen) - 1) * error
        found.append(Interval(float(mean), float(mean - reach), float(mean + reach)))
    return found


def summary(result: Pooled) -> dict[str, Any]:
    """What pooled.json holds."""
    return {
        **extent(result),
        "primary": primary(result.rules),
        "left_out": result.left_out,
        "rows": {name: keyed(result.figures, intervals) for name, intervals in result.intervals.items()},
        f"minus_{REFERENCE}": {name: difference_summary(result, name) for name in result.differences},
    }


def extent(result: Pooled) -> dict[str, Any]:
    """What the figures are over."""
    return {
        "seeds": result.seeds,
        "split": result.rules.split,
        "cases": len(result.truths),
        "groups": len({truth.group_id for truth in result.truths}),
    }


def difference_summary(result: Pooled, name: str) -> dict[str, Any]:
    """An arm's difference to MINT by figure: pooled with its p values, of each seed, and over trainings."""
    pooled = result.differences[name]
    return {
        figure.key: dataclasses.asdict(pooled.intervals[i])
        | {"p": pooled.p_values[i], "p_holm": pooled.adjusted[i]}
        | {"seeds": {seed: dataclasses.asdict(found[name].intervals[i]) for seed, found in result.by_seed.items()}}
        | {"over_trainings": dataclasses.asdict(result.over_trainings[name][i])}
        for i, figure in enumerate(result.figures)
    }
