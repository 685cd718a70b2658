"""A comparison repeated with other seeds, taken together: whether an arm is better, or one training of it was.

<to>/
  pooled.json    figures over the cases of all seeds; differences to MINT, pooled, by seed and over trainings
  report.html    the same as a page
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mint_ray.comparison.arms import ARMS
from mint_ray.comparison.measure import (
    COMPARISON,
    REFERENCE,
    Difference,
    Measured,
    differences,
    graded_path,
    measure_replies,
    primary,
)
from mint_ray.corpora.store import run_labels
from mint_ray.errors import EvaluationError, RunError
from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.measure import keyed, replies_of, resampled
from mint_ray.evaluation.metrics import Figure
from mint_ray.evaluation.results import Reply, Truth
from mint_ray.parquet import read_table
from mint_ray.records import GradedAnswer, from_table
from mint_ray.runs import CONFIG, Run, open_run
from mint_ray.sections import differing, result_settings
from mint_ray.storage import reaching

_TWO_SIDED = stats.norm.ppf(0.975)  # standard errors from the middle of a 95 % interval to its end
_FREE = ("run", "cluster")  # sections in which repetitions may differ


@dataclass(frozen=True)
class Pooled:
    """Everything the page shows. Seeds in the order in which they were named, arms and references by name.

    Args:
        truths: the cases of all seeds. A group that several seeds tested is resampled as one.
        intervals: for other cases of the trainings that were made.
        differences: the same, arm minus MINT, paired.
        by_seed: each seed's own differences, by arm.
        over_trainings: by arm, the mean of the seeds' differences, for other trainings and other cases; see `spread`.
        left_out: by seed, the arms that not all seeds have.
    """

    runs: dict[int, Run]
    truths: list[Truth]
    figures: list[Figure]
    intervals: dict[str, list[Interval]]
    differences: dict[str, Difference]
    by_seed: dict[int, dict[str, Difference]]
    over_trainings: dict[str, list[Interval]]
    left_out: dict[int, list[str]]

    @property
    def run(self) -> Run:
        """The first repetition, whose settings are those of all."""
        return next(iter(self.runs.values()))


def open_comparisons(folders: Sequence[Path]) -> dict[int, Run]:
    """The runs of finished comparisons, by seed.

    Raises:
        RunError: a folder holds no finished comparison, or stages that were made from another configuration since.
        EvaluationError: fewer than two; a seed stands twice, so that its patients would count twice; settings differ.
    """
    runs = [open_comparison(folder) for folder in folders]
    if len(runs) < 2:
        raise EvaluationError("one comparison cannot be pooled: name the run.dir of two or more, each of another seed")
    seeds = Counter(run.config.run.seed for run in runs)
    if twice := [seed for seed, times in seeds.items() if times > 1]:
        there = ", ".join(str(run.dir) for run in runs if run.config.run.seed == twice[0])
        raise EvaluationError(
            f"run.seed is {twice[0]} in {there}: their cases are the same and would count twice; name one of them"
        )
    first, *others = runs
    for other in others:
        if found := differing(repeated_settings(first), repeated_settings(other)):
            told = "\n  ".join(f"{key}: {here!r} and {there!r}" for key, here, there in found)
            raise EvaluationError(
                f"{first.dir} and {other.dir} are no repetitions of one comparison:\n  {told}\n"
                "Pool runs that differ in run.seed alone."
            )
    for run in runs:
        for stage in ("cases", "preferences"):
            run.stage(stage).require()
    return {run.config.run.seed: run for run in runs}


def open_comparison(folder: Path) -> Run:
    """The run of a finished comparison, under the configuration that its figures hold for."""
    kept = f"{COMPARISON}/{CONFIG}"
    with reaching(folder):
        if not (folder / kept).exists():
            raise RunError(
                f"{folder}: holds no finished comparison (no {kept}): run jobs/compare.py with this run.dir first, or "
                "once more if it is of an earlier version; what is complete there is kept"
            )
    return open_run(folder, kept)


def repeated_settings(run: Run) -> dict[str, Any]:
    """What repetitions must have in common: all that a result depends on, but for the seed and the choice of arms."""
    settings = {key: value for key, value in result_settings(run.config).items() if key not in _FREE}
    return settings | {"comparison": {k: v for k, v in settings["comparison"].items() if k != "arms"}}


def measure_pooled(runs: dict[int, Run]) -> Pooled:
    """All figures of comparisons taken together, without writing anything."""
    told = {seed: compared_arms(run) for seed, run in runs.items()}
    common = [name for name in ARMS if all(name in arms for arms in told.values())]
    if REFERENCE not in common or len(common) < 2:
        listed = "; ".join(f"seed {seed}: {', '.join(arms)}" for seed, arms in told.items())
        raise EvaluationError(f"the comparisons share no arm beside {REFERENCE} to hold against it ({listed})")
    parts = {seed: measured(run, common) for seed, run in runs.items()}
    run, first = next(iter(runs.values())), next(iter(parts.values()))
    truths = [truth for part in parts.values() for truth in part.truths]
    names = [name for name in first.arrays if all(name in part.arrays for part in parts.values())]
    arrays = {name: np.concatenate([part.arrays[name] for part in parts.values()]) for name in names}
    by_seed = {seed: gaps(runs[seed], part, common) for seed, part in parts.items()}
    return Pooled(
        runs=runs,
        truths=truths,
        figures=first.figures,
        intervals={name: resampled(run, truths, array).intervals() for name, array in arrays.items()},
        differences=gaps(run, Measured(truths, first.figures, arrays), common),
        by_seed=by_seed,
        over_trainings={
            name: spread([found[name].intervals for found in by_seed.values()]) for name in common if name != REFERENCE
        },
        left_out={seed: rest for seed, arms in told.items() if (rest := [name for name in arms if name not in common])},
    )


def compared_arms(run: Run) -> list[str]:
    """The arms of a finished comparison."""
    return list(json.loads((run.dir / COMPARISON / "comparison.json").read_text())["arms"])


def measured(run: Run, arms: Sequence[str]) -> Measured:
    """The figures of every case of one comparison, from the graded answers that it left."""
    return measure_replies(run, {name: graded_replies(run, name) for name in arms}, run_labels(run))


def graded_replies(run: Run, arm: str) -> dict[str, Reply]:
    """What an arm replied, by case."""
    return replies_of(from_table(read_table(graded_path(run, arm)), GradedAnswer))


def gaps(run: Run, part: Measured, arms: Sequence[str]) -> dict[str, Difference]:
    """Every arm minus MINT, paired; Holm's correction runs over the arms and the primary figures."""
    draws = {name: resampled(run, part.truths, part.arrays[name]) for name in arms}
    return differences(draws, part.figures, primary(run))


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
        "primary": primary(result.run),
        "left_out": result.left_out,
        "rows": {name: keyed(result.figures, intervals) for name, intervals in result.intervals.items()},
        f"minus_{REFERENCE}": {name: difference_summary(result, name) for name in result.differences},
    }


def extent(result: Pooled) -> dict[str, Any]:
    """What the figures are over."""
    return {
        "seeds": list(result.runs),
        "split": result.run.config.inference.split,
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
