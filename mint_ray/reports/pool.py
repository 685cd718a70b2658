"""Comparisons of several seeds taken together, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mint_ray.comparison.pooling import Pooled, measure_pooled, summary
from mint_ray.comparison.repetitions import open_comparisons, read_repetition
from mint_ray.reports.pages import provenance
from mint_ray.reports.pooling_page import print_pooled, write_pooled
from mint_ray.runs import write_json


def pool(folders: Sequence[Path], to: Path) -> Pooled:
    """Take finished comparisons together; leave pooled.json and report.html in `to` and print the table.

    Args:
        folders: `run.dir` of each.

    Raises:
        RunError: a folder holds no finished comparison, or its stages were made anew since.
        EvaluationError: they are no repetitions of one comparison; see `open_comparisons`. They share no arm but MINT.
    """
    runs = open_comparisons(folders)
    repetitions = {seed: read_repetition(run) for seed, run in runs.items()}
    result = measure_pooled(repetitions)
    write_json(to / "pooled.json", summary(result))
    first, known = next(iter(runs.values())), next(iter(repetitions.values())).given.known
    background = provenance(first.config, known.synthetic, first.stage("cases").manifest)
    write_pooled(background, result, to / "report.html")
    print_pooled(result)
    return result
