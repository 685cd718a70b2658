"""Comparisons taken together, as a page and as the table in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from mint_ray import progress
from mint_ray.comparison.measure import REFERENCE, primary
from mint_ray.comparison.pooling import Pooled, extent
from mint_ray.reports.comparison_page import LOG_WIDTH, figure_tables, gap_cell, p_text, title_of
from mint_ray.reports.comparison_plots import ladder, plot
from mint_ray.reports.pages import write_page
from mint_ray.reports.plots import COLOURS
from mint_ray.reports.tables import shown
from mint_ray.reports.terminal import gap_text, plain_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_pooled(background: dict[str, Any], result: Pooled, path: Path) -> None:
    """Render the page beside, then rename it to `path`."""
    write_page(path, "pooling.html.j2", page(background, result))


def page(background: dict[str, Any], result: Pooled) -> dict[str, Any]:
    """Everything that the template shows, as plain data; `background` as `pages.provenance` has it."""
    places = judged(result)
    return {
        **background,
        "counts": extent(result),
        "left_out": left_out(result),
        "judged": [{"title": result.figures[i].title, "rows": gap_rows(result, i)} for i in places],
        "families": figure_tables(result.figures, result.intervals, {REFERENCE, *result.differences}),
        "plots": [each for i in places for each in plots(result, i)],
        "bootstrap": result.rules.section.bootstrap,
        "digests": {},
    }


def judged(result: Pooled) -> list[int]:
    """Where the primary figures stand."""
    return [i for i, figure in enumerate(result.figures) if figure.key in primary(result.rules)]


def left_out(result: Pooled) -> str:
    """The arms that not all seeds have, as a sentence; empty where all have all."""
    told = [f"{', '.join(map(title_of, arms))} (seed {seed})" for seed, arms in result.left_out.items()]
    return f"Left out, since not all seeds have them: {'; '.join(told)}." if told else ""


def gap_rows(result: Pooled, i: int) -> list[dict[str, Any]]:
    """A figure's differences to MINT: a row an arm."""
    return [
        {
            "name": title_of(name),
            "pooled": gap_cell(difference, i),
            "over_trainings": shown(result.over_trainings[name][i], signed=True),
            "seeds": [shown(found[name].intervals[i], signed=True) for found in result.by_seed.values()],
        }
        for name, difference in result.differences.items()
    ]


def plots(result: Pooled, i: int) -> list[dict[str, str]]:
    """A figure's differences by arm and seed, and its values."""
    title = result.figures[i].title
    rows = {title_of(name): intervals[i] for name, intervals in result.intervals.items()}
    return [
        plot(f"{title}: arm minus MINT, all seeds with 95 % interval, each seed as a ring", repeated(result, i)),
        plot(f"{title} after grounding, all seeds", ladder(rows, title_of(REFERENCE), "cases, %")),
    ]


def repeated(result: Pooled, i: int) -> Callable[[Axes], None]:
    """Pooled differences as a ladder, and below each its seeds."""
    rows = {title_of(name): difference.intervals[i] for name, difference in result.differences.items()}
    pooled = ladder(rows, None, "points")

    def paint(axes: Axes) -> None:
        pooled(axes)
        for place, name in enumerate(result.differences):
            seen = [100 * value for d in result.by_seed.values() if (value := d[name].intervals[i].value) is not None]
            axes.plot(seen, [place + 0.25] * len(seen), "o", mfc="none", ms=5, color=COLOURS["aligned"])

    return paint


def pooled_table(result: Pooled) -> Table:
    """A row for each arm and judged figure: its value, MINT's, and the difference, pooled, over trainings, by seed."""
    counts = extent(result)
    table = plain_table(
        f"{counts['cases']} cases in {counts['groups']} groups, seeds {', '.join(map(str, counts['seeds']))}; all in %",
        "Arm minus MINT. Pooled: 95 % interval over groups, for other cases of these trainings; p after Holm. "
        f"Over trainings: the seeds' mean, by Student's t. {left_out(result)}",
    )
    for head in ("", "Arm", "MINT", "Pooled", "p", "Over trainings", *(f"Seed {seed}" for seed in result.by_seed)):
        table.add_column(head, justify="right", style="bold" if head == "Pooled" else None)
    table.columns[0].justify = "left"
    for i in judged(result):
        names = list(result.differences)
        for name in names:
            row = [result.intervals[name][i], result.intervals[REFERENCE][i]]
            difference = result.differences[name]
            table.add_row(
                f"{result.figures[i].title}: {escape(title_of(name))}",
                *((shown(interval) or {"value": "–"})["value"] for interval in row),
                gap_text(difference.intervals[i]),
                p_text(difference.adjusted[i]),
                gap_text(result.over_trainings[name][i]),
                *(gap_text(found[name].intervals[i]) for found in result.by_seed.values()),
                end_section=name == names[-1],
            )
    return table


def print_pooled(result: Pooled) -> None:
    """Print the table; where there is no terminal, wide enough to be read in a log."""
    progress.result(lambda *_: pooled_table(result), LOG_WIDTH)
