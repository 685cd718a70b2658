"""What all OMIM diseases with HPO annotations as one label list cost, part by part, and the bar that they set.

    python benchmarks/open_list.py --patients phenopackets.jsonl.gz [--cases 300] [--seed 1]

Real patients (JSON lines of phenopackets) are ranked among all these diseases by the likelihood ratio over HPO
annotations, which is what a phenotype-only tool can say; intervals are by publication. The other rows are the unit costs
that docs/comparison.md plans with. One process.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow.parquet as pq
from transformers import AutoTokenizer

from mint_ray import hpo
from mint_ray.corpora.phenopackets import read_packet
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.evaluation.intervals import bootstrap
from mint_ray.models import resolve_model
from mint_ray.records import Case, Ranking, to_table
from mint_ray.synthetic.patients import SimulatedPatients
from mint_ray.tasks.rare_disease import RareDisease, disease_label

NAMES = 10  # an answer


def real_patients(path: str, count: int, seed: int) -> list[Case]:
    """Patients with a diagnosis that HPO annotates, drawn by `seed`."""
    with gzip.open(path) as lines:
        outcomes = [read_packet({"source": path, "row": i, "text": line}) for i, line in enumerate(lines, 1)]
    known = [o for o in outcomes if isinstance(o, Case) and o.label_id in hpo.disease_names()]
    print(
        f"{len(outcomes):,} packets, {len(known):,} with a disease of the list; {count} of these drawn by seed {seed}"
    )
    return random.Random(seed).sample(known, count)


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print the milliseconds of each of `count`."""
    started = time.perf_counter()
    yield
    print(f"{what}: {1000 * (time.perf_counter() - started) / count:.2f} ms each, of {count:,}")


def accuracy(title: str, cases: list[Case], rank: Callable[[Case], list[str] | None]) -> None:
    """Print the share of cases whose truth is first, among three and among ten; no ranking counts as a miss."""
    places = [ranking.index(case.label_id) if (ranking := rank(case)) else len(hpo.diseases()) for case in cases]
    shares = np.array([[place < depth for depth in (1, 3, 10)] for place in places], float)
    found = bootstrap(shares, [case.group_id for case in cases], 2000, seed=1).intervals()
    figures = ", ".join(
        f"top-{depth} {100 * each.value:.1f} ({100 * each.low:.0f}-{100 * each.high:.0f})"
        for depth, each in zip((1, 3, 10), found, strict=True)
    )
    print(f"{title}: {figures}; median place {statistics.median(places) + 1:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", required=True)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    chance = random.Random(args.seed)
    labels = [disease_label(each) for each in hpo.diseases()]
    print(f"{len(labels):,} diseases")
    cases = real_patients(args.patients, args.cases, args.seed)
    task = RareDisease(kind="rare_disease", withhold_branches=["HP:0000271", "HP:0100886", "HP:0000356"])
    rankers = task.rankers(labels)
    for rank in rankers.values():
        rank(cases[0])  # reads the annotations
    for title, rank in rankers.items():
        with timed(title, len(cases)):
            accuracy(title, cases, rank)

    misspelt = [label.name[:3] + label.name[4:] for label in chance.sample(labels, 200)]
    index = NameIndex(labels, parting=task.parting_words)
    with timed("a name that lacks a letter, grounded", len(misspelt)):
        grounded = [index.ground(name) for name in misspelt]
    with timed("the same by the published likeness", len(misspelt)):
        for name in misspelt:
            index.similar(name)
    print(f"grounded to one disease: {sum(each is not None for each in grounded)} of {len(misspelt)}")

    corpus = SimulatedPatients(
        kind="simulated_patients", diseases=[label.id for label in labels], patients_per_disease=1
    )
    drawn = chance.sample(range(len(labels)), 200)
    corpus.patient(drawn[0], args.seed)
    with timed("a simulated patient with a face", len(drawn)):
        patients = [corpus.patient(number, args.seed) for number in drawn]

    tokenizer = AutoTokenizer.from_pretrained(resolve_model("packaged:smollm2-135m-instruct"))
    answers = [task.answer([label.name for label in chance.sample(labels, NAMES)]) for _ in range(200)]
    prompts = [task.prompt(task.downstream_view(patient))[0].content for patient in patients]
    for what, texts in (("an answer of ten names", answers), ("a simulated patient's prompt", prompts)):
        print(f"{what}: {statistics.mean(len(tokenizer(text).input_ids) for text in texts):.0f} tokens in the mean")

    ids, scores = [label.id for label in labels], list(np.random.default_rng(1).normal(size=len(labels)))
    rankings = [
        Ranking(case_id=str(i), group_id="g", label_ids=ids, scores=scores, scorer="s", scorer_digest="d")
        for i in range(20)
    ]
    for ranking in rankings:
        chance.shuffle(ids)
        ranking.label_ids = list(ids)
    pq.write_table(to_table(rankings, Ranking), out := io.BytesIO())
    print(f"a stored ranking of all diseases: {out.tell() / len(rankings) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
