"""The bars of the open list: how much of what a likelihood ratio finds is leakage, and what the phenotype scorer reaches.

    python benchmarks/open_list_bars.py --run RUN [--cases 400] [--seed 1]

RUN has its stages `cases` and `scorer` done, the scorer of kind phenotype (recipes/open_list_smollm2_cpu.yaml). Its test
cases are ranked among all its labels by the likelihood ratio over annotations

    shipped    as they are
    subtract   without the publication of the case
    once       without the publications of all held-out cases

and by the scorer, which knows them once. Listed cases have a disease that HPO annotates. Intervals are 95 %, over publications.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mint_ray import hpo
from mint_ray.corpora.store import case_table, held_out, run_labels
from mint_ray.evaluation.intervals import bootstrap
from mint_ray.likelihood import LikelihoodRatio
from mint_ray.records import Case, from_table
from mint_ray.runs import Run, open_run
from mint_ray.scorers import load_scorer
from mint_ray.tasks.rare_disease import annotated_patient

TOPS = (1, 3, 10)


def cases_of(run: Run, count: int, seed: int) -> list[Case]:
    """Labelled test cases, drawn by `seed`."""
    columns = [name for name in Case.model_fields if name != "image"]
    cases = [case for case in from_table(case_table(run, columns, ["test"]), Case) if case.label_id]
    return sorted(random.Random(seed).sample(cases, min(count, len(cases))), key=lambda case: case.group_id)


def rank_of(scores: np.ndarray, truth: int) -> int:
    """1 for the best; a label of equal score counts as ahead of the truth."""
    return int((scores >= scores[truth]).sum())


def ratios(ranker: LikelihoodRatio, cases: Iterable[Case]) -> np.ndarray:
    known = hpo.ontology().phenotypes
    return np.stack([ranker.log_ratios([p for p in case.phenotypes if p.id in known]) for case in cases])


def without_own(cases: Sequence[Case], shipped: np.ndarray, places: dict[str, int]) -> np.ndarray:
    """The shipped scores, those of whatever disease the case's own publication stands behind made anew without it."""
    scores = shipped.copy()
    for group in dict.fromkeys(case.group_id for case in cases):
        rows = [i for i, case in enumerate(cases) if case.group_id == group]
        without = hpo.Withheld(annotated_patient(cases[i]) for i in rows)
        cited = {r.disease_id for r in hpo.annotations() if without.publications.intersection(r.references)}
        if changed := sorted(cited & places.keys()):
            anew = ratios(LikelihoodRatio({d: [d] for d in changed}, without), [cases[i] for i in rows])
            scores[np.ix_(rows, [places[d] for d in changed])] = anew
    return scores


def tell(title: str, ranks: np.ndarray, chosen: np.ndarray, groups: Sequence[str]) -> None:
    shares = np.array([[rank <= top for top in TOPS] for rank in ranks[chosen]], float)
    found = bootstrap(shares, [g for g, c in zip(groups, chosen, strict=True) if c], 2000, seed=1).intervals()
    figures = ", ".join(
        f"top-{top} {100 * each.value:.1f} ({100 * each.low:.0f}-{100 * each.high:.0f})"
        for top, each in zip(TOPS, found, strict=True)
    )
    print(f"{title}: {figures}; {int(chosen.sum())} cases", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    run = open_run(args.run)
    labels, cases = run_labels(run), cases_of(run, args.cases, args.seed)
    places = {label.id: place for place, label in enumerate(labels)}
    truths, groups = [places[case.label_id] for case in cases], [case.group_id for case in cases]
    listed = np.array([case.label_id in hpo.disease_names() for case in cases])
    fitted = run.stage("scorer").told["figures"]
    print(f"{len(labels):,} labels, {len(cases)} test cases of {len(set(groups))} publications; scorer: {fitted}")

    shipped = ratios(LikelihoodRatio({d: [d] for d in places}), cases)
    bars = {
        "likelihood ratio, shipped": shipped,
        "likelihood ratio, subtract": without_own(cases, shipped, places),
        "likelihood ratio, once": ratios(LikelihoodRatio({d: [d] for d in places}, held_out(run)), cases),
    }
    scorer = load_scorer(run.stage("scorer").require())
    views = [run.config.task.scorer_view(case) for case in cases]
    scorer.scores(views[:64])
    started = time.process_time()
    bars["phenotype scorer, once"] = scorer.scores(views)
    seconds = time.process_time() - started
    with_patients = np.isin(truths, np.flatnonzero(scorer.evidence.has))
    for title, scores in bars.items():
        ranks = np.array([rank_of(row, truth) for row, truth in zip(scores, truths, strict=True)])
        tell(f"{title}, listed", ranks, listed, groups)
        for part, chosen in (("with training patients", with_patients), ("without", ~with_patients)):
            if chosen.any():
                tell(f"{title}, {part}", ranks, chosen, groups)
    probabilities = np.exp(bars["phenotype scorer, once"])
    first = probabilities.argmax(1) == np.array(truths)
    print(f"its mean probability of the first: {probabilities.max(1).mean():.3f}, right: {first.mean():.3f}")
    print(
        f"{60 * len(cases) / seconds:,.0f} rankings a minute of one core's time; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()
