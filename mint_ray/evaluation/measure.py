"""Answers, truths and rankings to figures with intervals."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from mint_ray.corpora.store import case_table, run_labels
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.by_label import by_label
from mint_ray.evaluation.grounding import NameIndex, spelling
from mint_ray.evaluation.intervals import Bootstrap, Interval, bootstrap
from mint_ray.evaluation.metrics import Figure, Preferred, catalogue, grounded, published
from mint_ray.evaluation.results import PRIOR, SCORER, SWAPPED, Reply, Result, Truth
from mint_ray.inference.store import answer_folder, answer_table, refusal_table
from mint_ray.preferences.shuffling import draw_donors
from mint_ray.rankings.store import ranking_table
from mint_ray.records import Answer, GradedAnswer, from_table
from mint_ray.runs import Run
from mint_ray.tasks.base import Label


def measure(run: Run) -> Result:
    """All figures of a run, without writing anything."""
    labels = run_labels(run)
    index = name_index(run, labels)
    graded = {model: graded_answers(run, model, index) for model in run.config.inference.models}
    replies = {model: replies_of(answers) for model, answers in graded.items()}
    truths = known_truths(run, set.intersection(*(set(by_case) for by_case in replies.values())))
    check_truths(run, truths, graded, labels)
    replies |= references(run, truths, labels)
    if "aligned" in replies:
        replies[SWAPPED] = swapped(run, truths, replies["aligned"])
    figures = catalogue(run.config.task.answer_size, *depth_and_tail(run))
    draws = {
        name: resampled(run, truths, figure_values(run, truths, by_case, figures, index))
        for name, by_case in replies.items()
    }
    return Result(
        truths=truths,
        replies=replies,
        graded=graded,
        figures=figures,
        intervals={name: drawn.intervals() for name, drawn in draws.items()},
        difference=_difference(draws, "aligned", "base"),
        over_prior=_difference(draws, "aligned", PRIOR),
        labels=labels,
        ambiguous=ambiguity(graded, index),
    )


def check_truths(
    run: Run, truths: Sequence[Truth], graded: Mapping[str, Sequence[GradedAnswer]], labels: Sequence[Label]
) -> None:
    """Refuse to measure what nothing can be said of.

    Raises:
        EvaluationError: no case was answered by every model; rankings hold labels that are not in the list.
    """
    if not truths:
        told = "; ".join(f"{m}: {len(a)} answered, {refusal_table(run, m).num_rows} refused" for m, a in graded.items())
        raise EvaluationError(
            f"{run.stage('answers').path}: no {run.config.inference.split} case has an answer of every model ({told}); "
            "see refused/ there for the reasons"
        )
    strange = {label_id for truth in truths for label_id in truth.ranking or ()} - {label.id for label in labels}
    where = str(run.stage("cases").path / "labels.json")
    _refuse(where, strange, "labels that are ranked are not in the list", "run the stage `preferences` with --fresh")


def ambiguity(graded: Mapping[str, Sequence[GradedAnswer]], index: NameIndex) -> dict[str, Any]:
    """How many names several labels have, and how many names in each model's answers are such.

    Of these, `to_main_name` grounded to the one label whose main name it is, `to_none` to none.
    """
    shared = set(index.ambiguous())
    answered = {}
    for model, answers in graded.items():
        grounds = [
            label_id
            for answer in answers
            for name, label_id in zip(answer.names, answer.grounded_label_ids, strict=True)
            if spelling(name) in shared
        ]
        answered[model] = {"to_none": grounds.count(None), "to_main_name": len(grounds) - grounds.count(None)}
    return {"names": len(shared), "answered": answered}


def name_index(run: Run, labels: Sequence[Label]) -> NameIndex:
    """The run's label list to ask what a name means; where the task's names are exact, no likeness counts."""
    section = run.config.evaluation
    if run.config.task.exact_names:
        return NameIndex(labels, 1.0, 1.0)
    return NameIndex(labels, section.similarity, section.grounding)


def graded_answers(run: Run, model: str, index: NameIndex) -> list[GradedAnswer]:
    """A model's answers, checked and graded, ordered by case."""
    return [grade(run, answer, index) for answer in from_table(checked_answers(run, model), Answer)]


def replies_of(answers: Iterable[GradedAnswer]) -> dict[str, Reply]:
    """Graded answers as replies, by case id."""
    return {answer.case_id: Reply(answer.names, answer.grounded_label_ids) for answer in answers}


def _difference(draws: dict[str, Bootstrap], name: str, other: str) -> list[Interval] | None:
    return draws[name].difference(draws[other]) if name in draws and other in draws else None


def checked_answers(run: Run, model: str) -> pa.Table:
    """A model's answers, once they are seen to be those of this run's cases, one each.

    Raises:
        EvaluationError: unknown cases, cases of another data set by the same ids, cases answered twice, cases neither
            answered nor refused.
    """
    split, table = run.config.inference.split, answer_table(run, model)
    rows = case_table(run, ["case_id", "group_id", "label_id"], [split]).to_pylist()
    asked = {row["case_id"]: row for row in rows}
    answered: list[str] = cast("list[str]", table["case_id"].to_pylist())
    where = f"{answer_folder(run, model)}, split {split}"
    remedy = "run the stage `answers` again with --fresh"
    _refuse(where, set(answered) - set(asked), "answered cases are not among this run's cases", remedy)
    said = table.select(["case_id", "group_id", "label_id"]).to_pylist()
    strange = {row["case_id"] for row in said if asked[row["case_id"]] != row}
    _refuse(where, strange, "answered cases have another group or truth than this run's", remedy)
    _refuse(where, {i for i, n in Counter(answered).items() if n > 1}, "cases are answered twice", remedy)
    refused = set(refusal_table(run, model)["case_id"].to_pylist())
    _refuse(where, set(asked) - set(answered) - refused, "cases have no answer", "run the stage `answers` to its end")
    return table


def _refuse(where: str, case_ids: Iterable[str], problem: str, remedy: str) -> None:
    if wrong := sorted(case_ids):
        raise EvaluationError(f"{where}: {len(wrong)} {problem}, the first {wrong[0]!r}; {remedy}")


def grade(run: Run, answer: Answer, index: NameIndex) -> GradedAnswer:
    """An answer with the names read out of it and the labels that they ground to."""
    names = run.config.task.parse(answer.text)
    return GradedAnswer(**answer.model_dump(), names=names, grounded_label_ids=[index.ground(name) for name in names])


def known_truths(run: Run, case_ids: set[str]) -> list[Truth]:
    """What is known of these cases, ordered by id."""
    split = [run.config.inference.split]
    rankings = ranking_table(run, splits=split, columns=["case_id", "label_ids"]).to_pylist()
    ranked = {row["case_id"]: row["label_ids"] for row in rankings}
    rows = case_table(run, ["case_id", "group_id", "label_id"], split).sort_by("case_id").to_pylist()
    return [Truth(**row, ranking=ranked.get(row["case_id"])) for row in rows if row["case_id"] in case_ids]


def references(run: Run, truths: list[Truth], labels: Sequence[Label]) -> dict[str, dict[str, Reply]]:
    """What the scorer would answer, and what knowing nothing of the patient would: the most frequent labels."""
    size, names = run.config.task.answer_size, {label.id: label.name for label in labels}
    seen = Counter(case_table(run, ["label_id"], ["train"])["label_id"].to_pylist())
    frequent = first_names(sorted(names, key=lambda label_id: -seen[label_id]), names, size)
    return {
        SCORER: {t.case_id: first_names(t.ranking, names, size) for t in truths if t.ranking is not None},
        PRIOR: {t.case_id: frequent for t in truths},
    }


def swapped(run: Run, truths: list[Truth], replies: dict[str, Reply]) -> dict[str, Reply]:
    """Each case with the answer to another one: what remains of a figure when the model is shown someone else.

    Exact for a model that answers greedily, since it says of a case what it says of it anywhere.
    """
    cases = {"case_id": [truth.case_id for truth in truths], "split": [run.config.inference.split] * len(truths)}
    donors = draw_donors(pa.table(cases), run.config.run.seed)
    return {case_id: replies[donor] for case_id, donor in donors.items()}


def first_names(ranking: Sequence[str], names: Mapping[str, str], size: int) -> Reply:
    """What a ranking of label ids, best first, would answer; `names` by label id."""
    first = list(ranking[:size])
    return Reply([names[label_id] for label_id in first], list(first))


def depth_and_tail(run: Run) -> tuple[int, int]:
    """k and q: how many of the scorer's first and of its last labels an answer is held against."""
    section, pairs = run.config.evaluation, run.config.preferences
    return section.coverage_k or pairs.chosen, section.avoidance_q or pairs.rejected


def figures_of(run: Run, truth: Truth, reply: Reply, index: NameIndex) -> dict[str, float]:
    """All figures of one reply; see metrics.py."""
    preferred = None if truth.ranking is None else Preferred.of(truth.ranking, *depth_and_tail(run))
    size, weight = run.config.task.answer_size, run.config.evaluation.car_weight
    return published(reply.names, truth.label_id, preferred, index, weight) | grounded(
        reply.label_ids, truth.label_id, preferred, size, weight
    )


def figure_values(
    run: Run, truths: list[Truth], replies: dict[str, Reply], figures: list[Figure], index: NameIndex
) -> np.ndarray:
    """Every figure of every case, shape (cases, figures); NaN where there is no reply."""
    values = np.full((len(truths), len(figures)), np.nan)
    for row, truth in enumerate(truths):
        if truth.case_id in replies:
            found = figures_of(run, truth, replies[truth.case_id], index)
            values[row] = [found[figure.key] for figure in figures]
    return values


def resampled(run: Run, truths: list[Truth], values: np.ndarray) -> Bootstrap:
    """Their means with resamples over groups: the same ones for whoever is asked about the same cases."""
    seed = zlib.crc32(f"{run.config.run.seed}:bootstrap".encode())
    return bootstrap(values, [truth.group_id for truth in truths], run.config.evaluation.bootstrap, seed)


def keyed(figures: Sequence[Figure], intervals: Sequence[Interval]) -> dict[str, Any]:
    """Intervals as plain data, by the key of their figure."""
    return {f.key: dataclasses.asdict(interval) for f, interval in zip(figures, intervals, strict=True)}


def summary(run: Run, result: Result) -> dict[str, Any]:
    """What metrics.json holds."""
    figures = result.figures
    return {
        **extent(run, result.truths, result.labels),
        "models": {name: keyed(figures, intervals) for name, intervals in result.intervals.items()},
        "aligned_minus_base": keyed(figures, result.difference) if result.difference else None,
        "aligned_minus_prior": keyed(figures, result.over_prior) if result.over_prior else None,
        "ambiguous_names": result.ambiguous,
        "by_label": by_label(result),
    }


def extent(run: Run, truths: Sequence[Truth], labels: Sequence[Label]) -> dict[str, Any]:
    """What figures are over: split, cases, groups and labels, and how their intervals are made."""
    return {
        "split": run.config.inference.split,
        "cases": len(truths),
        "groups": len({truth.group_id for truth in truths}),
        "labels": len(labels),
        "interval": f"95 %, percentile bootstrap over groups, {run.config.evaluation.bootstrap} draws",
    }


def values(figures: Sequence[Figure], intervals: Sequence[Interval]) -> dict[str, float | None]:
    """Figures by key, without their intervals."""
    return {figure.key: interval.value for figure, interval in zip(figures, intervals, strict=True)}
