"""Finished comparisons, opened to be taken together: seen to be repetitions of one before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray.comparison.outcomes import COMPARISON, Given, graded_path, read_given
from mint_ray.errors import EvaluationError, RunError
from mint_ray.evaluation.measure import replies_of
from mint_ray.parquet import read_table
from mint_ray.records import GradedAnswer, from_table
from mint_ray.runs import CONFIG, Run, open_run, read_json
from mint_ray.sections import differing, result_settings
from mint_ray.storage import reaching

if TYPE_CHECKING:
    from mint_ray.evaluation.results import Reply

_FREE = ("run", "cluster")  # sections in which repetitions may differ


@dataclass(frozen=True)
class Repetition:
    """A finished comparison: what its arms shared, and the replies of each."""

    given: Given
    replies: dict[str, dict[str, Reply]]


def read_repetition(run: Run) -> Repetition:
    """What a finished comparison left."""
    arms = read_json(run.dir / COMPARISON / "comparison.json")["arms"]
    return Repetition(read_given(run), {name: graded_replies(run, name) for name in arms})


def graded_replies(run: Run, arm: str) -> dict[str, Reply]:
    """What an arm replied, by case."""
    return replies_of(from_table(read_table(graded_path(run, arm)), GradedAnswer))


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
        for stage in ("cases", "rankings"):
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
