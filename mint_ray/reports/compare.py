"""The arms side by side, as a page."""

from __future__ import annotations

from mint_ray.comparison.measure import measure_arms, summary
from mint_ray.comparison.outcomes import COMPARISON, graded_path, read_comparison
from mint_ray.comparison.run import run_arms
from mint_ray.evaluation.measure import values
from mint_ray.parquet import write_part
from mint_ray.records import GradedAnswer, to_table
from mint_ray.reports.comparison_page import print_comparison, write_comparison
from mint_ray.reports.pages import provenance
from mint_ray.runs import CONFIG, Run, StageReport, write_atomically, write_json
from mint_ray.storage import remove


def compare_arms(run: Run) -> StageReport:
    """Run every arm, or what is left of it, and hand all of them to the comparison.

    Raises:
        CorpusError: a group stands in two splits.
        ConfigError: a search has no validation case to be judged on.
    """
    return compare(run, run_arms(run))


def compare(run: Run, arms: dict[str, Run]) -> StageReport:
    """Grade the arms on the cases that all answered; leave comparison/ in the run's folder and print the table.

    Args:
        run: whose cases, rankings and settings of evaluation hold for all arms.
        arms: completed runs by the arm's name, each with the answers of one model.

    Raises:
        EvaluationError: the arms cannot be compared; see `read_comparison`. Too few groups for an interval.
    """
    given, read = read_comparison(run, arms)
    known, result = given.known, measure_arms(given, read)
    folder = run.dir / COMPARISON
    remove(folder / CONFIG)
    for arm in result.arms:
        write_part(to_table(arm.answers, GradedAnswer), graded_path(run, arm.name))
    write_json(folder / "comparison.json", summary(known.rules, result))
    background = provenance(run.config, known.synthetic, run.stage("cases").manifest)
    write_comparison(background, known.rules, result, folder / "report.html")
    write_atomically(folder / CONFIG, run.config.as_yaml())
    print_comparison(result)
    graded = sum(len(arm.answers) for arm in result.arms)
    return StageReport(
        graded, graded, {}, {name: values(result.figures, found) for name, found in result.intervals.items()}
    )
