"""Which names a case's two answers hold: pure functions from a ranking to pairs (MINT, section 2.2).

Chosen are the top k in the scorer's order. Rejected come from the pool of the q lowest, and are named from
the very bottom upwards, so that cutting to a length keeps the labels that the scorer is surest are wrong.

A pair holds nothing that the order of label ids decided: every label that is chosen for its score scores above every
rejected one. Ties among the chosen, or among the rejected, are no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mint_ray.config import PreferencesSection
from mint_ray.rankings.ranking import Ranked, above


@dataclass(frozen=True)
class Preference:
    """One pair of answers: label ids with their scores, in the order in which an answer names them."""

    chosen: list[str]
    rejected: list[str]
    chosen_scores: list[float]
    rejected_scores: list[float]


@dataclass(frozen=True)
class Skip:
    """Why a case makes no pair; the fields are those of `Refusal`."""

    reason: str
    field: str
    seen: str
    expected: str


def choose(ranking: Ranked, truth: str | None, settings: PreferencesSection) -> list[Preference] | Skip:
    """The pairs of a case, or why there are none.

    A known truth is taken out of the pool of the lowest, and nothing moves up in its place: where it stood
    among them, the last pair of a pool that is used up may name one label less.

    Args:
        ranking: all labels of the case.
        truth: the id of its true label, None where that is unknown.
    """
    if settings.truth == "ignored":
        truth = None
    if not above(ranking.scores[0], ranking.scores[-1]):
        return Skip(
            "scores-alike", "scores", f"{ranking.scores[0]:.4g} for every label", "scores that tell labels apart"
        )
    chosen = _chosen(ranking.label_ids, truth, settings)
    if isinstance(chosen, Skip):
        return chosen
    taken = {*chosen, truth}
    pool = [i for i in reversed(ranking.label_ids[-settings.rejected :]) if i not in taken]
    scores = _scores_of({*chosen, *pool}, ranking, settings)
    pairs = [_pair(chosen, rejected, scores) for rejected in _slices(pool, settings.cut, settings.pairs_per_case)]
    if not pairs:
        return Skip(
            "nothing-to-reject", "rejected", "no label below the chosen", "a label that is neither chosen nor true"
        )
    placed = truth if settings.truth in ("first", "last", "alone") else None
    told = [pair for pair in pairs if told_apart(pair, placed)]
    if not told:
        seen = f"{max(pairs[0].rejected_scores):.4g} on both sides"
        return Skip("scores-tied", "scores", seen, "every label chosen above every label rejected")
    if settings.truth == "alone":  # the scorer has no say in it
        return told
    wide = [pair for pair in told if margin(pair) >= settings.min_margin]
    if not wide:
        widest = max(margin(pair) for pair in told)
        return Skip("margin-too-small", "min_margin", f"{widest:.4g}", f"at least {settings.min_margin:g}")
    return wide


def margin(pair: Preference) -> float:
    """The gap between the mean score of the chosen and that of the rejected."""
    return fmean(pair.chosen_scores) - fmean(pair.rejected_scores)


def told_apart(pair: Preference, placed: str | None = None) -> bool:
    """Whether scores alone decide who is chosen and who is rejected.

    Args:
        placed: the truth, where the policy and not its score puts it among the chosen.
    """
    by_score = [score for i, score in zip(pair.chosen, pair.chosen_scores, strict=True) if i != placed]
    return not by_score or above(min(by_score), max(pair.rejected_scores))


def _chosen(label_ids: Sequence[str], truth: str | None, settings: PreferencesSection) -> list[str] | Skip:
    top = list(label_ids[: settings.chosen])
    if truth is None and settings.truth == "alone":
        return Skip("truth-not-known", "label_id", "none", "the case's label, which alone is chosen")
    if truth is None or settings.truth == "as_ranked":
        return top
    if settings.truth == "alone" and truth in label_ids:
        return [truth]
    if settings.truth == "first" and truth in label_ids:
        return [truth, *(i for i in top if i != truth)][: settings.chosen]
    if truth in top:
        return top
    if settings.truth == "last" and truth in label_ids:
        return [*top[:-1], truth]
    if truth not in label_ids:
        return Skip("truth-not-a-label", "label_id", truth, "a label that the scorer ranks")
    return Skip(
        "truth-not-chosen", "label_id", f"rank {label_ids.index(truth) + 1}", f"rank {settings.chosen} or better"
    )


def _scores_of(label_ids: set[str], ranking: Ranked, settings: PreferencesSection) -> dict[str, float]:
    """Scores by label id; nearly all stand at the two ends of a ranking, so its middle is not read through."""
    ends = (slice(0, settings.chosen), slice(-settings.rejected, None))
    found: dict[str, float] = {}
    for end in ends:
        found.update(zip(ranking.label_ids[end], ranking.scores[end], strict=True))
    return found | {i: ranking.scores[ranking.label_ids.index(i)] for i in label_ids - found.keys()}


def _slices(pool: list[str], size: int, count: int) -> list[list[str]]:
    return [pool[i : i + size] for i in range(0, min(len(pool), size * count), size)]


def _pair(chosen: list[str], rejected: list[str], scores: dict[str, float]) -> Preference:
    return Preference(chosen, rejected, [scores[i] for i in chosen], [scores[i] for i in rejected])
