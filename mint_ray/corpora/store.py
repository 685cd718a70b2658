"""A run's prepared cases, as the later stages read them: `cases/*.parquet` and `cases/labels.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mint_ray.parquet import arrow_filesystem, parquet_dataset
from mint_ray.records import Case, arrow_schema
from mint_ray.runs import Run
from mint_ray.storage import arrow_path, files_in
from mint_ray.tasks.base import Label, load_labels

if TYPE_CHECKING:
    import ray.data

LABELS = "labels.json"


def case_files(run: Run) -> list[Path]:
    """The Parquet parts of the run's cases, in their order.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    return files_in(run.stage("cases").require(), "*.parquet")


def case_dataset(run: Run) -> ray.data.Dataset:
    """All cases as a stream, columns as in `Case`, a block a part; for what does not fit on the driver.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    import ray

    files = case_files(run)
    return ray.data.read_parquet(
        [arrow_path(file) for file in files],
        filesystem=arrow_filesystem(files[0]),
        schema=arrow_schema(Case),
        override_num_blocks=len(files),
    )


def case_table(run: Run, columns: list[str] | None = None, splits: list[str] | None = None) -> pa.Table:
    """Cases as an Arrow table on the caller, in the order of the parts.

    Args:
        columns: those wanted, in this order (all: None); leave `image` out wherever it is not needed.
        splits: keep these splits only, e.g. `["test"]`.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    import pyarrow.compute as pc

    cases = parquet_dataset(case_files(run), arrow_schema(Case))
    kept = None if splits is None else pc.field("split").isin(splits)
    return cases.to_table(columns=columns, filter=kept)


def run_labels(run: Run) -> list[Label]:
    """The run's label list: what a scorer scores, in its order.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    return load_labels(run.stage("cases").require() / LABELS)
