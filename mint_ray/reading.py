"""What a run holds, read from Python: cases, rankings, pairs, answers, metrics; and a case ranked by a scorer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from mint_ray.records import Case, Split
    from mint_ray.runs import Run
    from mint_ray.scorers.base import Scorer
    from mint_ray.tasks.base import Label, Task


def read_cases(run: Run, split: Split | None = None, columns: list[str] | None = None) -> pa.Table:
    """A run's cases as an Arrow table, one row each, columns as in `Case`.

    Args:
        split: `scorer`, `train`, `validation` or `test`; all where it is left out.
        columns: those wanted; leave `image` out where it is not needed.

    Raises:
        RunError: the stage `cases` is not complete.
    """
    from mint_ray.corpora.store import case_table

    return case_table(run, columns, [split] if split else None)


def read_rankings(run: Run, split: Split | None = None, columns: list[str] | None = None) -> pa.Table:
    """The scorer's rankings as an Arrow table, one row a case: `label_ids` the best first, `scores` beside them.

    Raises:
        RunError: there are no rankings yet.
    """
    from mint_ray.rankings.store import ranking_table

    return ranking_table(run, [split] if split else None, columns)


def read_pairs(run: Run, split: Literal["train", "validation"] = "train") -> datasets.Dataset:
    """A run's preference pairs as TRL reads them: `prompt`, `chosen` and `rejected` as lists of messages, and where from.

    `.data.table` is the same as an Arrow table.

    Raises:
        RunError: there are no pairs yet.
    """
    from mint_ray.preferences.store import pair_dataset

    return pair_dataset(run, split)


def read_answers(run: Run, model: Literal["base", "aligned"] = "aligned") -> pa.Table:
    """What a model said, as an Arrow table, one row a case: `text`, `finish_reason`, tokens, digests of the model.

    Raises:
        RunError: the stage `answers` is not complete.
    """
    from mint_ray.inference.store import answer_table

    run.stage("answers").require()
    return answer_table(run, model)


def read_metrics(run: Run) -> dict[str, Any]:
    """What the run's evaluation found: `models` holds for each its metrics, each with `value`, `low` and `high` (95 %).

    Raises:
        RunError: the stage `evaluation` is not complete.
    """
    from mint_ray.storage import opened

    with opened(run.stage("evaluation").require() / "metrics.json") as file:
        return json.loads(file.read())


def to_dataset(table: pa.Table) -> datasets.Dataset:
    """An Arrow table as a Hugging Face data set, without a copy."""
    import datasets

    source: Any = table  # its types leave Arrow's own tables out
    return datasets.Dataset(source)


def rank_case(case: Case, scorer: Scorer, task: Task) -> list[tuple[Label, float]]:
    """All labels with their log-probabilities, the best first, for what the task lets the scorer see of a case.

    Raises:
        ValueError: the case has neither text nor image for it.
    """
    scores = scorer.scores([task.scorer_view(case)])[0]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [(scorer.labels[i], float(scores[i])) for i in order]
