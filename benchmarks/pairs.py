"""New pairs from stored rankings, against a build that scores anew: cases a second of both, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.pairs --folder /tmp/pairs

Cases are simulated patients with a drawn face of the recipe `demo`, again and again under ids of their own; labels are
its 28 diseases and 500 others of the HPO annotations; pairs are those of the publication (10 of the best, 15 of the 50
lowest). The scorer is a ViLT over photograph and text, of the size that the section `scorer` has by default, and of that
which the demo fits, with random weights: how long a forward takes does not depend on them. Each scores `--scored` cases by the
function that each actor runs, without Ray, and their pairs are made; that is what a change of policy cost when pairs were made
as cases were scored. Then the pairs of all `--cases` are made from rankings that lie there. Reading, writing and images are
counted on both sides. CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from mint_ray import hpo
from mint_ray.config import Configuration, load_config
from mint_ray.corpora.store import case_files
from mint_ray.parquet import write_part
from mint_ray.preferences.build import make_pairs
from mint_ray.rankings.parts import PartScorer, case_parts
from mint_ray.rankings.store import LABELS
from mint_ray.records import Case, Ranking, arrow_schema
from mint_ray.runs import Run, StageReport
from mint_ray.scorers import load_scorer
from mint_ray.scorers.vilt import ViltSize
from mint_ray.scorers.vilt.fitting import starting_point
from mint_ray.scorers.vilt.model import save_scorer
from mint_ray.storage import remove
from mint_ray.tasks.base import Label, save_labels
from mint_ray.tasks.rare_disease import disease_label

LABEL_COUNT = 528
DISTINCT = 336  # patients that are drawn; the others are these under other ids
PATIENTS_A_FILE = 4096
POLICY = {"chosen": 10, "rejected": 50, "cut": 15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="scratch, about 1 GB for 100,000 cases")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--scored", type=int, default=512)
    options = parser.parse_args()
    labels, patients = all_labels(options.folder), drawn_patients(options.folder)
    warm_up(options.folder, patients, labels)
    stored = a_run(options.folder / "stored", patients, labels, options.cases)
    store_rankings(stored, labels)
    fast = measured(stored, make_pairs)
    print(f"from stored rankings: {fast:,.1f} cases/s, {options.cases:,} cases of {len(labels)} labels")
    for size in ("default", "demo"):
        fresh = a_run(options.folder / size, patients, labels, options.scored)
        anew = measured(fresh, partial(score, scorer=loaded(fresh, labels, size)))
        print(
            f"scored anew, ViLT of the {size} size: {anew:,.1f} cases/s, {options.scored:,} cases; {fast / anew:.1f} times"
        )


def demo(folder: Path) -> Configuration:
    """The recipe, with the published policy, for which its own labels are too few."""
    config = load_config("demo", [f"run.dir={folder}"])
    task = config.task.model_copy(update={"answer_size": POLICY["chosen"]})
    return config.model_copy(update={"task": task, "preferences": config.preferences.model_copy(update=POLICY)})


def all_labels(folder: Path) -> list[Label]:
    """The demo's diseases and as many others as make 528."""
    own = demo(folder).corpus.labels()
    others = [i for i in sorted(hpo.disease_names()) if i.startswith("OMIM:") and i not in {each.id for each in own}]
    return [*own, *(disease_label(i) for i in others[: LABEL_COUNT - len(own)])]


def drawn_patients(folder: Path) -> list[Case]:
    corpus = demo(folder).corpus
    return [corpus.patient(number, seed=7) for number in range(DISTINCT)]


def a_run(folder: Path, patients: list[Case], labels: list[Label], count: int) -> Run:
    """A run with so many cases, all for training."""
    remove(folder)
    run = Run(demo(folder))

    def cases(run: Run) -> StageReport:
        schema = arrow_schema(Case)
        rows = [case.model_dump() | {"split": "train"} for case in patients]
        for start in range(0, count, PATIENTS_A_FILE):
            some = range(start, min(count, start + PATIENTS_A_FILE))
            table = pa.Table.from_pylist(
                [{**rows[i % len(rows)], "case_id": f"p{i}", "group_id": f"p{i}"} for i in some], schema=schema
            )
            write_part(table, run.stage("cases").path / f"part-{start // PATIENTS_A_FILE:05d}.parquet")
        save_labels(labels, run.stage("cases").path / "labels.json")
        return StageReport(count, count)

    run.carry_out("cases", cases)
    return run


def warm_up(folder: Path, patients: list[Case], labels: list[Label]) -> None:
    """A few cases scored and paired, so that neither side is charged for what is loaded once a process: libraries, HPO."""
    run = a_run(folder / "warm", patients, labels, 64)
    score(run, loaded(run, labels, "demo"))


def loaded(run: Run, labels: list[Label], size: str) -> PartScorer:
    return PartScorer(
        partial(scorer_of, run, labels, size), run.config.task, run.config.rankings, run.stage("rankings").path
    )


def score(run: Run, scorer: PartScorer) -> None:
    """Score all cases with the run's scorer, part by part as an actor does, and make their pairs."""
    for part in case_parts(case_files(run), run.config.rankings.part_rows):
        scorer.score(part)
    make_pairs(run)


def scorer_of(run: Run, labels: list[Label], size: str):
    folder, section = run.dir / "made", run.config.scorer
    if size == "default":
        section = section.model_copy(update={"size": ViltSize()})
    if not folder.exists():
        folder.mkdir(parents=True)
        texts = [f"{name} Sex female Age 3 years" for name in hpo.disease_names().values()][:5000]
        save_scorer(*starting_point(section, texts, labels), labels, section, folder)
    return load_scorer(folder)


def store_rankings(run: Run, labels: list[Label]) -> None:
    """A ranking for every case, of log-probabilities by chance, as a scorer's are stored."""
    rng, ids = np.random.default_rng(0), np.array([label.id for label in labels])
    folder, schema = run.stage("rankings").path, arrow_schema(Ranking)
    folder.mkdir()
    save_labels(labels, folder / LABELS)
    for part in case_parts(case_files(run), run.config.rankings.part_rows):
        count = part.stop - part.start
        raw = rng.normal(0, 3, (count, len(ids)))
        logs = (raw - np.log(np.exp(raw).sum(1, keepdims=True))).astype(np.float32).astype(float)
        order = np.argsort(-logs, axis=1)
        first = int(Path(part.file).stem.split("-")[1]) * PATIENTS_A_FILE + part.start
        names, ends = [f"p{first + i}" for i in range(count)], np.arange(count + 1, dtype=np.int32) * len(ids)
        columns = {
            "case_id": names,
            "group_id": names,
            "split": ["train"] * count,
            "label_id": [str(ids[i % 28]) for i in range(count)],
            "label_ids": pa.ListArray.from_arrays(ends, pa.array(ids[order].ravel())),
            "scores": pa.ListArray.from_arrays(ends, np.take_along_axis(logs, order, 1).ravel()),
            "scorer": ["vilt"] * count,
            "scorer_digest": ["0" * 16] * count,
            "tokens_cut": [None] * count,
        }
        write_part(pa.table([columns[name] for name in schema.names], schema=schema), folder / part.name)


def measured(run: Run, work) -> float:
    """Cases a CPU second."""
    started = time.process_time()
    work(run)
    return run.stage("cases").told["rows"]["in"] / (time.process_time() - started)


if __name__ == "__main__":
    main()
