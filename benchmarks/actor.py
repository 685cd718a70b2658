"""A scorer's actor against itself as it was: cases a second of both, in turn, in one process; their rankings must be equal.

    OMP_NUM_THREADS=1 python -m benchmarks.actor --folder /tmp/actor [--cases 1024] [--rounds 5]

The scorer is the small ViLT that the demo fits, with random weights; cases are its patients with their drawn faces, labels 528
(see benchmarks/pairs.py). As it was: a call of tokenizer and image processor for each case, each text read a second time to
count what was cut, a sort of label ids as texts and a checked record for each ranking, and nothing beside a forward.
Both read their cases and write their rankings. A part is done by one and then by the other, so that both meet the same load.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.pairs import a_run, all_labels, drawn_patients, scorer_of
from mint_ray.corpora.store import case_files
from mint_ray.errors import RowError
from mint_ray.parquet import write_part
from mint_ray.rankings.parts import Part, PartScorer, case_parts, score_views, scorer_view
from mint_ray.records import Case, Ranking, from_table, to_table
from mint_ray.scorers.vilt.scorer import ViltScorer
from mint_ray.tasks.base import View


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    labels = all_labels(options.folder)
    run = a_run(options.folder / "run", drawn_patients(options.folder), labels, options.cases)
    load, folder = partial(scorer_of, run, labels, "demo"), run.stage("rankings").path
    arguments = run.config.task, run.config.rankings
    now, was = PartScorer(load, *arguments, folder / "now"), AsItWas(lambda: Alone(load()), *arguments, folder / "was")
    parts = case_parts(case_files(run), run.config.rankings.part_rows)
    spent = [rate(parts, now, was) for _ in range(options.rounds + 1)][1:]  # the first warms up
    same = all(rows(folder / "now" / part.name) == rows(folder / "was" / part.name) for part in parts)
    for clock, of in (("CPU", 0), ("wall", 1)):
        both = [(options.cases / each[0][of], options.cases / each[1][of]) for each in spent]
        ratios = sorted(fast / slow for fast, slow in both)
        print(f"{clock}: {median(fast for fast, _ in both):.0f} cases/s, as it was {median(slow for _, slow in both):.0f}; "
              f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip
    print(f"rankings equal: {same}")


def rate(parts: list[Part], now: PartScorer, was: PartScorer) -> tuple[tuple[float, float], tuple[float, float]]:
    """CPU and wall seconds of both, a part in turn."""
    spent = np.zeros((2, 2))
    for part in parts:
        for row, actor in enumerate((now, was)):
            cpu, wall = time.process_time(), time.perf_counter()
            actor.score(part)
            spent[row] += time.process_time() - cpu, time.perf_counter() - wall
    return tuple(spent[0].tolist()), tuple(spent[1].tolist())


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


class Alone:
    """A ViLT that reads one view after the other, and remembers none."""

    def __init__(self, scorer: ViltScorer):
        self._scorer, self._inputs = scorer, scorer._inputs
        self.name, self.digest, self.labels, self.modalities = (
            scorer.name,
            scorer.digest,
            scorer.labels,
            ("image", "text"),
        )

    def scores(self, views: list[View]) -> np.ndarray:
        return self._scorer.score_prepared([self._forgetting(self._inputs.example, view) for view in views])

    def tokens_cut(self, view: View) -> int:
        return self._forgetting(self._inputs.tokens_cut, view)

    def _forgetting(self, read, view: View):
        self._inputs._known = {}
        return read(view)


class AsItWas(PartScorer):
    def score(self, part: Part) -> int:
        cases = list(from_table(self.rows.of(part), Case))
        views = [scorer_view(case, self.task, self.settings) for case in cases]
        rankings = []
        for case, view, scored in zip(
            cases, views, score_views(self.batches, views, self.settings.batch_size), strict=True
        ):
            if not isinstance(scored, RowError):
                rankings.append(self._ranking(case, view, scored))
        write_part(to_table(rankings, Ranking), self.folder / part.name)
        return len(rankings)

    def _ranking(self, case: Case, view: View, scores: np.ndarray) -> Ranking:
        order = np.lexsort((np.asarray(self.label_ids), -np.asarray(scores, dtype=np.float64))).tolist()
        return Ranking(
            case_id=case.case_id,
            group_id=case.group_id,
            split=case.split,
            label_id=case.label_id,
            label_ids=[self.label_ids[i] for i in order],
            scores=[float(scores[i]) for i in order],
            scorer=self.scorer.name,
            scorer_digest=self.scorer.digest,
            tokens_cut=self.tokens_cut(view),
        )


if __name__ == "__main__":
    main()
