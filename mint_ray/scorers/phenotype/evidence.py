"""What speaks for each label of a case, from annotations and from training patients, and the candidates that follow.

| evidence   | of all findings, summed                                                                        |
|------------|------------------------------------------------------------------------------------------------|
| annotated  | log of how much more often annotations say that the label's patients show an observed one       |
| shown      | the same, its frequency counted in training patients with the annotations as a prior            |
| lacked     | log of how much more often the label's patients are looked at for an excluded one and lack it   |
| lacked_too | the same, counted in training patients                                                         |

`nearest` is the likeness of the most alike training patient, `kernel` that of all of the label's (log of summed
exponentials), `overlap` the likeness of the annotations; a likeness is a cosine over findings and all terms above them,
weighted by how few diseases have each. `publications` and `patients` count (log) what the label was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mint_ray.likelihood import LEAST, LOOKED_FOR, MOST, MOST_SOUGHT, UNRELATED
from mint_ray.scorers.phenotype.knowledge import Knowledge, Table, sp

PRIOR_PATIENTS = 4.0  # that annotations are worth beside counted ones
SHARPNESS = 12.0  # of the kernel over likenesses
REMEMBERED = 1024  # terms whose evidence of all labels is kept: 70 kB each for 8,352 labels
RAREST = 6e-5  # share of diseases, of a term that none has: half of one among 8,352

Finding = tuple[list[int], list[int]]  # rows of the terms observed, of those excluded


@dataclass(frozen=True)
class Candidates:
    """Of n cases: `labels` (n, c), positions of the candidates; `features` (n, c, f); `first` (n, L), the plain sum."""

    labels: np.ndarray
    features: np.ndarray
    first: np.ndarray


class Evidence:
    """The tables made ready for asking.

    Args:
        count: candidates a case, at most.
    """

    def __init__(self, known: Knowledge, count: int):
        self.known, self.labels = known, known.annotated.shape[1]
        self.count = min(count, self.labels)
        rarity = -np.log(np.maximum(known.share, RAREST)).astype(np.float32)
        self._rarity = sp.diags(rarity)
        self._likeness = self._unit(self._closed(known.observed)).T.tocsc()
        self._described = self._unit(known.annotated.T.tocsr()).T.tocsr()
        weights = self._weights()
        self._patients_of = sp.csr_matrix(
            (weights, (known.labels, np.arange(len(weights)))), shape=(self.labels, len(weights))
        )
        self.shown_by = (self._patients_of @ self._closed(known.observed)).T.tocsr()
        self.lacked_by = (self._patients_of @ known.excluded).T.tocsr()
        self.weight = np.asarray(self._patients_of.sum(1)).ravel().astype(np.float32)
        self._rate_lacked = (np.asarray(known.excluded.sum(0)).ravel() + 0.5) / (len(weights) + 1)
        patients = np.bincount(known.labels, minlength=self.labels)
        pairs = np.unique(np.stack([known.labels, known.groups]), axis=1)
        publications = np.bincount(pairs[0].astype(int), minlength=self.labels)
        self.publications = np.log(publications + 0.1).astype(np.float32)
        self.patients = np.log(patients + 0.1).astype(np.float32)
        self.has = (patients > 0).astype(np.float32)
        self.described = np.log1p(np.diff(known.annotated.T.tocsr().indptr)).astype(np.float32)
        order = np.argsort(known.labels, kind="stable")
        starts = np.flatnonzero(np.diff(known.labels[order], prepend=-1))
        self._order, self._starts = order, starts
        self.observed = lru_cache(REMEMBERED)(self._observed)
        self.lacked = lru_cache(REMEMBERED)(self._lacked)

    def _weights(self) -> np.ndarray:
        """Patients of one publication and label count by the root of their number: they are alike."""
        pairs = self.known.labels * (self.known.groups.max(initial=0) + 1) + self.known.groups
        _, which, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        return (counts[which] ** -0.5).astype(np.float32)

    def _closed(self, findings: Table) -> Table:
        """1 for each finding and all terms above it."""
        closed = (findings @ self.known.closure).tocsr()
        closed.data[:] = 1
        return closed

    def _unit(self, table: Table) -> Table:
        weighted = (table @ self._rarity).tocsr()
        length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
        return (sp.diags(1 / np.maximum(length, 1e-6)) @ weighted).tocsr().astype(np.float32)

    def frequency(self, term: int) -> np.ndarray:
        """P(finding | label), (L,); one that a label lacks may be a nearer look at one above it, see mint_ray/likelihood.py."""
        usual, table = self.known.background, self.known.annotated
        found = np.zeros(self.labels, np.float32)
        closure = self.known.closure
        for above in closure.indices[closure.indptr[term] : closure.indptr[term + 1]]:
            share = 1.0 if above == term else UNRELATED * min(1.0, (usual[term] or LEAST) / (usual[above] or 1.0))
            inside = slice(table.indptr[above], table.indptr[above + 1])
            rows = table.indices[inside]
            found[rows] = np.maximum(found[rows], table.data[inside] * share)
        return found.clip(LEAST * UNRELATED, MOST)

    def _usual(self, term: int) -> float:
        return float(np.clip(self.known.background[term] or LEAST, LEAST, MOST))

    def _observed(self, term: int) -> np.ndarray:
        """`annotated` and `shown` of a finding, (2, L)."""
        given, usual = self.frequency(term), self._usual(term)
        counted = self.shown_by[term].toarray().ravel() + PRIOR_PATIENTS * given
        return np.log(np.stack([given, counted / (self.weight + PRIOR_PATIENTS)]) / usual).astype(np.float32)

    def _lacked(self, term: int) -> np.ndarray:
        """`lacked` and `lacked_too` of an excluded finding, (2, L)."""
        usual, share = self._usual(term), float(np.clip(self.known.share[term], LOOKED_FOR / MOST_SOUGHT, LOOKED_FOR))
        sought = (self.known.annotated[term] + self.known.absent[term]).toarray().ravel() > 0
        looked = np.where(sought, np.log(LOOKED_FOR / share), np.log((1 - LOOKED_FOR) / (1 - share)))
        rate = float(self._rate_lacked[term])
        prior = np.where(sought, min(0.3, 6 * rate), 0.8 * rate)
        counted = self.lacked_by[term].toarray().ravel() + PRIOR_PATIENTS * prior
        by_notes = np.log((1 - self.frequency(term)) / (1 - usual)) + looked
        return np.stack([by_notes, np.log(counted / (self.weight + PRIOR_PATIENTS) / rate)]).astype(np.float32)

    def candidates(self, cases: Sequence[Finding]) -> Candidates:
        """The candidates of a batch of cases and what speaks for each."""
        found = self._summed(cases) | self._alike(cases)
        first = (
            found["shown"] + 0.5 * (self.publications + found["kernel"] + found["lacked"] + found["lacked_too"])
        ).astype(np.float32)
        by_first, by_kernel = _ranks(first), np.where(found["kernel"] > 0, _ranks(found["kernel"]), self.labels)
        labels = np.argsort(np.minimum(by_first, 3 * by_kernel), axis=1, kind="stable")[:, : self.count]
        return Candidates(labels, self._features(cases, found | {"first": first}, labels), first)

    def _summed(self, cases: Sequence[Finding]) -> dict[str, np.ndarray]:
        names = ("annotated", "shown", "lacked", "lacked_too")
        total = np.zeros((4, len(cases), self.labels), np.float32)
        for row, (observed, excluded) in enumerate(cases):
            for term in observed:
                total[:2, row] += self.observed(term)
            for term in excluded:
                total[2:, row] += self.lacked(term)
        return dict(zip(names, total, strict=True))

    def _alike(self, cases: Sequence[Finding]) -> dict[str, np.ndarray]:
        shape = (len(cases), len(self.known.terms.ids))
        places = [(row, term) for row, (observed, _) in enumerate(cases) for term in observed]
        rows, terms = zip(*places, strict=True) if places else ((), ())
        asked = self._unit(self._closed(sp.csr_matrix((np.ones(len(rows), np.float32), (rows, terms)), shape=shape)))
        found = {name: np.zeros((len(cases), self.labels), np.float32) for name in ("nearest", "kernel")}
        if len(self._starts):
            likeness = (asked @ self._likeness).toarray()[:, self._order]
            labels = self.known.labels[self._order][self._starts]
            found["nearest"][:, labels] = np.maximum.reduceat(likeness, self._starts, axis=1)
            found["kernel"][:, labels] = np.log1p(np.add.reduceat(np.expm1(SHARPNESS * likeness), self._starts, axis=1))
        return found | {"overlap": (asked @ self._described).toarray()}

    def _features(self, cases: Sequence[Finding], found: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
        """(n, c, f): the evidence, relative to the best candidate's, by rank, and with and without patients."""
        of = {name: np.take_along_axis(table, labels, 1) for name, table in found.items()}
        has = self.has[labels]
        observed, excluded = (np.array([[len(case[i])] for case in cases], np.float32) for i in (0, 1))
        told = [*of.values(), self.publications[labels], self.patients[labels], has, self.described[labels]]
        relative = [
            (of[name] - of[name].max(1, keepdims=True)) / np.sqrt(1 + observed)
            for name in ("annotated", "shown", "lacked", "lacked_too", "kernel", "nearest")
        ]
        ranks = [np.log1p(_ranks(of[name])) for name in ("annotated", "shown", "nearest", "overlap")]
        with_patients = [has * of["annotated"], has * of["nearest"], has * np.log1p(observed), has * np.log1p(excluded)]
        without = [(1 - has) * of["overlap"], (1 - has) * of["lacked"]]
        return np.stack([*told, *relative, *ranks, *with_patients, *without], -1).astype(np.float32)


def _ranks(table: np.ndarray) -> np.ndarray:
    """The rank of each value in its row, from 0 for the greatest."""
    ranks = np.empty(table.shape, np.int32)
    np.put_along_axis(
        ranks, np.argsort(-table, axis=1, kind="stable"), np.arange(table.shape[1], dtype=np.int32)[None], 1
    )
    return ranks
