"""A run's rankings, as later stages read them.

rankings/
  part-00000.parquet       `Ranking`, every split; written last: a part is done when it exists
  refused/part-*.parquet   `Refusal`: cases that the scorer could not score
  labels.json              the labels that are ranked, in the scorer's order
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mint_ray.errors import RunError
from mint_ray.parquet import part_files, read_parts
from mint_ray.records import Ranking, Refusal, arrow_schema
from mint_ray.runs import Run

LABELS = "labels.json"


def ranking_table(run: Run, splits: Sequence[str] | None = None, columns: list[str] | None = None) -> pa.Table:
    """The scorer's rankings, columns as in `Ranking`, in the order of the cases.

    Args:
        splits: keep these splits only, e.g. `["test"]`.
        columns: those wanted, in this order (all: None).

    Raises:
        RunError: there are no rankings yet.
    """
    folder = run.stage("rankings").path
    if not part_files(folder):
        raise RunError(f"{folder} holds no rankings: run the stage `rankings` first")
    return read_parts(folder, arrow_schema(Ranking), splits, columns)


def refusal_table(run: Run) -> pa.Table:
    """The cases that could not be scored, columns as in `Refusal`, in the order of the cases."""
    return read_parts(run.stage("rankings").path / "refused", arrow_schema(Refusal))
