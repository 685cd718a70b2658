"""Whether a run's rankings say anything: scores must tell labels apart, and cases, or pairs are made of label ids.

Read back from the parts, so that it holds for whatever scored them and however often the stage was begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from mint_ray.corpora.store import case_files
from mint_ray.errors import ModelError
from mint_ray.parquet import parquet_dataset, part_files
from mint_ray.rankings.parts import scorer_view
from mint_ray.rankings.ranking import above
from mint_ray.records import Case, Ranking, arrow_schema, from_table
from mint_ray.runs import Run

NEARLY_ALL = 0.95  # of the cases; the rest may be those that the scorer can read
SAME = 1e-5  # relative: scores of one view differ by less, whatever batch it stands in


@dataclass
class Soundness:
    """Cases ranked; those whose labels all score alike; those with the scores of most others; those with text cut."""

    cases: int = 0
    alike: int = 0
    same: int = 0
    cut: int = 0
    tokens_cut: int = 0

    @property
    def figures(self) -> dict[str, Any]:
        """What the manifest says: only what there is to say."""
        alike = {"scores_alike": self.alike} if self.alike else {}
        return alike | ({"text_cut": {"cases": self.cut, "tokens": self.tokens_cut}} if self.cut else {})


def check_soundness(run: Run) -> Soundness:
    """Look at every ranking of a run.

    Raises:
        ModelError: nearly all of them say nothing.
    """
    found, folder = read_soundness(run), run.stage("rankings").path
    if found.alike and found.alike >= NEARLY_ALL * found.cases:
        raise ModelError(
            f"{folder}: the scorer gives all labels the same score for {found.alike} of {found.cases} cases, so pairs would "
            "be made of the order of label ids: see that it is fitted, that its tokenizer tells label names apart, and that "
            "the cases have what it reads (image, text); then start over with --fresh"
        )
    if found.same > 1 and found.same >= NEARLY_ALL * found.cases and _views_differ(run):
        raise ModelError(
            f"{folder}: the scorer gives {found.same} of {found.cases} cases the same scores, although it is shown different "
            "ones: pairs would say nothing of a case; see that it is fitted and reads what the cases have (image, "
            "text), then start over with --fresh"
        )
    return found


def read_soundness(run: Run) -> Soundness:
    """Count over the rankings, a part at a time."""
    found, usual = Soundness(), None
    for path in part_files(run.stage("rankings").path):
        stored = parquet_dataset([path], arrow_schema(Ranking))  # by schema: a part of an older version lacks a column
        table = stored.to_table(columns=["label_ids", "scores", "tokens_cut"])
        if not table.num_rows:
            continue
        scores = _by_label(table)
        usual = np.median(scores, axis=0) if usual is None else usual
        found.cases += len(scores)
        found.alike += sum(not above(*ends) for ends in zip(scores.max(axis=1), scores.min(axis=1), strict=True))
        if scores.shape[1] == len(usual):
            found.same += int(np.isclose(scores, usual, rtol=SAME, atol=0).all(axis=1).sum())
        cut = [tokens for tokens in table["tokens_cut"].to_pylist() if tokens]
        found.cut, found.tokens_cut = found.cut + len(cut), found.tokens_cut + sum(cut)
    return found


def _by_label(table: pa.Table) -> np.ndarray:
    """Scores, (cases, labels), in the order of label ids."""
    label_ids, scores = (
        cast(Any, table[name].combine_chunks()).flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
        for name in ("label_ids", "scores")
    )
    return np.take_along_axis(scores, np.argsort(label_ids.astype(str), axis=1), axis=1)


def _views_differ(run: Run) -> bool:
    """Whether the scorer is shown two different things at all."""
    first = None
    for batch in parquet_dataset(case_files(run), arrow_schema(Case)).to_batches(batch_size=64):
        for case in from_table(pa.Table.from_batches([batch]), Case):
            view = scorer_view(case, run.config.task, run.config.rankings)
            seen = view.text, view.image
            first = first or seen
            if seen != first:
                return True
    return False
