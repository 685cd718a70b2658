"""A small honest line up to the preferences: a corpus on disk, and a scorer that weighs words by their hash."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mint_ray.config import Configuration, PreferencesSection, RankingsSection
from mint_ray.corpora.base import Corpus
from mint_ray.records import Case, arrow_schema
from mint_ray.runs import Run, StageReport
from mint_ray.scorers.base import ScorerSection
from mint_ray.storage import written
from mint_ray.tasks.base import Label, View, save_labels

LABELS = [Label(id=f"OMIM:{100 + i}", name=f"Syndrome {i}") for i in range(30)]
SPLITS = ("train", "train", "train", "validation", "test")


class ToyCorpus(Corpus):
    kind: str = "toy_corpus"

    def labels(self):
        return LABELS

    def outcomes(self, seed):
        raise NotImplementedError


class ToySection(ScorerSection):
    kind: str = "toy_scorer"

    def fit(self, run, folder):
        raise NotImplementedError

    def load(self, folder, device="cpu"):
        return WordScorer()


@cache
def weight(word: str, label: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{word} {label}".encode()).digest()[:4], "big") / 2**32


class WordScorer:
    """Log-softmax over labels of the summed weights of a text's words. It journals the texts that it scores.

    Args:
        pause: seconds a batch.
        dies_once: a file; where it is missing, the second batch makes it and ends the process.
    """

    name, digest, modalities = "words", "0123abcd", ("text",)

    def __init__(self, labels=LABELS, pause=0.0, journal: Path | None = None, dies_once: Path | None = None):
        self.labels, self.pause, self.journal, self.dies_once, self.batches = labels, pause, journal, dies_once, 0

    def scores(self, views: list[View]) -> np.ndarray:
        self.batches += 1
        if self.dies_once and self.batches == 2 and not self.dies_once.exists():
            self.dies_once.touch()
            os._exit(1)
        time.sleep(self.pause)
        for view in views:
            if "unreadable" in view.text:
                raise ValueError(f"cannot read the note of patient Jane Doe: {view.text}")
        if self.journal:
            with self.journal.open("a") as lines:
                lines.write("".join(f"{view.text}\n" for view in views))
        raw = np.array([[sum(weight(w, each.id) for w in v.text.split()) for each in self.labels] for v in views])
        return (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32)


def toy_cases(count: int, **changes: dict) -> list[Case]:
    """Cases `p000`, `p001` ...; `changes` maps a case id to fields that are set otherwise."""
    cases = []
    for i in range(count):
        fields = dict(
            case_id=f"p{i:03d}",
            group_id=f"g{i // 2:03d}",
            split=SPLITS[i % len(SPLITS)],
            label_id=LABELS[i % len(LABELS)].id,
            label_name=LABELS[i % len(LABELS)].name,
            text=f"p{i:03d} is patient {i}",
            image=b"not shown",
            synthetic=True,
            source=f"toy.jsonl:{i + 1}",
        )
        cases.append(Case(**fields | changes.get(fields["case_id"], {})))
    return cases


def toy_run(folder: Path, cases: list[Case], files: int = 3, task: str = "rare_disease", **changes) -> Run:
    """A run directory whose stages `cases` and `scorer` are complete."""
    settings = {"chosen": 3, "rejected": 10, "cut": 4, "part_rows": 8, "batch_size": 4, "cpus_per_actor": 0.5} | changes
    rankings, preferences = (
        {name: value for name, value in settings.items() if name in section.model_fields}
        for section in (RankingsSection, PreferencesSection)
    )
    config = Configuration(
        run={"dir": folder, "seed": 5},
        task={"kind": task, "answer_size": 3},
        corpus=ToyCorpus(),
        scorer=ToySection(),
        rankings=rankings,
        preferences=preferences,
        alignment={"model": "none"},
    )
    run = Run(config)

    def write_cases(run: Run) -> StageReport:
        save_labels(LABELS, run.stage("cases").path / "labels.json")
        for index, rows in enumerate(np.array_split(np.arange(len(cases)), files)):
            table = pa.Table.from_pylist([cases[i].model_dump() for i in rows], schema=arrow_schema(Case))
            with written(run.stage("cases").path / f"part-{index}.parquet") as file:
                pq.write_table(table, file, row_group_size=5)
        return StageReport(len(cases), len(cases))

    run.carry_out("cases", write_cases)
    run.carry_out("scorer", lambda run: StageReport())
    return run


def hard_cases() -> list[Case]:
    """Sixty cases, of which one cannot be scored; written as three files, so as nine parts of up to eight."""
    return toy_cases(60, p007={"text": "unreadable"})
