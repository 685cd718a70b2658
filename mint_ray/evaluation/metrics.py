"""The figures of one answer, each 0 to 1: as published (arXiv 2505.05736), and after grounding names to labels.

`docs/metrics.md` has every formula. A figure that a case cannot have (no known truth, no ranking) is NaN and
counts nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from mint_ray.evaluation.grounding import NameIndex, normalised

NAN = math.nan


@dataclass(frozen=True)
class Preferred:
    """What a scorer said of a case: its k first labels, its q last, and k itself."""

    top: frozenset[str]
    bottom: frozenset[str]
    k: int

    @classmethod
    def of(cls, label_ids: Sequence[str], k: int, q: int) -> Preferred:
        """From a ranking, best first. A label is never both: the last q leave out the first k."""
        return cls(frozenset(label_ids[:k]), frozenset(label_ids[max(k, len(label_ids) - q) :]), k)


@dataclass(frozen=True)
class Figure:
    """How a figure is shown: its key in metrics.json, its name, what it says, which way is better."""

    key: str
    title: str
    meaning: str
    better: Literal["higher", "lower"] = "higher"

    @property
    def family(self) -> Literal["published", "grounded"]:
        return "grounded" if "grounded" in self.key else "published"


def catalogue(size: int, k: int, q: int) -> list[Figure]:
    """All figures in the order of the tables, for answers of `size` names, the scorer's first k and last q."""
    return [
        Figure("e1", "E1", "answers with a name of the label list"),
        Figure("e2", "E2", f"truth among {size} names" if size > 1 else "truth is the one name"),
        Figure("e3", "E3", "truth is the first name"),
        Figure("coverage", "Coverage", f"names among the scorer's first {k}, of {k}"),
        Figure("avoidance", "Avoidance", f"names not among the scorer's last {q}"),
        Figure("car", "CAR", "coverage and avoidance in one"),
        Figure("valid_names", "Valid names", "names of the label list, of all names"),
        *(Figure(f"grounded_top_{n}", f"Top-{n}", _within(n)) for n in depths(size)),
        Figure("grounded_mrr", "MRR", "mean reciprocal rank of the truth"),
        Figure("ungrounded_names", "Ungrounded", "names that mean no label", better="lower"),
        Figure("grounded_coverage", "Coverage", f"labels among the scorer's first {k}, of {k}"),
        Figure("grounded_avoidance", "Avoidance", f"names not among the scorer's last {q}"),
        Figure("grounded_car", "CAR", "coverage and avoidance in one"),
    ]


def _within(n: int) -> str:
    return "truth is the first name" if n == 1 else f"truth among the first {n} names"


def car(coverage: float, avoidance: float, weight: float = 1.0) -> float:
    """Coverage-avoidance rate, (1 + w) C A / (w C + A); 0 where both are 0."""
    below = weight * coverage + avoidance
    return (1 + weight) * coverage * avoidance / below if below else 0.0


def published(
    names: Sequence[str], truth: str | None, preferred: Preferred | None, index: NameIndex, car_weight: float = 1.0
) -> dict[str, float]:
    """E1, E2, E3, coverage, avoidance and CAR as published, and the share of names that match a label at all.

    Args:
        names: the answer's names in order.
        truth: label id of the truth, where it is known.
        preferred: what the scorer said, where it said anything.
    """
    meant = [index.similar(name) for name in names]
    known = truth is not None
    figures = {
        "e1": float(any(meant)),
        "e2": float(any(truth in labels for labels in meant)) if known else NAN,
        "e3": float(bool(meant) and truth in meant[0]) if known else NAN,
        "valid_names": _share([bool(labels) for labels in meant]),
    }
    once = list({normalised(name): labels for name, labels in zip(names, meant, strict=True)}.values())
    return figures | _preference(once, preferred, car_weight)


def grounded(
    label_ids: Sequence[str | None], truth: str | None, preferred: Preferred | None, size: int, car_weight: float = 1.0
) -> dict[str, float]:
    """Top-1, top-3, top-`size`, reciprocal rank, coverage, avoidance, CAR and the share of ungrounded names.

    Args:
        label_ids: the label of each name in order, None where a name grounds to none.
        size: names that were asked for; the reciprocal rank of a truth that is not named is 0.
    """
    rank = rank_of(label_ids, truth)
    known = truth is not None
    figures = {f"grounded_top_{n}": float(rank is not None and rank <= n) if known else NAN for n in depths(size)}
    figures["grounded_mrr"] = (1 / rank if rank else 0.0) if known else NAN
    figures["ungrounded_names"] = _share([label is None for label in label_ids], empty=1.0)
    # A label named twice counts once; names that ground to none are different names.
    once = {label or position: {label} - {None} for position, label in enumerate(label_ids)}
    meant = list(once.values())
    return figures | {f"grounded_{name}": value for name, value in _preference(meant, preferred, car_weight).items()}


def depths(size: int) -> list[int]:
    """The depths that accuracy is reported at: first, first three, all names that were asked for."""
    return sorted({1, min(3, size), size})


def rank_of(label_ids: Sequence[str | None], truth: str | None) -> int | None:
    """The place of the truth among the names, from 1; None where it is not named."""
    return label_ids.index(truth) + 1 if truth is not None and truth in label_ids else None


def _preference(
    meant: Sequence[Collection[str | None]], preferred: Preferred | None, weight: float
) -> dict[str, float]:
    """Coverage, avoidance and CAR of an answer's distinct names, each given as the labels that it means.

    An answer without names has avoided nothing: all three are 0, as in the published evaluation.
    """
    if preferred is None:
        return dict.fromkeys(("coverage", "avoidance", "car"), NAN)
    covered = sum(bool(preferred.top.intersection(labels)) for labels in meant[: preferred.k]) / preferred.k
    avoided = _share([not preferred.bottom.intersection(labels) for labels in meant])
    return {"coverage": covered, "avoidance": avoided, "car": car(covered, avoided, weight)}


def _share(hits: Sequence[bool], empty: float = 0.0) -> float:
    return sum(hits) / len(hits) if hits else empty
