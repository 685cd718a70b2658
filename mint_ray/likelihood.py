"""Diseases ranked by a likelihood ratio over HPO annotations: what published knowledge says of a patient's findings.

In the spirit of LIRICAL (Robinson et al., Am J Hum Genet 2020): every finding multiplies a disease's odds by how much
more often patients of this disease show it than patients of all diseases do. Sex, age, inheritance and variants are left
out, and every disease is equally likely before.

An excluded finding says two things: the patient lacks it, and somebody looked for it. One looks for what the disease may
show: of the excluded findings of published patients a third is annotated to their own disease, and one in twenty-five to
any other. By the lack alone an excluded finding speaks against the true disease more than it should, and rankings are
worse with it than without. So its odds are multiplied by how much more often it is looked for, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from mint_ray import hpo
from mint_ray.records import Phenotype

# Seen to do well on 300 published patients (docs/metrics.md), and not sensitive: 66 to 73 % first over what was tried.
UNRELATED = 0.03  # share of a patient's findings that are not among the disease's annotations, or put otherwise there
# Share of the findings excluded in published patients that are annotated to their disease, taken out of what it is
# annotated with (docs/open_list.md); and the most that having been looked for may multiply the odds by.
LOOKED_FOR, MOST_SOUGHT = 0.32, 20.0
LEAST, MOST = 0.001, 0.7  # no annotation says never or always: most frequencies come from a handful of patients


@hpo.remembered(maxsize=None)
def ancestors(term_id: str) -> tuple[str, ...]:
    """The term itself and all terms above it; asked for so often that they are remembered."""
    return tuple(hpo.ontology().ancestors(term_id))


def implied(frequencies: Mapping[str, float]) -> dict[str, float]:
    """Frequencies of annotated terms and of all terms above them: who shows a term shows its ancestors."""
    found: dict[str, float] = {}
    for term_id, frequency in frequencies.items():
        for ancestor in ancestors(term_id):
            found[ancestor] = max(frequency, found.get(ancestor, 0.0))
    return found


@hpo.remembered(maxsize=4)
def background(without: hpo.Withheld | None = None) -> dict[str, float]:
    """By term id, the mean of its implied frequency over all annotated OMIM diseases: P(finding) of any patient."""
    return {term_id: frequency for term_id, (frequency, _) in _usual(without).items()}


@hpo.remembered(maxsize=4)
def _usual(without: hpo.Withheld | None) -> dict[str, tuple[float, float]]:
    """By term id, the mean of its implied frequency over all diseases, and the share of those that imply it at all."""
    total: defaultdict[str, float] = defaultdict(float)
    shown: defaultdict[str, int] = defaultdict(int)
    known = hpo.diseases(without)
    for disease in known.values():
        for term_id, frequency in implied(disease.frequencies).items():
            total[term_id] += frequency
            shown[term_id] += 1
    return {term_id: (summed / len(known), shown[term_id] / len(known)) for term_id, summed in total.items()}


class LikelihoodRatio:
    """Ranks labels by their best disease.

    Args:
        diseases: label id to the OMIM ids that it stands for. A label without annotations is ranked last.
        without: publications that the annotations are to know nothing of.
    """

    def __init__(self, diseases: Mapping[str, Sequence[str]], without: hpo.Withheld | None = None):
        self.known, self.usual = hpo.diseases(without), _usual(without)
        known = self.known
        self.label_ids = list(diseases)
        self.pairs = [(i, d) for i, ids in enumerate(diseases.values()) for d in ids if d in known]

    @cached_property
    def annotated(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By term id, the rows of `pairs` whose disease implies it, and how often."""
        found: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, (_, disease_id) in enumerate(self.pairs):
            for term_id, frequency in implied(self.known[disease_id].frequencies).items():
                found[term_id].append((row, frequency))
        return {term: (np.array([r for r, _ in hits]), np.array([f for _, f in hits])) for term, hits in found.items()}

    @cached_property
    def lacking(self) -> dict[str, list[int]]:
        """By term id, the rows of `pairs` whose patients were looked at for it, and never showed it."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for row, (_, disease_id) in enumerate(self.pairs):
            for term_id in self.known[disease_id].absent:
                found[term_id].append(row)
        return dict(found)

    def frequency(self, term_id: str) -> np.ndarray:
        """P(finding | disease) of every row of `pairs`.

        A finding that a disease does not imply may be a nearer look at one that it does: then it is as frequent as among
        all patients who show that one, times `UNRELATED`; but not where patients were looked at for it and lacked it.
        """
        usual, _ = self.usual.get(term_id, (LEAST, LEAST))
        found = np.zeros(len(self.pairs))
        for ancestor in ancestors(term_id):
            rows, frequencies = self.annotated.get(ancestor, (np.empty(0, int), np.empty(0)))
            share = (
                1.0 if ancestor == term_id else UNRELATED * min(1.0, usual / self.usual.get(ancestor, (1.0, 1.0))[0])
            )
            found[rows] = np.maximum(found[rows], frequencies * share)
        implied_by, _ = self.annotated.get(term_id, ((), ()))
        lacking = {row for ancestor in ancestors(term_id) for row in self.lacking.get(ancestor, ())}
        found[list(lacking.difference(implied_by))] = UNRELATED * usual
        return found.clip(LEAST * UNRELATED, MOST)

    def sought(self, term_id: str) -> np.ndarray:
        """Log of how much more often one looks for a finding in patients of each row of `pairs` than in any."""
        share = min(max(self.usual.get(term_id, (0.0, 0.0))[1], LOOKED_FOR / MOST_SOUGHT), LOOKED_FOR)
        found = np.full(len(self.pairs), np.log((1 - LOOKED_FOR) / (1 - share)))
        implied_by, _ = self.annotated.get(term_id, ((), ()))
        found[[*implied_by, *self.lacking.get(term_id, ())]] = np.log(LOOKED_FOR / share)
        return found

    def log_ratios(self, phenotypes: Iterable[Phenotype]) -> np.ndarray:
        """Each label's log likelihood ratio, shape (labels,), of its best disease; minus infinity without one."""
        total = np.zeros(len(self.pairs))
        for phenotype in phenotypes:
            usual = np.clip(self.usual.get(phenotype.id, (LEAST, LEAST))[0], LEAST, MOST)
            given = self.frequency(phenotype.id)
            lacked = np.log((1 - given) / (1 - usual)) + self.sought(phenotype.id) if phenotype.excluded else None
            total += np.log(given / usual) if lacked is None else lacked
        best = np.full(len(self.label_ids), -np.inf)
        np.maximum.at(best, [label for label, _ in self.pairs], total)
        return best

    def rank(self, phenotypes: Sequence[Phenotype]) -> list[str] | None:
        """All label ids, the likeliest first, equals in the order of the labels; None without a known finding."""
        known = [p for p in phenotypes if p.id in hpo.ontology().phenotypes]
        if not known:
            return None
        order = np.argsort(-self.log_ratios(known), kind="stable")
        return [self.label_ids[i] for i in order]
