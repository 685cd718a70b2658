"""A run's answers, as evaluation and the report read them.

answers/
  <model>/part-*.parquet   `Answer`; a part is whole or not there
  refused/part-*.parquet   `Refusal`: cases that could not be asked, once for each model
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mint_ray.parquet import read_parts
from mint_ray.records import Answer, Refusal, arrow_schema
from mint_ray.runs import Run


def answer_folder(run: Run, model: str) -> Path:
    return run.stage("answers").path / model


def refusal_folder(run: Run, model: str) -> Path:
    return run.stage("answers").path / "refused" / model


def answer_table(run: Run, model: str) -> pa.Table:
    """What a model has answered so far, columns as in `Answer`, ordered by case."""
    return read_parts(answer_folder(run, model), arrow_schema(Answer)).sort_by("case_id")


def refusal_table(run: Run, model: str) -> pa.Table:
    """The cases that a model could not be asked about, columns as in `Refusal`, ordered by case."""
    return read_parts(refusal_folder(run, model), arrow_schema(Refusal)).sort_by("case_id")
