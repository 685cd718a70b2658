"""Answers, truths and rankings to figures with intervals. Nothing here knows what a run is: see `inputs`."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mint_ray.errors import EvaluationError
from mint_ray.evaluation.by_label import by_label
from mint_ray.evaluation.grounding import NameIndex, spelling
from mint_ray.evaluation.inputs import Inputs, Known, Rules, refuse
from mint_ray.evaluation.intervals import Bootstrap, Interval, bootstrap
from mint_ray.evaluation.metrics import Figure, Preferred, catalogue, grounded, published
from mint_ray.evaluation.results import LIKELIHOOD, PRIOR, SCORER, SWAPPED, Reply, Result, Truth
from mint_ray.preferences.shuffling import draw_donors
from mint_ray.records import Answer, GradedAnswer

if TYPE_CHECKING:
    from mint_ray.tasks.base import Label, Task


def measure(inputs: Inputs) -> Result:
    """All figures of a run, without writing anything.

    Raises:
        EvaluationError: no case was answered by every model; rankings hold labels that are not in the list; too few
            groups for an interval.
    """
    known, rules = inputs.known, inputs.known.rules
    index = name_index(rules, known.labels)
    graded = {
        model: [grade(rules.task, answer, index) for answer in answers] for model, answers in inputs.answers.items()
    }
    replies = {model: replies_of(answers) for model, answers in graded.items()}
    everyone = known.truths(set.intersection(*(set(by_case) for by_case in replies.values())))
    labelled = [truth for truth in everyone if truth.label_id is not None]
    truths = labelled or everyone  # where no case has a label, what needs none is measured
    check_truths(inputs, truths)
    replies |= references(known, truths)
    if "aligned" in replies:
        replies[SWAPPED] = swapped(rules, truths, replies["aligned"])
    replies |= by_likelihood(inputs.answers, known.labels)
    figures = figures_of(rules)
    draws = {
        name: resampled(rules, truths, figure_values(rules, truths, by_case, figures, index))
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
        labels=known.labels,
        ambiguous=ambiguity(graded, index),
        unlabelled=len(everyone) - len(labelled),
    )


def check_truths(inputs: Inputs, truths: Sequence[Truth]) -> None:
    """Refuse to measure what nothing can be said of.

    Raises:
        EvaluationError: no case was answered by every model; rankings hold labels that are not in the list.
    """
    known = inputs.known
    if not truths:
        told = "; ".join(f"{m}: {len(a)} answered, {inputs.refused[m]} refused" for m, a in inputs.answers.items())
        raise EvaluationError(
            f"{known.place.parent / 'answers'}: no {known.rules.split} case has an answer of every model ({told}); "
            "see refused/ there for the reasons"
        )
    strange = {label_id for truth in truths for label_id in truth.ranking or ()} - {label.id for label in known.labels}
    where = str(known.place / "labels.json")
    refuse(where, strange, "labels that are ranked are not in the list", "run the stage `rankings` with --fresh")


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


def name_index(rules: Rules, labels: Sequence[Label]) -> NameIndex:
    """The label list to ask what a name means; where the task's names are exact, no likeness counts."""
    if rules.task.exact_names:
        return NameIndex(labels, 1.0, 1.0)
    return NameIndex(labels, rules.section.similarity, rules.section.grounding, rules.task.parting_words)


def grade(task: Task, answer: Answer, index: NameIndex) -> GradedAnswer:
    """An answer with the names read out of it and the labels that they ground to."""
    names = task.parse(answer.text)
    return GradedAnswer(**answer.model_dump(), names=names, grounded_label_ids=[index.ground(name) for name in names])


def replies_of(answers: Iterable[GradedAnswer]) -> dict[str, Reply]:
    """Graded answers as replies, by case id."""
    return {answer.case_id: Reply(answer.names, answer.grounded_label_ids) for answer in answers}


def by_likelihood(answers: Mapping[str, Sequence[Answer]], labels: Sequence[Label]) -> dict[str, dict[str, Reply]]:
    """The candidates of each prompt by how likely a model was to name each first; nothing where it was not asked for."""
    names, found = {label.id: label.name for label in labels}, dict[str, dict[str, Reply]]()
    for model, those in answers.items():
        for answer in those:
            if answer.retrieved and answer.log_probabilities:
                pairs = zip(answer.log_probabilities, answer.retrieved, strict=True)
                order = [label_id for _, label_id in sorted(pairs, key=lambda pair: -pair[0])]
                reply = first_names(order, names, len(order))
                found.setdefault(LIKELIHOOD.format(model), {})[answer.case_id] = reply
    return found


def _difference(draws: dict[str, Bootstrap], name: str, other: str) -> list[Interval] | None:
    return draws[name].difference(draws[other]) if name in draws and other in draws else None


def references(known: Known, truths: list[Truth]) -> dict[str, dict[str, Reply]]:
    """What the scorer would answer, and what knowing nothing of the patient would: the most frequent labels."""
    size, names = known.rules.task.answer_size, {label.id: label.name for label in known.labels}
    frequent = first_names(sorted(names, key=lambda label_id: -known.trained[label_id]), names, size)
    return {
        SCORER: {t.case_id: first_names(t.ranking, names, size) for t in truths if t.ranking is not None},
        PRIOR: {t.case_id: frequent for t in truths},
    }


def swapped(rules: Rules, truths: list[Truth], replies: dict[str, Reply]) -> dict[str, Reply]:
    """Each case with the answer to another one: what remains of a figure when the model is shown someone else.

    Exact for a model that answers greedily, since it says of a case what it says of it anywhere.
    """
    cases = {"case_id": [truth.case_id for truth in truths], "split": [rules.split] * len(truths)}
    donors = draw_donors(pa.table(cases), rules.seed)
    return {case_id: replies[donor] for case_id, donor in donors.items()}


def first_names(ranking: Sequence[str], names: Mapping[str, str], size: int) -> Reply:
    """What a ranking of label ids, best first, would answer; `names` by label id."""
    first = list(ranking[:size])
    return Reply([names[label_id] for label_id in first], list(first))


def figures_of(rules: Rules) -> list[Figure]:
    """The figures that these rules ask for."""
    return catalogue(rules.task.answer_size, rules.depth, rules.tail)


def reply_values(rules: Rules, truth: Truth, reply: Reply, index: NameIndex) -> dict[str, float]:
    """All figures of one reply; see metrics.py."""
    preferred = None if truth.ranking is None else Preferred.of(truth.ranking, rules.depth, rules.tail)
    size, weight = rules.task.answer_size, rules.section.car_weight
    return published(reply.names, truth.label_id, preferred, index, weight) | grounded(
        reply.label_ids, truth.label_id, preferred, size, weight
    )


def figure_values(
    rules: Rules, truths: list[Truth], replies: dict[str, Reply], figures: list[Figure], index: NameIndex
) -> np.ndarray:
    """Every figure of every case, shape (cases, figures); NaN where there is no reply."""
    values = np.full((len(truths), len(figures)), np.nan)
    for row, truth in enumerate(truths):
        if truth.case_id in replies:
            found = reply_values(rules, truth, replies[truth.case_id], index)
            values[row] = [found[figure.key] for figure in figures]
    return values


def resampled(rules: Rules, truths: list[Truth], values: np.ndarray) -> Bootstrap:
    """Their means with resamples over groups: the same ones for whoever is asked about the same cases."""
    seed = zlib.crc32(f"{rules.seed}:bootstrap".encode())
    return bootstrap(values, [truth.group_id for truth in truths], rules.section.bootstrap, seed)


def keyed(figures: Sequence[Figure], intervals: Sequence[Interval]) -> dict[str, Any]:
    """Intervals as plain data, by the key of their figure."""
    return {f.key: dataclasses.asdict(interval) for f, interval in zip(figures, intervals, strict=True)}


def summary(rules: Rules, result: Result) -> dict[str, Any]:
    """What metrics.json holds."""
    figures = result.figures
    return {
        **extent(rules, result.truths, result.labels),
        "unlabelled": result.unlabelled,
        "models": {name: keyed(figures, intervals) for name, intervals in result.intervals.items()},
        "aligned_minus_base": keyed(figures, result.difference) if result.difference else None,
        "aligned_minus_prior": keyed(figures, result.over_prior) if result.over_prior else None,
        "ambiguous_names": result.ambiguous,
        "by_label": by_label(result),
    }


def extent(rules: Rules, truths: Sequence[Truth], labels: Sequence[Label]) -> dict[str, Any]:
    """What figures are over: split, cases, groups and labels, and how their intervals are made."""
    return {
        "split": rules.split,
        "cases": len(truths),
        "groups": len({truth.group_id for truth in truths}),
        "labels": len(labels),
        "interval": f"95 %, percentile bootstrap over groups, {rules.section.bootstrap} draws",
    }


def values(figures: Sequence[Figure], intervals: Sequence[Interval]) -> dict[str, float | None]:
    """Figures by key, without their intervals."""
    return {figure.key: interval.value for figure, interval in zip(figures, intervals, strict=True)}
