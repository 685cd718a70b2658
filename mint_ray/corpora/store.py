"""A run's prepared cases, as the later stages read them: `cases/*.parquet` and `cases/labels.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa

from mint_ray.parquet import arrow_filesystem, parquet_dataset
from mint_ray.records import LEARNED_FROM, Case, Split, arrow_schema, from_table
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


def held_out(run: Run) -> Any:
    """What published knowledge has to leave out: the task's word on the cases that no model may learn from.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    splits = [split for split in get_args(Split) if split not in LEARNED_FROM]
    columns = [name for name in Case.model_fields if name != "image"]
    return run.config.task.held_out(from_table(case_table(run, columns, splits), Case))


def some_cases(run: Run, case_ids: Sequence[str]) -> list[Case]:
    """These cases whole, images too, in their order; an id that no case has is left out.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    import pyarrow.compute as pc

    if not case_ids:
        return []
    stored = parquet_dataset(case_files(run), arrow_schema(Case))
    table = stored.to_table(filter=pc.field("case_id").isin(list(case_ids)))
    found = {case.case_id: case for case in from_table(table, Case)}
    return [found[case_id] for case_id in case_ids if case_id in found]


def run_labels(run: Run) -> list[Label]:
    """The run's label list: what a scorer scores, in its order.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    return load_labels(run.stage("cases").require() / LABELS)
