"""What a run ends with in the terminal: the three metrics that matter as a chart, and on demand the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.metrics import Figure, depths
from mint_ray.evaluation.results import PRIOR, SCORER, SWAPPED, Truth
from mint_ray.reports.tables import TITLES, shown
from mint_ray.tasks.base import Label

LOG_WIDTH = 112  # where there is no terminal
ROOM_FOR_REFERENCES = 102  # columns
CHARTED = {"base": "Base", "aligned": "Aligned", PRIOR: "Common", SWAPPED: "Swapped", SCORER: "Scorer"}
MODELS = ("base", "aligned")


def chart(summary: dict[str, Any], size: int, width: int, plain: bool = False) -> Text:
    """Three metrics with their 95 % intervals on a scale from 0 to 100 %, and what they mean in one sentence.

    Args:
        summary: what metrics.json holds.
        size: names in an answer.
        plain: draw with ASCII alone.
    """
    named, numbers = max(map(len, CHARTED.values())), len("100.0 (100–100) %")
    scale = max(8, min(50, width - named - numbers - 6))
    lines = Text(f"{summary['cases']} {summary['split']} cases, {summary['labels']} labels\n")
    for key, title in charted(size).items():
        lines.append(f"\n{title}\n", "bold")
        for name in CHARTED if "top" in key else MODELS:
            found = interval(summary, name, key)
            if found and (text := shown(found, digits=0)):
                ends = f" ({text['low']}–{text['high']})" if text["low"] else ""
                lines.append(f"  {CHARTED[name]:{named}}  ")
                lines.append_text(_whisker(found, scale, plain))
                lines.append(f"  {text['value']}{ends} %\n", "bold" if name == "aligned" else "")
    lines.append("\nCommon: the labels most frequent in training, said of every case.", "dim")
    lines.append("\nSwapped: the aligned model's answers held against other cases.\n", "dim")
    lines.append(meaning(summary, size))
    return Text(lines.plain.replace("–", "-").replace("−", "-")) if plain else lines


def charted(size: int) -> dict[str, str]:
    """The metrics of the chart by key."""
    among = {f"grounded_top_{depths(size)[-1]}": f"The right name is among the {size}"} if size > 1 else {}
    first = "The first name is right" if size > 1 else "The name is right"
    return {"grounded_top_1": first, **among, "valid_names": "Names that are on the list of labels"}


def interval(summary: dict[str, Any], name: str, key: str) -> Interval | None:
    """A metric of a model, a reference or a difference; None where there is none."""
    found = (summary["models"].get(name) or summary.get(name) or {}).get(key)
    return Interval(**found) if found and found["value"] is not None else None


def _whisker(found: Interval, scale: int, plain: bool) -> Text:
    """`    ├──●──┤   `: the interval with the value in it."""
    ends, line, value, ground = ("|", "-", "o", ".") if plain else ("│", "─", "●", "·")

    def column(share: float) -> int:
        return min(scale - 1, max(0, round(share * (scale - 1))))

    marks = [ground] * scale
    if found.low is not None and found.high is not None:
        low, high = column(found.low), column(found.high)
        marks[low : high + 1] = [line] * (high + 1 - low)
        marks[low] = marks[high] = ends
    at = column(found.value or 0.0)
    marks[at] = value
    styles = {ground: "dim", value: "bold green"}
    return Text.assemble(*(("".join(same), styles.get(mark, "")) for mark, same in groupby(marks)))


def meaning(summary: dict[str, Any], size: int) -> str:
    """What the chart says, in one sentence: whether the right name is found more often than before, and than by chance."""
    key = f"grounded_top_{depths(size)[-1]}"
    gain, over_prior = interval(summary, "aligned_minus_base", key), interval(summary, "aligned_minus_prior", key)
    if gain is None or gain.low is None or gain.high is None:
        return "One model was asked, so there is nothing to compare it with."
    told = shown(gain, digits=0, signed=True) or {}
    change = f"{told['value']} points, 95 % interval {told['low']} to {told['high']}"
    if gain.low > 0:
        said = f"After alignment the model names the right label more often than before ({change})"
    elif gain.high < 0:
        return f"After alignment the model names the right label less often than before ({change})."
    else:
        return f"Whether the model names the right label more often than before cannot be told from these cases ({change})."
    if over_prior is None or over_prior.low is None:
        return f"{said}."
    more = over_prior.low > 0
    return f"{said}, {'and more often than' if more else 'but not clearly more often than'} the most frequent labels would be."


def result_table(summary: dict[str, Any], figures: Sequence[Figure], width: int = LOG_WIDTH) -> Table:
    """Base against aligned with 95 % intervals; the scorer and the prior beside them where there is room.

    Args:
        summary: what metrics.json holds.
    """
    table = plain_table(
        f"{summary['cases']} cases in {summary['groups']} groups, {summary['labels']} labels; all figures in %",
        "(from–to): 95 % interval by bootstrap over groups",
    )
    table.add_column("")
    models = [name for name in summary["models"] if name in MODELS]
    references = [name for name in summary["models"] if name not in MODELS and width >= ROOM_FOR_REFERENCES]
    for name in models:
        table.add_column(TITLES[name], justify="right", style="bold" if name == "aligned" else None)
    if summary["aligned_minus_base"]:
        table.add_column("Difference", justify="right")
    for name in references:
        table.add_column(TITLES[name].replace(" ", "\n"), justify="right", style="dim")
    for i, figure in enumerate(figures):
        cells = [_cell(interval(summary, name, figure.key)) for name in models]
        if summary["aligned_minus_base"]:
            cells.append(gap_text(interval(summary, "aligned_minus_base", figure.key)))
        cells += [_cell(interval(summary, name, figure.key), ends=False) for name in references]
        last = i + 1 < len(figures) and figures[i + 1].family != figure.family
        table.add_row(_title(figure), *cells, end_section=last)
    return table


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


def _title(figure: Figure) -> str:
    plain = figure.family == "published" or figure.key == "ungrounded_names"
    return figure.title if plain else f"{figure.title}, grounded"


def _cell(found: Interval | None, ends: bool = True) -> str:
    text = found and shown(found, digits=0)
    if not text:
        return "–"
    return f"{text['value']} [dim]({text['low']}–{text['high']})[/dim]" if ends else f"{text['value']}"


def gap_text(found: Interval | None) -> str:
    """A difference with its ends, a dash where there is none."""
    text = found and shown(found, digits=0, signed=True)
    return f"{text['value']} [dim]({text['low']} to {text['high']})[/dim]" if text else "–"
