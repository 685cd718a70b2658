"""What evaluation finds: replies, truths, and the figures over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.metrics import Figure
from mint_ray.records import GradedAnswer
from mint_ray.tasks.base import Label

SCORER = "scorer"  # its ranking's first names, as if it had answered
PRIOR = "prior"  # the most frequent labels of the training cases, the same answer for every case
SWAPPED = "swapped"  # what the aligned model said of another case
LIKELIHOOD = "{}_likelihood"  # the candidates of the prompt, by how likely a model is to name each first
REFERENCES = (SCORER, PRIOR, SWAPPED)  # which no model was asked for


@dataclass(frozen=True)
class Reply:
    """What a model, the scorer or the prior names for a case, and the label that each name grounds to."""

    names: list[str]
    label_ids: list[str | None]


@dataclass(frozen=True)
class Truth:
    """What is known of a case that was asked about."""

    case_id: str
    group_id: str
    label_id: str | None
    ranking: list[str] | None


@dataclass(frozen=True)
class Result:
    """Everything the report shows: the cases that every model answered, what was replied, the figures.

    `difference` is aligned minus base, `over_prior` aligned minus the prior; both paired, None without their models.
    `ambiguous` is what `ambiguity` counts, `unlabelled` the cases that were answered and have no truth to be measured by.
    """

    truths: list[Truth]
    replies: dict[str, dict[str, Reply]]
    graded: dict[str, list[GradedAnswer]]
    figures: list[Figure]
    intervals: dict[str, list[Interval]]
    difference: list[Interval] | None
    over_prior: list[Interval] | None
    labels: list[Label]
    ambiguous: dict[str, Any]
    unlabelled: int = 0
