"""The stage `evaluation`: answers, truths and rankings to figures, graded answers and the report page."""

from __future__ import annotations

import logging

from mint_ray.evaluation.inputs import read_background, read_inputs
from mint_ray.evaluation.measure import measure, summary, values
from mint_ray.parquet import write_part
from mint_ray.records import GradedAnswer, to_table
from mint_ray.reports.pheval import write_pheval
from mint_ray.reports.report import write_report
from mint_ray.runs import Run, StageReport, write_json

logger = logging.getLogger(__name__)


def evaluate(run: Run) -> StageReport:
    """Grade all answers, write evaluation/graded, pheval, metrics.json and report.html.

    Raises:
        EvaluationError: answers of another data set, cases without an answer, too few groups.
    """
    inputs = read_inputs(run)
    known, result = inputs.known, measure(inputs)
    folder = run.stage("evaluation").path
    for model, answers in result.graded.items():
        write_part(to_table(answers, GradedAnswer), folder / "graded" / model / "part-00000.parquet")
    write_json(folder / "metrics.json", summary(known.rules, result))
    write_pheval(known, result, folder / "pheval")
    write_report(read_background(run, result.truths), known, result, folder / "report.html")
    graded = sum(len(answers) for answers in result.graded.values())
    figures = {name: values(result.figures, found) for name, found in result.intervals.items()}
    if shared := result.ambiguous["names"]:
        logger.warning("%d names stand for several labels; in the answers: %s", shared, result.ambiguous["answered"])
    return StageReport(graded, graded, {}, figures | {"ambiguous_names": result.ambiguous})
