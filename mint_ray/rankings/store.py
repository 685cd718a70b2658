"""A run's rankings, as later stages read them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mint_ray.errors import RunError
from mint_ray.parquet import part_files, read_parts
from mint_ray.records import Ranking, arrow_schema
from mint_ray.runs import Run


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
    return read_parts(folder, arrow_schema(Ranking), splits, columns)
