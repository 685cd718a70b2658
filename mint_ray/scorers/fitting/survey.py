"""What a split of a run's cases offers to a scorer, without holding any image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mint_ray.corpora.store import case_files, case_table, run_labels
from mint_ray.parquet import parquet_dataset
from mint_ray.records import Case, Split, arrow_schema
from mint_ray.runs import Run

HELD_OUT = ("validation", "test")


def fitting_split(run: Run) -> Split:
    """Where a scorer is fitted: its own share of the cases, or the training cases where it has none."""
    splits = case_table(run, ["split"])["split"]
    return "scorer" if pc.any(pc.equal(splits, pa.scalar("scorer"))).as_py() else "train"


@dataclass
class Survey:
    """The cases that can be used, the texts that a scorer reads of them with their groups, and the others by reason."""

    usable: int = 0
    texts: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.usable + self.refused.total()


def survey(run: Run, splits: tuple[str, ...]) -> Survey:
    """Look at every case of the splits; which of them have a label, and something to see.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    labels = {label.id for label in run_labels(run)}
    cases = parquet_dataset(case_files(run), arrow_schema(Case))
    columns: Any = {name: pc.field(name) for name in cases.schema.names if name != "image"}
    columns["has_image"] = pc.is_valid(pc.field("image"))
    found = Survey()
    for batch in cases.to_batches(columns=columns, filter=pc.field("split").isin(splits)):
        for row in batch.to_pylist():
            has_image = row.pop("has_image")
            view = run.config.task.scorer_view(Case.model_validate({**row, "image": b"" if has_image else None}))
            if row["label_id"] not in labels:
                found.refused["no-label"] += 1
            elif not view.text and view.image is None:
                found.refused["nothing-to-see"] += 1
            else:
                found.usable += 1
                found.texts.append(view.text or "")
                found.groups.append(row["group_id"])
    return found
