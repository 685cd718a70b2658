"""What evaluation and its report read of a run, once, and seen to be whole: the one file of both that knows what a run is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mint_ray.corpora.store import case_table, run_labels, some_cases
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.results import Truth
from mint_ray.inference.store import answer_folder, answer_table, refusal_table
from mint_ray.rankings.ranking import label_lists
from mint_ray.rankings.store import ranking_table
from mint_ray.records import Answer, Case, from_table
from mint_ray.runs import read_json_lines
from mint_ray.storage import files_in

if TYPE_CHECKING:
    from mint_ray.config import Configuration, EvaluationSection
    from mint_ray.runs import Run
    from mint_ray.tasks.base import Label, Task

_IDENTITY = ["case_id", "group_id", "label_id"]
CASE_COLUMNS = ["case_id", "group_id", "label_id", "split", "source", "synthetic"]


@dataclass(frozen=True)
class Rules:
    """What answers are judged by.

    `depth` and `tail`, k and q: how many of the scorer's first and of its last labels an answer is held against.
    `split`: the cases that were asked about.
    """

    task: Task
    section: EvaluationSection
    depth: int
    tail: int
    split: str
    seed: int


def rules_of(config: Configuration) -> Rules:
    """The rules that a configuration states."""
    section, pairs = config.evaluation, config.preferences
    return Rules(
        task=config.task,
        section=section,
        depth=section.coverage_k or pairs.chosen,
        tail=section.avoidance_q or pairs.rejected,
        split=config.inference.split,
        seed=config.run.seed,
    )


@dataclass(frozen=True)
class Known:
    """What a run knows of its cases before any model is asked.

    `cases` has `CASE_COLUMNS` of all cases, `rankings` case_id, label_ids and scores of those that were asked about.
    `place` is the folder of the cases, for messages.
    """

    rules: Rules
    labels: list[Label]
    cases: pa.Table
    rankings: pa.Table
    place: Path

    @cached_property
    def asked(self) -> pa.Table:
        """The cases that were to be asked about, ordered by id."""
        return self.cases.filter(pc.field("split") == self.rules.split).sort_by("case_id")

    @cached_property
    def trained(self) -> Counter[str | None]:
        """How many training cases each label has."""
        return Counter(self.cases.filter(pc.field("split") == "train")["label_id"].to_pylist())

    @property
    def synthetic(self) -> float:
        """The share of all cases that were simulated."""
        simulated = self.cases["synthetic"].to_pylist()
        return sum(map(bool, simulated)) / len(simulated) if simulated else 0.0

    def truths(self, case_ids: Iterable[str]) -> list[Truth]:
        """What is known of these cases, ordered by id; an id that was not to be asked about is left out."""
        wanted = set(case_ids)
        ranked: dict[str, list[str]] = {}
        for batch in self.rankings.select(["case_id", "label_ids"]).to_batches():
            lists = (label_ids.tolist() for label_ids in label_lists(batch["label_ids"]))
            ranked.update(zip(map(str, batch["case_id"].to_pylist()), lists, strict=True))
        rows = self.asked.select(_IDENTITY).to_pylist()
        return [Truth(**row, ranking=ranked.get(row["case_id"])) for row in rows if row["case_id"] in wanted]


@dataclass(frozen=True)
class Inputs:
    """What a run's evaluation is made of: checked answers by model, how many cases each refused, and what is known."""

    known: Known
    answers: dict[str, list[Answer]]
    refused: dict[str, int]


@dataclass(frozen=True)
class Background:
    """What the report shows of a run beside its figures.

    `manifests` by stage, those of complete stages; `curve` the rows of curve.jsonl; `pair_plots` PNG files by name.

    `worked` are the cases to be shown in full, by id.
    """

    config: Configuration
    manifests: dict[str, dict[str, Any]]
    curve: list[dict[str, Any]]
    pair_plots: dict[str, bytes]
    worked: dict[str, Case]


def read_inputs(run: Run) -> Inputs:
    """Everything that a run's evaluation reads.

    Raises:
        EvaluationError: answers that are not those of this run's cases, one each; see `read_answers`.
    """
    known, models = read_known(run), run.config.inference.models
    return Inputs(
        known,
        {model: read_answers(run, model, known.asked) for model in models},
        {model: refusal_table(run, model).num_rows for model in models},
    )


def read_background(run: Run, truths: Sequence[Truth]) -> Background:
    """What the report shows of a run; the cases in full are drawn by the run's seed and not by how they turned out."""
    config = run.config
    wanted = min(config.evaluation.worked_cases, len(truths))
    drawn = sorted(np.random.default_rng(config.run.seed).choice(len(truths), wanted, replace=False))
    return Background(
        config=config,
        manifests=run.manifests,
        curve=read_json_lines(run.stage("alignment").path / "curve.jsonl"),
        pair_plots={
            path.stem: path.read_bytes() for path in files_in(run.stage("preferences").path / "plots", "*.png")
        },
        worked={case.case_id: case for case in some_cases(run, [truths[i].case_id for i in drawn])},
    )


def read_known(run: Run) -> Known:
    """The run's labels, cases and rankings.

    Raises:
        RunError: a stage that they come from is not complete.
    """
    rules = rules_of(run.config)
    return Known(
        rules=rules,
        labels=run_labels(run),
        cases=case_table(run, CASE_COLUMNS),
        rankings=ranking_table(run, [rules.split], ["case_id", "label_ids", "scores"]),
        place=run.stage("cases").path,
    )


def read_answers(run: Run, model: str, asked_cases: pa.Table) -> list[Answer]:
    """A model's answers, ordered by case, once they are seen to be those of the cases that were asked about, one each.

    Args:
        asked_cases: the columns case_id, group_id, label_id.

    Raises:
        EvaluationError: unknown cases, cases of another data set by the same ids, cases answered twice, cases neither
            answered nor refused.
    """
    table = answer_table(run, model)
    asked = {row["case_id"]: row for row in asked_cases.select(_IDENTITY).to_pylist()}
    answered = cast("list[str]", table["case_id"].to_pylist())
    where = f"{answer_folder(run, model)}, split {run.config.inference.split}"
    remedy = "run the stage `answers` again with --fresh"
    refuse(where, set(answered) - set(asked), "answered cases are not among this run's cases", remedy)
    said: list[dict[str, Any]] = table.select(_IDENTITY).to_pylist()
    strange = {row["case_id"] for row in said if asked[row["case_id"]] != row}
    refuse(where, strange, "answered cases have another group or truth than this run's", remedy)
    refuse(where, {i for i, n in Counter(answered).items() if n > 1}, "cases are answered twice", remedy)
    refused = set(refusal_table(run, model)["case_id"].to_pylist())
    refuse(where, set(asked) - set(answered) - refused, "cases have no answer", "run the stage `answers` to its end")
    return list(from_table(table, Answer))


def refuse(where: str, ids: Iterable[str], problem: str, remedy: str) -> None:
    """Raise an EvaluationError that counts the ids and names the first, if there are any."""
    if wrong := sorted(ids):
        raise EvaluationError(f"{where}: {len(wrong)} {problem}, the first {wrong[0]!r}; {remedy}")
