"""Pairs from what the model itself answers: its best answer to a case against its worst, by the scorer's word.

Pure functions. A grade is the reciprocal rank that the scorer expects of an answer: with p(name) the scorer's probability
that a label is the right one,

    grade = sum over an answer's places r = 1, 2, ... of p(name at r) / r,  less FAULT a faulty place

A name of no label, one that was named before, and one that is missing are faults: their place earns nothing, and costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FAULT = 0.1


@dataclass(frozen=True)
class Graded:
    """An answer that was sampled: its text, the labels of its names (None: of no label), its grade."""

    text: str
    label_ids: tuple[str | None, ...]
    grade: float


def probabilities(label_ids: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """A ranking's scores, which are log-probabilities up to a constant, as probabilities by label."""
    highest = max(scores)
    weights = [math.exp(score - highest) for score in scores]
    return {label_id: weight / sum(weights) for label_id, weight in zip(label_ids, weights, strict=True)}


def grade(label_ids: Sequence[str | None], probability: Mapping[str, float], size: int) -> float:
    """The grade of an answer.

    Args:
        label_ids: of its names in order, None where a name is of no label.
        probability: of each label, by the scorer.
        size: how many names were asked for.
    """
    total, seen = 0.0, set[str]()
    for place in range(size):
        label_id = label_ids[place] if place < len(label_ids) else None
        if label_id is None or label_id in seen:
            total -= FAULT
        else:
            total += probability.get(label_id, 0.0) / (place + 1)
            seen.add(label_id)
    return total


def best_and_worst(answers: Sequence[Graded], min_margin: float) -> tuple[Graded, Graded] | None:
    """The answers of the highest and of the lowest grade; None where they lie closer together than `min_margin`.

    Of equals the text decides, so that no order of sampling does.
    """
    ordered = sorted(answers, key=lambda answer: (-answer.grade, answer.text))
    best, worst = ordered[0], ordered[-1]
    return (best, worst) if best.grade - worst.grade >= min_margin else None
