"""Answers and rankings in the form that PhEval reads (Bridges et al. 2025; the package pheval, 0.7), beside Exomiser's.

pheval/<model>/pheval_{disease,gene}_results/<case>-{disease,gene}_result.parquet

One file a case, one row a label: `rank` from 1, `score` (higher is better), the label, `true_positive`. A truth that is
not named has rank and score 0, which is how PhEval counts a miss. A case is named as its phenopacket's file would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mint_ray.evaluation.evaluate import REFERENCES, SCORER, Result
from mint_ray.preferences.store import ranking_table, write_part
from mint_ray.runs import Run

_RANKED = [("rank", pa.int64()), ("score", pa.float64())]
_TRUTH = [("true_positive", pa.bool_())]
SCHEMAS = {
    "disease": pa.schema([*_RANKED, ("disease_identifier", pa.string()), ("mondo_identifier", pa.string()), *_TRUTH]),
    "gene": pa.schema([*_RANKED, ("gene_symbol", pa.string()), ("gene_identifier", pa.string()), *_TRUTH]),
}


@dataclass(frozen=True)
class Ranked:
    """A label at its place from 1, with a score."""

    label_id: str
    rank: int
    score: float


def write_pheval(run: Run, result: Result, folder: Path) -> None:
    """What each model and the scorer say, one folder each; nothing for a task whose labels PhEval does not know."""
    entity = run.config.task.entity
    if entity is None:
        return
    names = {label.id: label.name for label in result.labels}
    for model, cases in said(run, result).items():
        for truth in result.truths:
            if truth.case_id in cases:
                table = result_table(entity, cases[truth.case_id], truth.label_id, names)
                write_part(table, folder / model / f"pheval_{entity}_results" / file_name(truth.case_id, entity))


def said(run: Run, result: Result) -> dict[str, dict[str, list[Ranked]]]:
    """By model and case, the labels in order: a model's answer, the scorer's whole ranking."""
    found = {
        model: {case_id: in_order(reply.label_ids) for case_id, reply in replies.items()}
        for model, replies in result.replies.items()
        if model not in REFERENCES
    }
    columns = ["case_id", "label_ids", "scores"]
    rankings = ranking_table(run, [run.config.inference.split], columns).to_pylist()
    found[SCORER] = {row["case_id"]: scored(row["label_ids"], row["scores"]) for row in rankings}
    return found


def scored(label_ids: Sequence[str], scores: Sequence[float]) -> list[Ranked]:
    """A ranking, best first, with the scores that it was made from."""
    pairs = enumerate(zip(label_ids, scores, strict=True), 1)
    return [Ranked(label_id, place, score) for place, (label_id, score) in pairs]


def in_order(label_ids: Sequence[str | None]) -> list[Ranked]:
    """An answer's labels, each at its first place; a name without a label keeps its place empty. Score: 1 / place."""
    first = {label_id: place for place, label_id in reversed(list(enumerate(label_ids, 1))) if label_id is not None}
    return [Ranked(label_id, place, 1 / place) for label_id, place in sorted(first.items(), key=lambda item: item[1])]


def result_table(entity: str, ranked: Iterable[Ranked], truth: str | None, names: dict[str, str]) -> pa.Table:
    """One case as PhEval reads it.

    A disease stands in `mondo_identifier` by its own id, which is what PhEval itself does where Mondo has no mapping.
    """
    rows = list(ranked)
    if truth is not None and truth not in {row.label_id for row in rows}:
        rows.append(Ranked(truth, 0, 0.0))
    ids = [row.label_id for row in rows]
    columns = {
        "rank": [row.rank for row in rows],
        "score": [row.score for row in rows],
        "disease_identifier": ids,
        "mondo_identifier": ids,
        "gene_symbol": [names.get(label_id, label_id) for label_id in ids],
        "gene_identifier": ids,
        "true_positive": [label_id == truth for label_id in ids],
    }
    schema = SCHEMAS[entity]
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def file_name(case_id: str, entity: str) -> str:
    """`<case>-<entity>_result.parquet`; whatever a file's name should not hold becomes `_`."""
    plain = re.sub(r"[^\w.-]", "_", case_id)
    return f"{plain}-{entity}_result.parquet"
