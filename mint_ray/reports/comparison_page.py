"""A comparison as a page and as the table in the terminal."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from mint_ray import progress
from mint_ray.comparison.measure import REFERENCE, Comparison, Difference, primary
from mint_ray.evaluation.inputs import Rules
from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.measure import extent
from mint_ray.evaluation.metrics import Figure
from mint_ray.evaluation.results import PRIOR, SCORER
from mint_ray.reports import comparison_plots
from mint_ray.reports.pages import write_page
from mint_ray.reports.tables import plain, shown
from mint_ray.reports.terminal import figure_table

TITLES = {
    "base": "Base",
    "rag": "RAG",
    "sft": "SFT",
    "dpo": "DPO",
    "sft_dpo": "SFT, then DPO",
    "mint": "MINT (ORPO)",
    "mint_rag": "MINT with RAG",
    "blinded": "ORPO, blinded scorer",
    "shuffled": "ORPO, shuffled scorer",
    "sft_truth": "SFT on the truth",
    "sft_best": "MINT, then SFT on its best",
    "mint_rounds": "MINT, then rounds",
    "mint_listwise": "MINT, listwise",
    "sft_all": "SFT, all weights",
    "mint_all": "MINT, all weights",
    "unlabelled": "MINT without labels",
    SCORER: "Scorer (sees everything)",
    PRIOR: "Most frequent labels",
}
FAMILIES = {"published": "As published, by string similarity", "grounded": "After grounding names to labels"}
LONGEST_TITLE = 40  # characters
LOG_WIDTH = 132  # where there is no terminal


def title_of(name: str) -> str:
    """An arm or reference as tables and plots call it."""
    return TITLES.get(name, plain(name[:1].upper() + name[1:], LONGEST_TITLE))


def write_comparison(background: dict[str, Any], rules: Rules, result: Comparison, path: Path) -> None:
    """Render the page beside, then rename it to `path`."""
    write_page(path, "comparison.html.j2", page(background, rules, result))


def page(background: dict[str, Any], rules: Rules, result: Comparison) -> dict[str, Any]:
    """Everything that the template shows, as plain data.

    Args:
        background: what every page says of the run behind it, see `pages.provenance`.
    """
    judged = [result.figures[result.place(key)] for key in dict.fromkeys(primary(rules))]
    return {
        **background,
        "counts": extent(rules, result.truths, result.labels),
        "judged": [figure.title for figure in judged],
        "gaps": gaps(result, [result.place(figure.key) for figure in judged]),
        "families": figure_tables(result.figures, result.intervals, {arm.name for arm in result.arms}),
        "strata": strata(result, [figure.key for figure in judged]),
        "cost": cost(result),
        "plots": comparison_plots.overview(result, [f.key for f in judged], title_of),
        "curves": comparison_plots.learning(result, title_of),
        "refused": {title_of(arm.name): arm.refused for arm in result.arms if arm.refused},
        "digests": digests(result),
        "bootstrap": rules.section.bootstrap,
    }


def gaps(result: Comparison, places: list[int]) -> list[dict[str, Any]]:
    """The differences to MINT that are judged: with interval, p value, and the same corrected."""
    return [
        {
            "name": title_of(name),
            "cells": [gap_cell(d, i) for i in places],
        }
        for name, d in result.differences.items()
    ]


def gap_cell(difference: Difference, i: int) -> dict[str, Any]:
    """One difference as the page shows it."""
    gap, adjusted = difference.intervals[i], difference.adjusted[i]
    return {
        "gap": shown(gap, signed=True),
        "p": p_text(difference.p_values[i]),
        "holm": p_text(adjusted),
        "trend": trend(gap, adjusted),
    }


def trend(gap: Interval, adjusted: float | None) -> str:
    """Whether an arm is better (`up`) or worse (`down`) than MINT after the correction, or neither."""
    if gap.value is None or adjusted is None or adjusted >= 0.05:
        return ""
    return "up" if gap.value > 0 else "down"


def figure_tables(
    figures: list[Figure], intervals: dict[str, list[Interval]], arms: Collection[str]
) -> list[dict[str, Any]]:
    """Two tables, published and grounded: a row for each arm and reference, a column a figure."""
    tables = []
    for family, title in FAMILIES.items():
        places = [i for i, figure in enumerate(figures) if figure.family == family]
        rows = [
            {"name": title_of(n), "own": n == REFERENCE, "arm": n in arms, "cells": [shown(x[i]) for i in places]}
            for n, x in intervals.items()
        ]
        tables.append({"title": title, "figures": [figures[i] for i in places], "rows": rows})
    return tables


def strata(result: Comparison, keys: list[str]) -> list[dict[str, Any]]:
    """The judged figures, stratum by stratum."""
    found = []
    for title, each in result.strata.items():
        for key in keys:
            i = result.place(key)
            rows = [
                {"name": title_of(name), "cells": [shown(rows[name][i]) for _, rows in each]}
                for name in result.intervals
            ]
            heads = [{"range": stratum.title, "cases": int(stratum.member.sum())} for stratum, _ in each]
            found.append({"title": f"{result.figures[i].title} by {title}", "heads": heads, "rows": rows})
    return found


def cost(result: Comparison) -> list[dict[str, Any]]:
    """What each arm cost, as text; a dash where nothing says."""
    return [
        {"name": title_of(arm.name)}
        | {key: "–" if value is None else f"{value:,.0f}" for key, value in arm.cost.items()}
        for arm in result.arms
    ]


def digests(result: Comparison) -> dict[str, str]:
    """The weights behind each arm."""
    found = {}
    for arm in result.arms:
        answer = arm.answers[0]
        found[title_of(arm.name)] = " + ".join(filter(None, [answer.model_digest, answer.adapter_digest]))
    return found


def comparison_table(result: Comparison) -> Table:
    """A row for each arm and reference; the last column is its gap to MINT in the truths named, with the corrected p."""
    keys = ["e1", "e2", "e3", "coverage", "avoidance", "car", *_tops(result), "grounded_mrr", "ungrounded_names"]
    last = result.place(_tops(result)[-1])
    table = figure_table(
        result.truths,
        result.labels,
        "Top-n and MRR after grounding. Difference to MINT: 95 % interval over groups, p after Holm",
    )
    for key in keys:
        table.add_column(result.figures[result.place(key)].title, justify="right")
    table.add_column(f"{result.figures[last].title} − MINT", justify="right")
    for name, intervals in result.intervals.items():
        cells = [(shown(intervals[result.place(key)]) or {"value": "–"})["value"] for key in keys]
        style = "bold" if name == REFERENCE else None if name in {arm.name for arm in result.arms} else "dim"
        table.add_row(escape(title_of(name)), *cells, _gap(result, name, last), style=style)
    return table


def print_comparison(result: Comparison) -> None:
    """Print the table; where there is no terminal, wide enough to be read in a log."""
    progress.result(lambda *_: comparison_table(result), LOG_WIDTH)


def _tops(result: Comparison) -> list[str]:
    return [figure.key for figure in result.figures if figure.key.startswith("grounded_top_")]


def _gap(result: Comparison, name: str, place: int) -> str:
    found = result.differences.get(name)
    if not (found and (text := shown(found.intervals[place], digits=0, signed=True))):
        return ""
    return f"{text['value']} ({text['low']} to {text['high']}), p {p_text(found.adjusted[place])}"


def p_text(value: float | None) -> str:
    """A p value, a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
