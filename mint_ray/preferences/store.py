"""A run's rankings and pairs, as later stages read them, and how a part of them is written.

preferences/
  rankings/part-00000.parquet             `Ranking`, every split; written last: a part is done when it exists
  pairs/{train,validation}/part-*.parquet  `PreferencePair`; no column `images` where the task shows none
  refused/part-*.parquet                   `Refusal`
  README.md, plots/                        the data set's card
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from mint_ray.errors import RunError
from mint_ray.records import PreferencePair, Ranking, Refusal, arrow_schema
from mint_ray.runs import Run
from mint_ray.storage import files_in, parquet_dataset, parquet_file, written

if TYPE_CHECKING:
    import datasets

PAIR_SPLITS = ("train", "validation")


def part_files(folder: Path) -> list[Path]:
    """The finished Parquet parts of a folder, in their order; none where there is no folder."""
    return files_in(folder, "part-*.parquet")


def write_part(table: pa.Table, path: Path) -> None:
    """Write a part: it is there as a whole or not at all, however the writer ends."""
    with written(path) as file:
        pq.write_table(table, file, compression="zstd")


def ranking_table(run: Run, splits: Sequence[str] | None = None, columns: list[str] | None = None) -> pa.Table:
    """The scorer's rankings, columns as in `Ranking`, in the order of the cases.

    Args:
        splits: keep these splits only, e.g. `["test"]`.
        columns: those wanted, in this order (all: None).

    Raises:
        RunError: there are no rankings yet.
    """
    folder = run.stage("preferences").path / "rankings"
    if not part_files(folder):
        raise RunError(f"{folder} holds no rankings: run the stage `preferences` first")
    return _table(folder, arrow_schema(Ranking), splits, columns)


def pair_dataset(run: Run, split: str) -> datasets.Dataset:
    """The pairs of a split in the order of the cases, columns as in `PreferencePair`, held in memory.

    A row's `images` are `{"bytes", "path"}`, not decoded; the column is missing where the task shows none.
    A split without pairs is a data set without rows.

    Raises:
        RunError: there are no pairs yet.
    """
    import datasets

    folder = run.stage("preferences").path / "pairs"
    found = [path for each in PAIR_SPLITS for path in part_files(folder / each)]
    if not found:
        raise RunError(f"{folder} holds no pairs: run the stage `preferences` first")
    # Without the metadata that marks images as images, `datasets` hands their bytes on undecoded.
    return datasets.Dataset(_table(folder / split, parquet_file(found[0]).schema_arrow.remove_metadata()))


def refusal_table(run: Run) -> pa.Table:
    """The cases that were refused, columns as in `Refusal`, in the order of the cases."""
    return _table(run.stage("preferences").path / "refused", arrow_schema(Refusal))


def pair_schema(images: bool) -> pa.Schema:
    """The Arrow schema of pairs; its metadata tells `datasets` that `images` are images.

    Args:
        images: whether the task shows images. TRL takes any data set with this column for a vision
            data set and refuses to train a text model on it, so text tasks leave it out.
    """
    import datasets

    schema = arrow_schema(PreferencePair)
    if not images:
        return schema.remove(schema.get_field_index("images"))
    features = datasets.Features.from_arrow_schema(schema)
    features["images"] = datasets.List(datasets.Image())
    return schema.with_metadata(features.arrow_schema.metadata)


def _table(folder: Path, schema: pa.Schema, splits=None, columns=None) -> pa.Table:
    files = part_files(folder)
    if not files:
        return schema.empty_table().select(columns or schema.names)
    kept = None if splits is None else pyarrow.dataset.field("split").isin(list(splits))
    return parquet_dataset(files, schema).to_table(columns=columns, filter=kept)
