"""Arms side by side: what each way of making the model answers about the same cases, and how sure the gaps to MINT are.

comparison/
  comparison.json            every figure with its interval, differences, strata, curves, cost
  graded/<arm>/part-*.parquet  `GradedAnswer`
  report.html                the same as a page
  config.yaml                written last: the configuration that all of it holds for
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mint_ray.comparison.strata import Stratum, terciles
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.inputs import Known, Rules
from mint_ray.evaluation.intervals import MINIMUM_GROUPS, Bootstrap, Interval, holm
from mint_ray.evaluation.measure import (
    extent,
    figure_values,
    figures_of,
    first_names,
    keyed,
    name_index,
    references,
    replies_of,
    resampled,
)
from mint_ray.evaluation.metrics import Figure
from mint_ray.evaluation.results import Reply, Truth

if TYPE_CHECKING:
    from mint_ray.comparison.outcomes import Arm, Given
    from mint_ray.tasks.base import Label

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


def measure_arms(given: Given, arms: list[Arm]) -> Comparison:
    """All figures of a comparison.

    Raises:
        EvaluationError: see `common_truths`; too few groups for an interval.
    """
    known, rules = given.known, given.known.rules
    measured = measure_replies(given, {arm.name: replies_of(arm.answers) for arm in arms})
    draws = {name: resampled(rules, measured.truths, array) for name, array in measured.arrays.items()}
    return Comparison(
        arms=arms,
        truths=measured.truths,
        labels=known.labels,
        figures=measured.figures,
        intervals={name: drawn.intervals() for name, drawn in draws.items()},
        differences=differences({arm.name: draws[arm.name] for arm in arms}, measured.figures, primary(rules)),
        strata=stratified(given, measured),
    )


def measure_replies(given: Given, replies: dict[str, dict[str, Reply]]) -> Measured:
    """The figures of arms' replies on the cases that all of them answered, and of the references beside them.

    Raises:
        EvaluationError: see `common_truths`.
    """
    known, rules = given.known, given.known.rules
    truths, index, figures = common_truths(known, replies), name_index(rules, known.labels), figures_of(rules)
    told = replies | references(known, truths) | knowledge(given, truths)
    return Measured(
        truths,
        figures,
        {name: figure_values(rules, truths, by_case, figures, index) for name, by_case in told.items()},
    )


def common_truths(known: Known, replies: dict[str, dict[str, Reply]]) -> list[Truth]:
    """The cases that every arm answered, as they are known.

    Raises:
        EvaluationError: there is none, or the arms answered cases that the run does not have.
    """
    common = set.intersection(*(set(by_case) for by_case in replies.values()))
    truths = known.truths(common)
    if not truths or len(truths) < len(common):
        raise EvaluationError(
            f"{len(common)} cases were answered by all arms ({', '.join(replies)}), and {len(truths)} of them are "
            f"{known.rules.split} cases of {known.place}: compare arms of one data set, on its split"
        )
    return truths


def knowledge(given: Given, truths: list[Truth]) -> dict[str, dict[str, Reply]]:
    """What the task's rankers would answer, from published knowledge that leaves the held-out publications out."""
    known, asked = given.known, {truth.case_id for truth in truths}
    cases = [case for case in given.cases if case.case_id in asked]
    size, names = known.rules.task.answer_size, {label.id: label.name for label in known.labels}
    return {
        title: {c.case_id: first_names(ranking, names, size) for c in cases if (ranking := ranker(c)) is not None}
        for title, ranker in known.rules.task.rankers(known.labels, given.held_out).items()
    }


def primary(rules: Rules) -> list[str]:
    """The figures that the arms are judged by, and that the correction for many comparisons covers."""
    return ["grounded_top_1", f"grounded_top_{rules.task.answer_size}"]


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


def stratified(given: Given, measured: Measured) -> dict[str, list[tuple[Stratum, dict[str, list[Interval]]]]]:
    """All figures by how often the label was trained on, and by what the task counts of a case."""
    rules, truths = given.known.rules, measured.truths
    counted = {case.case_id: rules.task.counts(case) for case in given.cases}
    counts = {"training cases of the truth": [given.known.trained[truth.label_id] for truth in truths]}
    for title in next(iter(counted.values()), {}):
        counts[title] = [counted[truth.case_id][title] for truth in truths]
    return {
        title: [
            (stratum, {n: within(rules, truths, v, stratum.member) for n, v in measured.arrays.items()})
            for stratum in strata
        ]
        for title, each in counts.items()
        if (strata := terciles(each))
    }


def within(rules: Rules, truths: list[Truth], values: np.ndarray, member: np.ndarray) -> list[Interval]:
    """The figures of some cases; means without ends where their groups are too few for an interval."""
    some = [truth for truth, inside in zip(truths, member, strict=True) if inside]
    if len({truth.group_id for truth in some}) >= MINIMUM_GROUPS:
        return resampled(rules, some, values[member]).intervals()
    counted = [column[~np.isnan(column)] for column in values[member].T]
    return [Interval(float(seen.mean()) if len(seen) else None, None, None) for seen in counted]


def summary(rules: Rules, result: Comparison) -> dict[str, Any]:
    """What comparison.json holds."""
    return {
        **extent(rules, result.truths, result.labels),
        "primary": primary(rules),
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
