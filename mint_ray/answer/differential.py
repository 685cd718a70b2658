"""What each case was answered: names in their order, the labels that they mean, and what the answer was made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from mint_ray.answer.answering import SCORER, AnsweringRun
from mint_ray.answer.candidates import Candidate, candidates, index_of
from mint_ray.corpora.store import case_files, run_labels
from mint_ray.inference.store import answer_table
from mint_ray.parquet import parquet_file
from mint_ray.rankings.store import ranking_table
from mint_ray.records import Case, Phenotype

NAMED = 10  # of a scorer's ranking


class Differential(BaseModel):
    """A case with its candidates, the best first. Findings are those that the one who answered was shown."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    case_id: str
    source: str
    by: str
    candidates: list[Candidate]
    findings: list[str]
    excluded: list[str]
    withheld: list[str]
    complete: bool = True
    text: str | None = None


def differentials(run: AnsweringRun) -> Iterator[tuple[Case, Differential]]:
    """Every case that was answered, in the order of the source, with what it was answered."""
    said = dict(_ranked(run) if run.by == SCORER else _named(run))
    for part in case_files(run):
        columns = [name for name in Case.model_fields if name != "image"]
        for row in parquet_file(part).read(columns=columns).to_pylist():
            if (found := said.get(row["case_id"])) is not None:
                case = Case.model_validate({k: v for k, v in row.items() if v is not None})
                yield case, _differential(run, case, *found)


def _named(run: AnsweringRun) -> Iterator[tuple[str, tuple[list[Candidate], bool, str | None]]]:
    task, index = run.config.task, index_of(run.config, run_labels(run))
    for row in answer_table(run, run.by).to_pylist():
        yield row["case_id"], (candidates(row["text"], task, index), row["finish_reason"] == "stop", row["text"])


def _ranked(run: AnsweringRun) -> Iterator[tuple[str, tuple[list[Candidate], bool, str | None]]]:
    names = {label.id: label.name for label in run_labels(run)}
    for row in ranking_table(run, columns=["case_id", "label_ids", "scores"]).to_pylist():
        best = list(zip(row["label_ids"], row["scores"], strict=True))[:NAMED]
        found = [Candidate(rank=n, name=names[i], id=i, score=score) for n, (i, score) in enumerate(best, 1)]
        yield row["case_id"], (found, True, None)


def _differential(
    run: AnsweringRun, case: Case, found: list[Candidate], complete: bool, text: str | None
) -> Differential:
    view = run.config.task.downstream_view(case)
    withheld = [] if run.by == SCORER else list(view.withheld)
    shown = [p for p in case.phenotypes if p.id not in withheld]
    values: dict[str, Any] = {"findings": _names(shown, False), "excluded": _names(shown, True), "withheld": withheld}
    return Differential(
        case_id=case.case_id, source=case.source, by=run.by, candidates=found, complete=complete, text=text, **values
    )


def _names(phenotypes: list[Phenotype], excluded: bool) -> list[str]:
    return [p.name for p in phenotypes if p.excluded == excluded]
