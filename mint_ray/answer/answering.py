"""A finished run answers another corpus, in a folder of its own: resumed where it was stopped, each case once."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from uuid import uuid4

from mint_ray import progress
from mint_ray.config import Configuration
from mint_ray.corpora.cohort import Cohort, duplicates
from mint_ray.corpora.prepare import OUTCOMES, clear, read_small_columns, reasons, write_outcomes, write_parts
from mint_ray.corpora.store import LABELS, case_files, run_labels
from mint_ray.errors import CorpusError, RunError, StorageError
from mint_ray.runs import Run, Stage, StageReport
from mint_ray.storage import remove
from mint_ray.tasks.base import save_labels

logger = logging.getLogger(__name__)

SCORER = "scorer"  # who answers, beside the names of models


class AnsweringRun(Run):
    """Cases and what is said of them in a folder of their own; scorer, adapter and labels are the finished run's.

    Raises:
        RunError: the folder is the finished run's own.
    """

    def __init__(self, config: Configuration, finished: Run, by: str):
        models = [] if by == SCORER else [by]
        inference = config.inference.model_copy(update={"models": models or config.inference.models})
        super().__init__(config.model_copy(update={"inference": inference}))
        if self.dir == finished.dir:
            raise RunError(f"{self.dir} is the finished run itself: answer into a folder of its own")
        self.finished, self.by = finished, by
        self._own = ("cases", "rankings") if by == SCORER else ("cases", "answers")

    def stage(self, name: str) -> Stage:
        return super().stage(name) if name in self._own else self.finished.stage(name)


def answer(run: AnsweringRun) -> None:
    """Read the new patients, and have each answered once.

    Raises:
        RunError: the run is not finished, or the folder is another's.
        CorpusError: the source holds no case.
        ModelError: a model, or the scorer, is not there any more.
    """
    run.finished.stage("scorer" if run.by == SCORER else "alignment").require()
    run_labels(run.finished)
    run.check_home()
    run.carry_out("cases", read_cases)
    if run.by == SCORER:
        run.carry_out("rankings", rank_cases)
    else:
        from mint_ray.inference.predict import predict

        run.carry_out("answers", predict)


def read_cases(run: Run) -> StageReport:
    """Every row of the source as a case to answer, or a refusal; groups, splits and labels are of no concern."""
    if not isinstance(run, AnsweringRun):
        raise TypeError("the cases of an answering run")
    folder = run.stage("cases").path
    clear(folder)
    outcomes = folder / OUTCOMES / uuid4().hex
    labels = run_labels(run.finished)
    try:
        parts = write_outcomes(run.config, outcomes)
        members, refused = read_small_columns(parts)
        faults = duplicates(members)
        cohort = Cohort(labels, {i: "test" for i in members if i not in faults}, faults)
        if not cohort.splits:
            raise CorpusError(f"no case is left to answer: {len(refused)} rows refused, {len(faults)} twice")
        counts = write_parts(parts, members, cohort, folder)
    finally:
        with suppress(OSError, StorageError):
            remove(folder / OUTCOMES)
    save_labels(labels, folder / LABELS)
    rows = len(members) + len(refused)
    return StageReport(
        rows, len(cohort.splits), reasons(refused, cohort), {"labels": len(labels), "with": dict(counts)}
    )


def rank_cases(run: Run) -> StageReport:
    """The scorer's ranking of every case."""
    from mint_ray.parquet import part_files
    from mint_ray.rankings.build import own_loader, score_parts
    from mint_ray.rankings.parts import case_parts
    from mint_ray.rankings.store import ranking_table, refusal_table

    settings, folder = run.config.rankings, run.stage("rankings").path
    every = case_parts(case_files(run), settings.part_rows)
    done = {path.name for path in part_files(folder)}
    if pending := [part for part in every if part.name not in done]:
        todo = [sum(part.stop - part.start for part in parts) for parts in (every, pending)]
        progress.begin("ranking", todo[0], "cases", todo[0] - todo[1], "loading the scorer")
        score_parts(pending, run, own_loader(run))
    told = dict(Counter(map(str, refusal_table(run)["reason"].to_pylist())))
    return StageReport(sum(p.stop - p.start for p in every), ranking_table(run).num_rows, told)
