"""Answers label by label: how often each is named first and at all, and what is named in its stead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mint_ray.evaluation.results import Result

MOST = 40  # labels up to which a page can show them one by one


def confusion(truths: Sequence[str], firsts: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """Counts (labels, labels + 1): row the truth, column the label named first, the last column no label.

    Raises:
        KeyError: a truth is not among the labels.
    """
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels) + 1), int)
    for truth, first in zip(truths, firsts, strict=True):
        counts[place[truth], len(labels) if first is None else place.get(first, len(labels))] += 1
    return counts


def label_rows(replies: Mapping[str, Sequence[str | None]], truths: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each label that is some case's truth: `cases`, and the shares `top_1` and `named`, ordered by label.

    Args:
        replies: case id to the label ids of a reply, in order.
        truths: case id to the true label's id.
    """
    found: dict[str, list[tuple[bool, bool]]] = {}
    for case_id, truth in truths.items():
        named = list(replies.get(case_id, ()))
        found.setdefault(truth, []).append((named[:1] == [truth], truth in named))
    return [
        {
            "label_id": label,
            "cases": len(hits),
            **dict(zip(("top_1", "named"), np.mean(hits, axis=0).tolist(), strict=True)),
        }
        for label, hits in sorted(found.items())
    ]


def by_label(result: Result) -> dict[str, Any] | None:
    """Rows and confusion of every model and the scorer; None where there are more labels than a page can show."""
    truths = {truth.case_id: truth.label_id for truth in result.truths if truth.label_id is not None}
    labels = [label.id for label in result.labels]
    if len(labels) > MOST or not set(truths.values()) <= set(labels):
        return None
    shown = {
        name: {i: r.label_ids for i, r in replies.items()}
        for name, replies in result.replies.items()
        if name != "prior"
    }
    return {
        name: {
            "labels": label_rows(replies, truths),
            "confusion": confusion(
                [*truths.values()], [next(iter(replies.get(i, ())), None) for i in truths], labels
            ).tolist(),
        }
        for name, replies in shown.items()
    }
