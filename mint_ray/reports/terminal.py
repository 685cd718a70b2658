"""The table that a run ends with in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.metrics import Figure
from mint_ray.evaluation.results import Result, Truth
from mint_ray.reports.tables import TITLES, shown
from mint_ray.tasks.base import Label

LOG_WIDTH = 112  # where there is no terminal
ROOM_FOR_REFERENCES = 102  # columns


def result_table(result: Result, width: int = LOG_WIDTH) -> Table:
    """Base against aligned with 95 % intervals; the scorer and the prior beside them where there is room."""
    table = figure_table(result.truths, result.labels, "(from–to): 95 % interval by bootstrap over groups")
    models = [name for name in result.intervals if name in result.graded]
    references = [name for name in result.intervals if name not in result.graded and width >= ROOM_FOR_REFERENCES]
    for name in models:
        table.add_column(TITLES[name], justify="right", style="bold" if name == "aligned" else None)
    if result.difference:
        table.add_column("Difference", justify="right")
    for name in references:
        table.add_column(TITLES[name].replace(" ", "\n"), justify="right", style="dim")
    for i, figure in enumerate(result.figures):
        cells = [_cell(result.intervals[name][i]) for name in models]
        if result.difference:
            cells.append(gap_text(result.difference[i]))
        cells += [_cell(result.intervals[name][i], ends=False) for name in references]
        last = i + 1 < len(result.figures) and result.figures[i + 1].family != figure.family
        table.add_row(_title(figure), *cells, end_section=last)
    return table


def print_table(result: Result) -> None:
    """Print the table; where there is no terminal, wide enough to be read in a log."""
    print_wide(lambda width: result_table(result, width), LOG_WIDTH)


def figure_table(truths: Sequence[Truth], labels: Sequence[Label], caption: str) -> Table:
    """A table of figures with its title, and a first column for what each row is."""
    groups = len({truth.group_id for truth in truths})
    table = plain_table(f"{len(truths)} cases in {groups} groups, {len(labels)} labels; all figures in %", caption)
    table.add_column("")
    return table


def plain_table(title: str, caption: str) -> Table:
    """A table without columns, in the form that all of them have."""
    return Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )


def print_wide(table: Callable[[int], Table], log_width: int) -> None:
    """Print the table that is made for a width in columns: the terminal's, or where there is none the log's."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=log_width)
    console.print(table(console.width))


def _title(figure: Figure) -> str:
    plain = figure.family == "published" or figure.key == "ungrounded_names"
    return figure.title if plain else f"{figure.title}, grounded"


def _cell(interval: Interval, ends: bool = True) -> str:
    text = shown(interval, digits=0)
    if text is None:
        return "–"
    return f"{text['value']} [dim]({text['low']}–{text['high']})[/dim]" if ends else f"{text['value']}"


def gap_text(interval: Interval) -> str:
    """A difference with its ends, a dash where there is none."""
    text = shown(interval, digits=0, signed=True)
    return f"{text['value']} [dim]({text['low']} to {text['high']})[/dim]" if text else "–"
