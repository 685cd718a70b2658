"""How a model should behave when a case is put differently: the changes, and how often the answers follow them.

After Made With ML's behavioural tests: an invariance (the order of findings), a direction (a decisive finding), and
that excluded findings are read at all. Nothing here asks a model; it makes cases and compares label ids.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from mint_ray import hpo
from mint_ray.evaluation.metrics import rank_of
from mint_ray.likelihood import background
from mint_ray.records import Case, Phenotype

Labels = Mapping[str, Sequence[str | None]]
"""Label ids of an answer in order, by case id."""


def reordered(case: Case, seed: int = 0) -> Case:
    """The same case with its findings in another order, the same one each time; never the order that it has."""
    generator = np.random.default_rng(zlib.crc32(f"{seed}:{case.case_id}".encode()))
    order = generator.permutation(len(case.phenotypes)).tolist()
    if order == sorted(order):
        order = order[::-1]
    return case.model_copy(update={"phenotypes": [case.phenotypes[i] for i in order]})


def most_specific(disease_id: str, case: Case) -> Phenotype | None:
    """The annotated finding that tells most for a disease and that the case does not record; None if there is none.

    That is the one with the highest frequency among its patients over that among all patients.
    """
    disease, recorded = hpo.diseases().get(disease_id), {p.id for p in case.phenotypes}
    usual = background()
    missing = [
        (f / usual[t], t) for t, f in (disease.frequencies if disease else {}).items() if f and t not in recorded
    ]
    if not missing:
        return None
    term = hpo.ontology().terms[max(missing)[1]]
    return Phenotype(id=term.id, name=term.name)


def with_finding(case: Case, phenotype: Phenotype) -> Case:
    """The case with one more finding, recorded last."""
    return case.model_copy(update={"phenotypes": [*case.phenotypes, phenotype]})


def without_excluded(case: Case) -> Case:
    """The case without what was looked for and not found."""
    return case.model_copy(update={"phenotypes": [p for p in case.phenotypes if not p.excluded]})


def same_first(before: Labels, after: Labels) -> float:
    """Share of cases whose first label stays the same; a first name without a label is the same as another such."""
    return _share(list(before.get(case, ()))[:1] == list(after[case])[:1] for case in after)


def not_lowered(before: Labels, after: Labels, truths: Mapping[str, str]) -> float:
    """Share of cases whose truth does not stand lower than it stood; not named is lowest."""
    return _share(_place(after[case], truths[case]) <= _place(before.get(case, ()), truths[case]) for case in after)


def changed(before: Labels, after: Labels) -> float:
    """Share of cases whose answer is not the same list any more."""
    return _share(list(before.get(case, ())) != list(after[case]) for case in after)


def _place(label_ids: Sequence[str | None], truth: str) -> float:
    return rank_of(label_ids, truth) or np.inf


def _share(hits) -> float:
    found = list(hits)
    return sum(found) / len(found) if found else 0.0
