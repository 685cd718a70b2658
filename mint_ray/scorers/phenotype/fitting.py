"""Fit a phenotype scorer: evidence of training patients, fold by fold, in Ray tasks, then the networks.

A training patient's own publication stands in the annotations, and patients of its paper among those that it is likened
to; a network that learned from them as they are would believe both too much. So the training publications are parted
into folds, and the evidence of each fold's patients comes from the other folds' patients and from annotations that know
nothing of its publications, as it will for a case that nobody has seen.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from mint_ray import hpo
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.errors import ConfigError, CorpusError
from mint_ray.records import Case, Split, from_table
from mint_ray.scorers.files import finished_folder
from mint_ray.scorers.fitting.survey import fitting_split
from mint_ray.scorers.phenotype.evidence import Evidence, Finding
from mint_ray.scorers.phenotype.knowledge import Known, Terms, gather
from mint_ray.scorers.phenotype.network import SPREADS, Examples, log_softmax, train
from mint_ray.tasks.rare_disease import RareDisease, annotated_patient

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.phenotype import Phenotype

logger = logging.getLogger(__name__)

_BATCH = 64


def fit_phenotype(section: Phenotype, run: Run, folder: Path) -> dict[str, Any]:
    """Fit on the run's cases for it, leave a finished scorer in `folder`, return figures.

    Raises:
        ConfigError: the task's labels are no diseases.
        CorpusError: the training patients are of one publication.
    """
    task, labels = run.config.task, run_labels(run)
    if not isinstance(task, RareDisease):
        raise ConfigError([f"scorer.kind is phenotype, which reads findings, and task.kind {task.kind} has none"])
    patients, held = _patients(run, [label.id for label in labels])
    groups = len({p.group for p in patients})
    if groups < 2:
        raise CorpusError(
            f"{run.dir}: the training patients are of {groups} publication(s); two or more are needed to fit on"
        )
    diseases = [task.diseases_of(label) for label in labels]
    examples = _examples(section, diseases, patients, held, run.config.run.seed)
    networks = train(examples, section.hidden, section.networks, section.epochs, run.config.run.seed)
    without = hpo.Withheld(held)
    settings = {"kind": section.kind, "candidates": section.candidates}
    with finished_folder(folder, labels, settings) as temporary:
        gather(diseases, patients, without).save(temporary)
        networks.save(temporary)
    taken = asdict(hpo.taken_out(without))
    logger.info(
        "scorer: %d patients of %d publications, %d labels; annotations taken out: %s",
        len(patients),
        groups,
        len(labels),
        taken,
    )
    return {
        "patients": len(patients),
        "publications": groups,
        "labels_with_patients": len({p.label for p in patients}),
        "among_candidates": round(float((examples.truth >= 0).mean()), 4),
        "annotations_taken_out": taken,
    }


def _patients(run: Run, label_ids: Sequence[str]) -> tuple[list[Known], list[hpo.Patient]]:
    """Whom it is fitted on, and whose publications the annotations must not know: all others that have any.

    Simulated patients were drawn from the annotations and tell nothing more: they are left out beside real ones.
    """
    place = {label_id: position for position, label_id in enumerate(label_ids)}
    split = fitting_split(run)
    cases = [case for case in _cases(run, [split]) if case.label_id in place]
    real = [case for case in cases if not case.synthetic] or cases
    known = [Known(place[case.label_id or ""], case.group_id, annotated_patient(case)) for case in real]
    others = _cases(run, [each for each in get_args(Split) if each != split])
    held = [annotated_patient(case) for case in others if case.publications and case.label_id]
    return known, held


def _cases(run: Run, splits: Sequence[str]) -> list[Case]:
    columns = [name for name in Case.model_fields if name != "image"]
    return list(from_table(case_table(run, columns, list(splits)), Case))


def _examples(
    section: Phenotype, diseases: Sequence[Sequence[str]], patients: list[Known], held: list[hpo.Patient], seed: int
) -> Examples:
    """The evidence of all training patients, each from what is known without its publication; a Ray task a fold."""
    import ray

    fold = folds_of([p.group for p in patients], section.folds, seed)
    task = ray.remote(num_cpus=section.cpus_per_fold)(fold_examples)
    shared = ray.put((diseases, patients, held, fold))
    pending = [task.remote(shared, number, section.candidates) for number in sorted(set(fold))]
    parts: list[Examples] = []
    for number, each in enumerate(pending, 1):
        parts.append(ray.get(each))
        logger.info("scorer: evidence of %d of %d folds", number, len(pending))
    return Examples(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Examples)))


def folds_of(groups: Sequence[str], count: int, seed: int) -> list[int]:
    """Each patient's fold: publications stay whole, and take turns in an order that the seed decides."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    of_group = {names[place]: turn % count for turn, place in enumerate(order)}
    return [of_group[group] for group in groups]


def fold_examples(shared: tuple[Any, ...], number: int, candidates: int) -> Examples:
    """The evidence of one fold's patients, from the others'."""
    diseases, patients, held, fold = shared
    inside = [p for p, its in zip(patients, fold, strict=True) if its == number]
    rest = [p for p, its in zip(patients, fold, strict=True) if its != number]
    without = hpo.Withheld([*held, *(p.patient for p in inside if p.patient.publications)])
    evidence = Evidence(gather(diseases, rest, without), candidates)
    found = [_against(evidence, inside[start : start + _BATCH]) for start in range(0, len(inside), _BATCH)]
    sizes = Counter(p.group for p in inside)
    weight = np.array([sizes[p.group] ** -0.5 for p in inside], np.float32)
    features, truth, outside = (np.concatenate(each) for each in zip(*found, strict=True))
    return Examples(features, truth, weight, outside)


def _against(evidence: Evidence, patients: Sequence[Known]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = evidence.candidates([findings_of(p.patient, evidence.known.terms) for p in patients])
    hits = found.labels == np.array([[p.label] for p in patients])
    outside = np.zeros((len(patients), len(SPREADS)), np.float32)
    for row in np.flatnonzero(~hits.any(1)):
        others = found.first[row].copy()
        others[found.labels[row]] = -np.inf
        outside[row] = [log_softmax(others / spread)[patients[row].label] for spread in SPREADS]
    return found.features, np.where(hits.any(1), hits.argmax(1), -1), outside


def findings_of(person: hpo.Patient, terms: Terms) -> Finding:
    observed = terms.rows(person.observed)
    shown = set(observed)
    return observed, [row for row in terms.rows(person.excluded) if row not in shown]


def adopt(section: Phenotype, run: Run, folder: Path) -> dict[str, Any]:
    """Leave a finished scorer in `folder` as it is; it must have the run's labels in their order.

    Raises:
        ModelError: it is no phenotype scorer.
        ConfigError: its labels are others.
    """
    from mint_ray.scorers import scorer_section
    from mint_ray.scorers.phenotype.scorer import FILES, PhenotypeScorer

    finished, origin = scorer_section(str(section.folder))
    if not isinstance(finished, type(section)):
        raise ConfigError([f"scorer.folder is {section.folder}, which holds a scorer of kind {finished.kind}"])
    scorer, labels = PhenotypeScorer(finished, origin), run_labels(run)
    if [label.id for label in scorer.labels] != [label.id for label in labels]:
        raise ConfigError(
            [f"scorer.folder is {section.folder}, whose {len(scorer.labels)} labels are not the run's {len(labels)}"]
        )
    with finished_folder(folder, labels, {"kind": section.kind, "candidates": finished.candidates}) as temporary:
        for name in FILES:
            shutil.copy(origin / name, temporary / name)
    return {"origin": str(section.folder), "labels_used": len(labels)}
