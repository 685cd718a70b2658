"""What the candidates in a prompt give away, and what a reader of them can reach at best.

    python benchmarks/open_list_bars.py --patients phenopackets.jsonl.gz --to FOLDER
    python benchmarks/open_list_reader.py --patients phenopackets.jsonl.gz --to FOLDER [--cases 300] [--seed 0]

Ten candidates of each held-out case, by the scorer of FOLDER that has not seen its publication, as `candidates` puts them into
the prompt. Small networks choose among them, fitted on other publications, by

    place      the line that a candidate stands in, alone: chance, or the order gives the answer away
    lines      how many findings a line names, how rare they are, and how many no other line names
    patients   the same, and from how many training patients and publications the disease is known
    evidence   all that the scorer weighs, for these ten alone: the perfect reader, who knows what each name stands for

beside the retriever's own first. Listed cases alone; intervals are 95 %, over publications; the difference is paired.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from open_list_bars import TASK, arguments, published

from mint_ray import hpo
from mint_ray.candidates import Candidates
from mint_ray.config import CandidatesSection
from mint_ray.evaluation.intervals import bootstrap
from mint_ray.records import Case
from mint_ray.scorers import load_scorer
from mint_ray.scorers.files import SETTINGS
from mint_ray.scorers.phenotype.fitting import folds_of
from mint_ray.scorers.phenotype.network import SPREADS, Examples, train
from mint_ray.scorers.phenotype.scorer import PhenotypeScorer

COUNT = 10
READERS = {"place": slice(0, 1), "lines": slice(0, 5), "patients": slice(0, 8), "evidence": slice(0, None)}


class OneToken:
    """A tokenizer to which every line is short: all candidates fit."""

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0] for _ in texts]}


def lines_of(candidates: Candidates, case: Case) -> tuple[list[str], list[str]]:
    """The candidates' lines in the order of the prompt, and their label ids, the retriever's first before the others."""
    view, told = candidates.add(TASK.downstream_view(case), case.case_id)
    return list(view.context), told


def read(
    scorer: PhenotypeScorer, candidates: Candidates, case: Case, ids: dict[str, str]
) -> tuple[np.ndarray, int, bool]:
    """Features (10, f) in the order of the lines, the line of the truth (-1: in none), and whether the retriever has it first."""
    lines, told = lines_of(candidates, case)
    names = {label.id: label.name for label in scorer.labels}
    shown = {names[label_id]: label_id for label_id in told}
    heads = [max((n for n in shown if line == n or line.startswith(n + ": ")), key=len) for line in lines]
    order, findings = (
        [shown[head] for head in heads],
        [line[len(head) + 2 :] for line, head in zip(lines, heads, strict=True)],
    )
    named = [[f for f in each.split("; ") if f] for each in findings]
    times = Counter(f for each in named for f in each)
    rarity = [[hpo.information_content(ids[f]) for f in each] for each in named]
    places = {label.id: place for place, label in enumerate(scorer.labels)}
    rows, evidence = [places[label_id] for label_id in order], scorer.evidence
    found = evidence.candidates([scorer.findings(TASK.downstream_view(case))])
    # One that is none of the hundred that the scorer weighs has the evidence of the last of these.
    where = {label: at for at, label in enumerate(found.labels[0].tolist())}
    told_by_lines = [
        [float(at), float(len(f)), sum(r), max(r, default=0.0), float(sum(times[x] == 1 for x in f))]
        for at, (f, r) in enumerate(zip(named, rarity, strict=True))
    ]
    known = [[float(evidence.has[r]), float(evidence.patients[r]), float(evidence.publications[r])] for r in rows]
    features = np.concatenate(
        [told_by_lines, known, found.features[0, [where.get(r, len(where) - 1) for r in rows]]], 1
    )
    return (
        features.astype(np.float32),
        order.index(case.label_id) if case.label_id in order else -1,
        told[0] == case.label_id,
    )


def main() -> None:
    args = arguments(__doc__)

    cases = published(args.patients)
    fold, ids = (
        folds_of([case.group_id for case in cases], args.folds, args.seed),
        {t.name: t.id for t in hpo.ontology().terms.values()},
    )
    found, groups = [], []
    for number in range(args.folds):
        if not (args.to / f"scorer-{number}" / SETTINGS).exists():
            continue  # those that are done tell something
        scorer = load_scorer(args.to / f"scorer-{number}")
        assert isinstance(scorer, PhenotypeScorer)
        candidates = Candidates(CandidatesSection(count=COUNT), scorer, OneToken(), args.seed)
        held = [
            case
            for case, its in zip(cases, fold, strict=True)
            if its == number and case.label_id in hpo.disease_names()
        ]
        for case in random.Random(args.seed).sample(held, min(args.cases, len(held))):
            found.append(read(scorer, candidates, case, ids))
            groups.append(case.group_id)
    features, truth, first = (np.array(each) for each in zip(*found, strict=True))
    part = np.array(folds_of(groups, 5, args.seed + 1))
    weight, outside = np.ones(len(truth), np.float32), np.zeros((len(truth), len(SPREADS)), np.float32)
    right = {"the retriever's first": first.astype(float), "among the ten": (truth >= 0).astype(float)}
    for title, columns in READERS.items():
        right[title] = np.zeros(len(truth))
        for held in sorted(set(part)):
            rest = part != held
            chosen = features[..., columns]
            network = train(Examples(chosen[rest], truth[rest], weight[rest], outside[rest]), 8, 2, 30, args.seed)
            right[title][~rest] = network.logits(chosen[~rest]).argmax(1) == truth[~rest]
    values = np.stack(list(right.values()), 1)
    ahead = values - values[:, :1]
    print(
        f"{len(truth)} listed cases of {len(set(groups))} publications; chance among ten {10 * (truth >= 0).mean():.1f}"
    )
    for title, one, other in zip(
        right,
        bootstrap(values, groups, 2000, 1).intervals(),
        bootstrap(ahead, groups, 2000, 1).intervals(),
        strict=True,
    ):
        print(
            f"| {title} | {100 * one.value:.1f} ({100 * one.low:.0f}-{100 * one.high:.0f}) | "
            f"{100 * other.value:+.1f} ({100 * other.low:.1f} to {100 * other.high:.1f}) |"
        )
    print(f"lines of the truth, first to tenth: {np.bincount(truth[truth >= 0], minlength=COUNT).tolist()}")


if __name__ == "__main__":
    main()
