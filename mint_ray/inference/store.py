"""A run's answers, as evaluation and the report read them.

answers/
  <model>/part-*.parquet   `Answer`; a part is whole or not there
  refused/part-*.parquet   `Refusal`: cases that could not be asked, once for each model
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mint_ray.preferences.store import part_files
from mint_ray.records import Answer, Record, Refusal, arrow_schema
from mint_ray.runs import Run
from mint_ray.storage import parquet_dataset


def answer_folder(run: Run, model: str) -> Path:
    return run.stage("answers").path / model


def refusal_folder(run: Run, model: str) -> Path:
    return run.stage("answers").path / "refused" / model


def answer_table(run: Run, model: str) -> pa.Table:
    """What a model has answered so far, columns as in `Answer`, ordered by case."""
    return _table(answer_folder(run, model), Answer).sort_by("case_id")


def refusal_table(run: Run, model: str) -> pa.Table:
    """The cases that a model could not be asked about, columns as in `Refusal`, ordered by case."""
    return _table(refusal_folder(run, model), Refusal).sort_by("case_id")


def _table(folder: Path, record: type[Record]) -> pa.Table:
    files = part_files(folder)
    if not files:
        return arrow_schema(record).empty_table()
    return parquet_dataset(files, arrow_schema(record)).to_table()
