"""Comparisons of several seeds taken together, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mint_ray.comparison.pooling import Pooled, measure_pooled, open_comparisons, summary
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
    result = measure_pooled(open_comparisons(folders))
    write_json(to / "pooled.json", summary(result))
    write_pooled(result, to / "report.html")
    print_pooled(result)
    return result
