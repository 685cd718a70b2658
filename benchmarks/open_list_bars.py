"""The bars of the open list: how much of what a likelihood ratio finds is leakage, and what the phenotype scorer reaches.

    python benchmarks/open_list_bars.py --patients phenopackets.jsonl.gz --to FOLDER [--folds 5] [--cases 300] [--seed 0]

Publications are drawn at random into folds, and each fold is held out once: its cases are ranked among all diseases that
HPO annotates or that a patient has, by a likelihood ratio over annotations

    shipped    as they are
    subtract   without the publication of the case
    once       without the publications of all cases that are held out

and by the phenotype scorer, fitted on the other folds, which knows annotations once. How many of a fold's cases have a
disease with training patients hangs on a few large publications, and decides the whole figure: so it is told, and the cases
are told apart by it; `by publication` counts every publication once. Listed cases have a disease that HPO annotates.
Intervals are 95 %, over publications. FOLDER keeps each fold's scorer and ranks: a second call goes on with the rest.
"""

from __future__ import annotations

import argparse
import gzip
import random
import resource
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from mint_ray import hpo
from mint_ray.corpora.phenopackets import read_message
from mint_ray.corpora.publications import Grouped, groups_of
from mint_ray.evaluation.intervals import bootstrap
from mint_ray.likelihood import LikelihoodRatio
from mint_ray.records import Case
from mint_ray.scorers import load_scorer
from mint_ray.scorers.files import SETTINGS, finished_folder
from mint_ray.scorers.phenotype import Phenotype
from mint_ray.scorers.phenotype.fitting import fold_examples, folds_of
from mint_ray.scorers.phenotype.knowledge import Known, gather
from mint_ray.scorers.phenotype.network import Examples, train
from mint_ray.scorers.phenotype.scorer import PhenotypeScorer
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease, annotated_patient

TOPS = (1, 3, 10)
BARS = ("likelihood ratio, shipped", "likelihood ratio, subtract", "likelihood ratio, once", "phenotype scorer, once")
TASK = RareDisease(kind="rare_disease")
SECTION = Phenotype(kind="phenotype")


def published(path: str) -> list[Case]:
    """The labelled cases of a file of phenopackets, patients of one paper in one group."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        outcomes = [
            o for i, line in enumerate(lines, 1) for o in read_message({"source": path, "row": i, "text": line})
        ]
    cases = [o for o in outcomes if isinstance(o, Case) and o.label_id]
    groups = groups_of({i: Grouped(case.group_id, case.publications) for i, case in enumerate(cases)})
    print(f"{len(cases)} cases of {len(set(groups.values()))} publications; {len(outcomes) - len(cases)} rows refused")
    return [case.model_copy(update={"group_id": groups[i]}) for i, case in enumerate(cases)]


def label_list(cases: Iterable[Case]) -> list[Label]:
    """All diseases that HPO annotates, and those that a case has beside them."""
    names = {case.label_id or "": case.label_name or "" for case in cases} | hpo.disease_names()
    return [Label(id=label_id, name=name) for label_id, name in sorted(names.items())]


def fit(cases: Sequence[Case], labels: list[Label], held: Sequence[Case], seed: int, folder: Path) -> None:
    """A phenotype scorer of these cases, as the stage `scorer` fits it, in one process."""
    places = {label.id: place for place, label in enumerate(labels)}
    patients = [Known(places[case.label_id or ""], case.group_id, annotated_patient(case)) for case in cases]
    others = [annotated_patient(case) for case in held if case.publications]
    diseases, fold = [[label.id] for label in labels], folds_of([p.group for p in patients], SECTION.folds, seed)
    shared = (diseases, patients, others, fold)
    parts = [fold_examples(shared, number, SECTION.candidates) for number in sorted(set(fold))]
    examples = Examples(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Examples)))
    networks = train(examples, SECTION.hidden, SECTION.networks, SECTION.epochs, seed)
    with finished_folder(folder, labels, {"kind": "phenotype", "candidates": SECTION.candidates}) as temporary:
        gather(diseases, patients, hpo.Withheld(others)).save(temporary)
        networks.save(temporary)


def rank_of(scores: np.ndarray, truth: int) -> int:
    """1 for the best; a label of equal score counts as ahead of the truth."""
    return int((scores >= scores[truth]).sum())


def ratios(ranker: LikelihoodRatio, cases: Iterable[Case]) -> np.ndarray:
    known = hpo.ontology().phenotypes
    return np.stack([ranker.log_ratios([p for p in case.phenotypes if p.id in known]) for case in cases])


def without_own(cases: Sequence[Case], shipped: np.ndarray, places: dict[str, int]) -> np.ndarray:
    """The shipped scores, those of whatever disease the case's own publication stands behind made anew without it.

    What is usual among all diseases stays as it is: one publication is next to nothing of it.
    """
    scores, of_disease, citing = shipped.copy(), defaultdict(list), defaultdict(set)
    for row in hpo.annotations():
        of_disease[row.disease_id].append(row)
        for reference in row.references:
            citing[reference].add(row.disease_id)
    for group in dict.fromkeys(case.group_id for case in cases):
        rows = [i for i, case in enumerate(cases) if case.group_id == group]
        without = hpo.Withheld(annotated_patient(cases[i]) for i in rows)
        cited = sorted({d for paper in without.publications for d in citing[paper]} & places.keys())
        if cited:
            ranker = LikelihoodRatio({d: [d] for d in cited})
            left = {d: [kept for row in of_disease[d] if (kept := without.left_of(row))] for d in cited}
            ranker.known = ranker.known | {d: hpo.described(d, hpo.disease_names()[d], left[d]) for d in cited}
            scores[np.ix_(rows, [places[d] for d in cited])] = ratios(ranker, [cases[i] for i in rows])
    return scores


def one_fold(cases: Sequence[Case], held: Sequence[Case], labels: list[Label], count: int, seed: int, folder: Path):
    """The ranks of the truth by each bar, and what the table needs to know of each case."""
    started = time.process_time()
    if not (folder / SETTINGS).exists():
        fit(cases, labels, held, seed, folder)
    fitted = time.process_time() - started
    scorer = load_scorer(folder)
    assert isinstance(scorer, PhenotypeScorer)
    asked = sorted(random.Random(seed).sample(held, min(count, len(held))), key=lambda case: case.group_id)
    places = {label.id: place for place, label in enumerate(labels)}
    views = [TASK.scorer_view(case) for case in asked]
    scorer.scores(views[:64])
    started = time.process_time()
    scores = scorer.scores(views)
    seconds = time.process_time() - started
    shipped = ratios(LikelihoodRatio({d: [d] for d in places}), asked)
    once = hpo.Withheld(annotated_patient(case) for case in held if case.publications)
    every = (
        shipped,
        without_own(asked, shipped, places),
        ratios(LikelihoodRatio({d: [d] for d in places}, once), asked),
        scores,
    )
    truths = [places[case.label_id or ""] for case in asked]
    return {
        "ranks": np.array([[rank_of(row, truth) for row, truth in zip(bar, truths, strict=True)] for bar in every]),
        "groups": np.array([case.group_id for case in asked]),
        "listed": np.array([case.label_id in hpo.disease_names() for case in asked]),
        "trained": scorer.evidence.has[truths] > 0,
        "first": np.exp(scores.max(1)),
        "seconds": np.array([fitted, seconds]),
        "taken": np.array([hpo.taken_out(once).rows, hpo.taken_out(once).counts, hpo.taken_out(once).of]),
    }


def told(ranks: np.ndarray, groups: np.ndarray, by_publication: bool = False) -> str:
    shares = np.array([[rank <= top for top in TOPS] for rank in ranks], float)
    if by_publication:
        names = np.unique(groups)
        shares, groups = np.stack([shares[groups == name].mean(0) for name in names]), names
    found = bootstrap(shares, groups.tolist(), 2000, seed=1).intervals()
    return " / ".join(f"{100 * each.value:.1f} ({100 * each.low:.0f}-{100 * each.high:.0f})" for each in found)


def table(folds: Sequence[dict[str, np.ndarray]]) -> None:
    of = {name: np.concatenate([fold[name] for fold in folds]) for name in ("groups", "listed", "trained", "first")}
    ranks, listed, trained = np.concatenate([fold["ranks"] for fold in folds], 1), of["listed"], of["trained"]
    parts = {"listed": listed, "with training patients": listed & trained, "without": listed & ~trained}
    sizes = ", ".join(f"{title} {part.sum()}" for title, part in parts.items())
    print(f"top-{', top-'.join(map(str, TOPS))}; cases: {sizes}; publications: {len(set(of['groups']))}")
    print("| | " + " | ".join(parts) + " | listed, by publication |\n|---|" + "---|" * (len(parts) + 1))
    for title, row in zip(BARS, ranks, strict=True):
        cells = [told(row[part], of["groups"][part]) for part in parts.values()]
        print(f"| {title} | {' | '.join(cells)} | {told(row[listed], of['groups'][listed], True)} |")
    print(f"mean probability of the first: {of['first'].mean():.3f}, right: {(ranks[-1] == 1).mean():.3f}")
    fitted, scored = np.sum([fold["seconds"] for fold in folds], 0)
    taken = [fold["taken"].tolist() for fold in folds]
    print(f"CPU seconds a fit {fitted / len(folds):.0f}; {60 * ranks.shape[1] / scored:,.0f} cases a CPU minute")
    print(f"rows taken out, counts lowered, of all, by fold: {taken}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def arguments(says: str | None) -> argparse.Namespace:
    """The patients, the folds that they are parted into, and how many cases of each are asked about."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", required=True)
    parser.add_argument("--to", required=True, type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=300, help="of each fold, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = arguments(__doc__)

    cases = published(args.patients)
    labels, fold = label_list(cases), folds_of([case.group_id for case in cases], args.folds, args.seed)
    args.to.mkdir(parents=True, exist_ok=True)
    for number in range(args.folds):
        ranks = args.to / f"fold-{number}.npz"
        if not ranks.exists():
            rest = [case for case, its in zip(cases, fold, strict=True) if its != number]
            held = [case for case, its in zip(cases, fold, strict=True) if its == number]
            np.savez(ranks, **one_fold(rest, held, labels, args.cases, args.seed, args.to / f"scorer-{number}"))
        print(f"fold {number} of {args.folds}", flush=True)
    table([dict(np.load(args.to / f"fold-{number}.npz")) for number in range(args.folds)])


if __name__ == "__main__":
    main()
