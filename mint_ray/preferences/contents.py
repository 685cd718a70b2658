"""What is in a run's rankings and pairs, counted part by part: the figures behind the card and its plots."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mint_ray.parquet import part_files, read_table
from mint_ray.preferences.store import PAIR_SPLITS, read_pairs
from mint_ray.records import PreferencePair, arrow_schema
from mint_ray.runs import Run

SIDES = ("chosen", "rejected")


@dataclass
class Side:
    """One side of all pairs: its scores, how often it names each label, the words of its answers.

    Numbers of all pairs are kept as such, not as Python's objects, which take four times their room.
    """

    scores: array[float] = field(default_factory=partial(array, "d"))
    labels: Counter[str] = field(default_factory=Counter)
    words: array[int] = field(default_factory=partial(array, "i"))


@dataclass
class Contents:
    """`truth_ranks` holds, by split, the rank (1: best) of each known truth that the scorer ranks."""

    labels: int
    scorer: str
    scorer_digest: str
    chosen: Side = field(default_factory=Side)
    rejected: Side = field(default_factory=Side)
    pairs: dict[str, int] = field(default_factory=dict)
    margins: array[float] = field(default_factory=partial(array, "d"))
    truth_ranks: dict[str, array[int]] = field(default_factory=dict)


def read_contents(run: Run) -> Contents:
    """Count what the parts hold; texts are counted and dropped, images are not read."""
    folder = run.stage("preferences").path
    rankings = part_files(run.stage("rankings").path)
    contents = Contents(**_scorer(rankings))
    for path in rankings:
        _count_rankings(read_table(path, columns=["split", "label_id", "label_ids", "scores"]), contents)
    columns = ["case_id", "chosen", "rejected", *(f"{s}_{what}" for s in SIDES for what in ("label_ids", "scores"))]
    schema = pa.schema([arrow_schema(PreferencePair).field(name) for name in columns])
    for split in PAIR_SPLITS:
        contents.pairs[split] = 0
        for path in part_files(folder / "pairs" / split):
            table = read_pairs(path, schema)
            contents.pairs[split] += table.num_rows
            _count_pairs(table, contents)
    return contents


def truth_ranks(label_ids: pa.ListArray, scores: pa.ListArray, truths: pa.Array) -> dict[int, int]:
    """The rank of the truth, 1 the best, by row; rows whose truth is null or not ranked are left out.

    Labels of the truth's own score count as ahead of it, or their order, which is that of label ids, would make ranks.
    """
    flat, rows, values = label_ids.flatten(), pc.list_parent_indices(label_ids), scores.flatten().to_numpy()
    hits = np.flatnonzero(pc.equal(flat, truths.take(rows)).fill_null(False).to_numpy(zero_copy_only=False))
    ends = np.cumsum([0, *pc.list_value_length(label_ids).to_numpy(zero_copy_only=False)])
    at = rows.to_numpy()[hits].tolist()
    return {
        row: int((values[ends[row] : ends[row + 1]] >= values[hit]).sum()) for row, hit in zip(at, hits, strict=True)
    }


def figures(contents: Contents, k: int) -> dict[str, Any]:
    """What the manifest says of the pairs.

    Args:
        k: length of a chosen answer; a truth of this rank or better is found.
    """
    return {
        "scorer": contents.scorer,
        "scorer_digest": contents.scorer_digest,
        "labels": contents.labels,
        "pairs": contents.pairs,
        "labels_chosen": len(contents.chosen.labels),
        "labels_rejected": len(contents.rejected.labels),
        "margin_mean": float(np.mean(contents.margins)),
        "words_chosen_median": float(np.median(contents.chosen.words)),
        "words_rejected_median": float(np.median(contents.rejected.words)),
        "truth": {split: _truth(np.asarray(ranks), k) for split, ranks in contents.truth_ranks.items() if ranks},
    }


def _truth(ranks: np.ndarray, k: int) -> dict[str, float]:
    return {
        "cases": len(ranks),
        "top_1": float((ranks == 1).mean()),
        f"top_{k}": float((ranks <= k).mean()),
        "median_rank": float(np.median(ranks)),
    }


def _scorer(rankings) -> dict[str, Any]:
    for path in rankings:
        table = read_table(path, columns=["scorer", "scorer_digest", "label_ids"]).slice(0, 1)
        for row in table.to_pylist():
            return {"labels": len(row["label_ids"]), "scorer": row["scorer"], "scorer_digest": row["scorer_digest"]}
    return {"labels": 0, "scorer": "", "scorer_digest": ""}


def _count_rankings(table: pa.Table, contents: Contents) -> None:
    splits = table["split"].to_pylist()
    ranks = truth_ranks(*(table[name].combine_chunks() for name in ("label_ids", "scores", "label_id")))
    for row, position in ranks.items():
        contents.truth_ranks.setdefault(splits[row], array("i")).append(position)


def _count_pairs(table: pa.Table, contents: Contents) -> None:
    means = []
    for name in SIDES:
        side: Side = getattr(contents, name)
        scores = table[f"{name}_scores"].to_pylist()
        side.scores.extend(score for row in scores for score in row)
        side.labels.update(label for row in table[f"{name}_label_ids"].to_pylist() for label in row)
        side.words.extend(len(row[0]["content"].split()) for row in table[name].to_pylist())
        means.append(np.array([np.mean(row) for row in scores]))
    contents.margins.extend((means[0] - means[1]).tolist())
