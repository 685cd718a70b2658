"""Arms side by side: what each way of making the model answers about the same cases, and how sure the gaps to MINT are.

comparison/
  comparison.json            every figure with its interval, differences, strata, curves, cost
  graded/<arm>/part-*.parquet  `GradedAnswer`
  report.html                the same as a page
  config.yaml                written last: the configuration that all of it holds for
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mint_ray.comparison.outcomes import Arm, read_arms
from mint_ray.comparison.strata import Stratum, terciles
from mint_ray.corpora.store import case_table, held_out, run_labels
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.intervals import MINIMUM_GROUPS, Bootstrap, Interval, holm
from mint_ray.evaluation.measure import (
    depth_and_tail,
    extent,
    figure_values,
    first_names,
    keyed,
    known_truths,
    name_index,
    references,
    replies_of,
    resampled,
)
from mint_ray.evaluation.metrics import Figure, catalogue
from mint_ray.evaluation.results import Reply, Truth
from mint_ray.records import Case, from_table
from mint_ray.runs import Run
from mint_ray.tasks.base import Label

COMPARISON = "comparison"  # its folder in the run's directory
REFERENCE = "mint"  # the arm that the others are held against


@dataclass(frozen=True)
class Difference:
    """An arm minus MINT, paired, a figure each; `adjusted` only for the primary figures, None elsewhere."""

    intervals: list[Interval]
    p_values: list[float | None]
    adjusted: list[float | None]


@dataclass(frozen=True)
class Measured:
    """Every figure of every case: an array (cases, figures) for each arm and then each reference, by name."""

    truths: list[Truth]
    figures: list[Figure]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Everything the page shows. Rows are the arms and then the references, by name."""

    arms: list[Arm]
    truths: list[Truth]
    labels: list[Label]
    figures: list[Figure]
    intervals: dict[str, list[Interval]]
    differences: dict[str, Difference]
    strata: dict[str, list[tuple[Stratum, dict[str, list[Interval]]]]]

    def place(self, key: str) -> int:
        """Where a figure stands in the lists of intervals."""
        return next(i for i, figure in enumerate(self.figures) if figure.key == key)


def graded_path(run: Run, arm: str) -> Path:
    """Where an arm's graded answers are kept."""
    return run.dir / COMPARISON / "graded" / arm / "part-00000.parquet"


def measure_arms(run: Run, runs: dict[str, Run]) -> Comparison:
    """All figures of a comparison, without writing anything."""
    if not runs:
        raise EvaluationError("there is no arm to compare: name one or more")
    labels = run_labels(run)
    arms = read_arms(run, runs, name_index(run, labels))
    measured = measure_replies(run, {arm.name: replies_of(arm.answers) for arm in arms}, labels)
    draws = {name: resampled(run, measured.truths, array) for name, array in measured.arrays.items()}
    return Comparison(
        arms=arms,
        truths=measured.truths,
        labels=labels,
        figures=measured.figures,
        intervals={name: drawn.intervals() for name, drawn in draws.items()},
        differences=differences({arm.name: draws[arm.name] for arm in arms}, measured.figures, primary(run)),
        strata=stratified(run, measured.truths, measured.arrays),
    )


def measure_replies(run: Run, replies: dict[str, dict[str, Reply]], labels: list[Label]) -> Measured:
    """The figures of arms' replies on the cases that all of them answered, and of the references beside them.

    Raises:
        EvaluationError: see `common_truths`.
    """
    truths, index = common_truths(run, replies), name_index(run, labels)
    told = replies | references(run, truths, labels) | knowledge(run, truths, labels)
    figures = catalogue(run.config.task.answer_size, *depth_and_tail(run))
    return Measured(
        truths,
        figures,
        {name: figure_values(run, truths, by_case, figures, index) for name, by_case in told.items()},
    )


def common_truths(run: Run, replies: dict[str, dict[str, Reply]]) -> list[Truth]:
    """The cases that every arm answered, as the run knows them.

    Raises:
        EvaluationError: there is none, or the arms answered cases that the run does not have.
    """
    common = set.intersection(*(set(by_case) for by_case in replies.values()))
    truths = known_truths(run, common)
    if not truths or len(truths) < len(common):
        raise EvaluationError(
            f"{len(common)} cases were answered by all arms ({', '.join(replies)}), and {len(truths)} of them are "
            f"{run.config.inference.split} cases of {run.stage('cases').path}: compare arms of one data set, on its split"
        )
    return truths


def knowledge(run: Run, truths: list[Truth], labels: list[Label]) -> dict[str, dict[str, Reply]]:
    """What the task's rankers would answer, from published knowledge that leaves the held-out publications out."""
    columns = [name for name in Case.model_fields if name != "image"]
    rows = from_table(case_table(run, columns, [run.config.inference.split]), Case)
    asked = {truth.case_id for truth in truths}
    cases = [case for case in rows if case.case_id in asked]
    size, names = run.config.task.answer_size, {label.id: label.name for label in labels}
    return {
        title: {c.case_id: first_names(ranking, names, size) for c in cases if (ranking := ranker(c)) is not None}
        for title, ranker in run.config.task.rankers(labels, held_out(run)).items()
    }


def primary(run: Run) -> list[str]:
    """The figures that the arms are judged by, and that the correction for many comparisons covers."""
    return ["grounded_top_1", f"grounded_top_{run.config.task.answer_size}"]


def differences(draws: dict[str, Bootstrap], figures: list[Figure], judged: list[str]) -> dict[str, Difference]:
    """Every arm minus MINT. Holm's correction runs over all arms and all primary figures together."""
    if REFERENCE not in draws:
        return {}
    mint = draws[REFERENCE]
    others = {name: drawn for name, drawn in draws.items() if name != REFERENCE}
    found = {name: drawn.p_values(mint) for name, drawn in others.items()}
    tests = [
        (name, i, p)
        for name, ps in found.items()
        for i, p in enumerate(ps)
        if figures[i].key in judged and p is not None
    ]
    adjusted = {test[:2]: p for test, p in zip(tests, holm([p for *_, p in tests]), strict=True)}
    return {
        name: Difference(drawn.difference(mint), found[name], [adjusted.get((name, i)) for i in range(len(figures))])
        for name, drawn in others.items()
    }


def stratified(
    run: Run, truths: list[Truth], values: dict[str, np.ndarray]
) -> dict[str, list[tuple[Stratum, dict[str, list[Interval]]]]]:
    """All figures by how often the disease was trained on, and by how many findings the case has."""
    trained = Counter(case_table(run, ["label_id"], ["train"])["label_id"].to_pylist())
    rows = case_table(run, ["case_id", "phenotypes"], [run.config.inference.split]).to_pylist()
    findings = {row["case_id"]: sum(not p["excluded"] for p in row["phenotypes"]) for row in rows}
    counts = {
        "training cases of the truth": [trained[truth.label_id] for truth in truths],
        "findings observed": [findings[truth.case_id] for truth in truths],
    }
    return {
        title: [(stratum, {n: within(run, truths, v, stratum.member) for n, v in values.items()}) for stratum in strata]
        for title, each in counts.items()
        if (strata := terciles(each))
    }


def within(run: Run, truths: list[Truth], values: np.ndarray, member: np.ndarray) -> list[Interval]:
    """The figures of some cases; means without ends where their groups are too few for an interval."""
    some = [truth for truth, inside in zip(truths, member, strict=True) if inside]
    if len({truth.group_id for truth in some}) >= MINIMUM_GROUPS:
        return resampled(run, some, values[member]).intervals()
    counted = [column[~np.isnan(column)] for column in values[member].T]
    return [Interval(float(seen.mean()) if len(seen) else None, None, None) for seen in counted]


def summary(run: Run, result: Comparison) -> dict[str, Any]:
    """What comparison.json holds."""
    return {
        **extent(run, result.truths, result.labels),
        "primary": primary(run),
        "rows": {name: keyed(result.figures, intervals) for name, intervals in result.intervals.items()},
        f"minus_{REFERENCE}": {name: difference_summary(result, name) for name in result.differences},
        "strata": {
            title: [
                {"range": stratum.title, "cases": int(stratum.member.sum())}
                | {"rows": {name: keyed(result.figures, intervals) for name, intervals in rows.items()}}
                for stratum, rows in strata
            ]
            for title, strata in result.strata.items()
        },
        "arms": {
            arm.name: {
                "model": arm.model,
                "answers": len(arm.answers),
                "refused": arm.refused,
                "cost": arm.cost,
                "curve": arm.curve,
                "search": arm.search,
            }
            for arm in result.arms
        },
    }


def difference_summary(result: Comparison, name: str) -> dict[str, Any]:
    """Value, interval and p values of an arm's difference to MINT, by figure."""
    found = result.differences[name]
    rows = zip(result.figures, found.intervals, found.p_values, found.adjusted, strict=True)
    return {f.key: dataclasses.asdict(interval) | {"p": p, "p_holm": holm} for f, interval, p, holm in rows}
