"""The plots of a comparison: accuracy and gaps by arm, cost beside accuracy, learning curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mint_ray.comparison.measure import REFERENCE, Comparison
from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.results import SCORER
from mint_ray.reports.plots import COLOURS, finish, name_of, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Titles = Callable[[str], str]
_WIDE = (6.2, 3.6)
_LINES = [(colour, style) for style in ("-", "--", ":") for colour in ("aligned", "base", "scorer", "prior")]


def overview(result: Comparison, keys: list[str], title_of: Titles) -> list[dict[str, str]]:
    """Each judged figure by row, its gap to MINT by arm, and the last one against the cost of training."""
    drawn = []
    for key in keys:
        i, title = result.place(key), result.figures[result.place(key)].title
        rows = {title_of(name): intervals[i] for name, intervals in result.intervals.items()}
        drawn.append(
            plot(f"{title} after grounding, with 95 % intervals", ladder(rows, title_of(REFERENCE), "cases, %"))
        )
        if result.differences:
            gaps = {title_of(name): found.intervals[i] for name, found in result.differences.items()}
            drawn.append(plot(f"{title}: arm minus MINT, with 95 % intervals", ladder(gaps, None, "points")))
    if any(arm.cost["training_seconds"] for arm in result.arms):
        title = result.figures[result.place(keys[-1])].title
        drawn.append(plot(f"{title} and the time of training", cost(result, keys[-1], title_of)))
    return drawn


def ladder(rows: dict[str, Interval], own: str | None, unit: str) -> Callable[[Axes], None]:
    """Intervals one below the other; a row without ends as a point, one without a value not at all."""

    def paint(axes: Axes) -> None:
        for place, (name, interval) in enumerate(rows.items()):
            if interval.value is None:
                continue
            value, low, high = (100 * (interval.value if end is None else end) for end in _ends(interval))
            colour = COLOURS["aligned" if name == own else "base"]
            axes.errorbar([value], [place], xerr=[[value - low], [high - value]], fmt="o", ms=5, lw=2, color=colour)
        axes.set_yticks(range(len(rows)), [name_of(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if own is None:
            axes.axvline(0, color=COLOURS["ink"], lw=0.8)
        axes.set_xlabel(unit)
        axes.grid(axis="x", alpha=0.6)

    return paint


def cost(result: Comparison, key: str, title_of: Titles) -> Callable[[Axes], None]:
    """A figure over the minutes of training; the scorer as a line."""
    i = result.place(key)

    def paint(axes: Axes) -> None:
        for arm in result.arms:
            value, minutes = result.intervals[arm.name][i].value, (arm.cost["training_seconds"] or 0) / 60
            if value is not None:
                axes.plot([minutes], [100 * value], "o", ms=6, color=COLOURS[_colour(arm.name)])
                axes.annotate(
                    name_of(title_of(arm.name)), (minutes, 100 * value), (5, 4), textcoords="offset points", fontsize=8
                )
        if SCORER in result.intervals and (scorer := result.intervals[SCORER][i].value) is not None:
            axes.axhline(100 * scorer, ls=":", color=COLOURS["scorer"], label="scorer")
        axes.set(xlabel="minutes of training", ylabel="cases, %")
        finish(axes)

    return paint


def learning(result: Comparison, title_of: Titles) -> list[dict[str, str]]:
    """Training curves of all arms together, and accuracy over pairs where a search was run."""
    drawn = []
    for title, key in {
        "Loss": "loss",
        "Loss on validation pairs": "eval_loss",
        "Accuracy on pairs": "accuracy",
    }.items():
        lines = {
            title_of(a.name): [(r["step"], r[key]) for r in a.curve if r.get(key) is not None] for a in result.arms
        }
        if any(lines.values()):
            drawn.append(plot(f"{title}, over steps", curves(lines, "step")))
    found = {title_of(arm.name): searched(arm.search) for arm in result.arms}
    if any(found.values()):
        drawn.append(plot("Truths named among validation cases, at the best learning rate", curves(found, "epochs")))
    return drawn


def searched(points: list[dict[str, float]]) -> list[tuple[float, float]]:
    """Epochs, and the largest share of truths named at any learning rate, in %."""
    best: dict[float, float] = {}
    for point in points:
        best[point["epochs"]] = max(best.get(point["epochs"], 0.0), 100 * point["top"])
    return sorted(best.items())


def curves(lines: dict[str, list[tuple[float, float]]], unit: str) -> Callable[[Axes], None]:
    """One line an arm, none where there are no points."""

    def paint(axes: Axes) -> None:
        for (name, points), (colour, style) in zip(lines.items(), _LINES, strict=False):
            if points:
                mark = "o" if len(points) < 12 else None
                at, values = np.array(points, float).T
                axes.plot(at, values, style, marker=mark, ms=4, lw=1.8, color=COLOURS[colour], label=name_of(name))
        axes.set_xlabel(unit)
        finish(axes)

    return paint


def plot(title: str, paint: Callable[[Axes], None]) -> dict[str, str]:
    """A plot as the page takes it."""
    return {"title": title, "plot": svg(title, paint, _WIDE)}


def _ends(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _colour(name: str) -> str:
    return "aligned" if name == REFERENCE else "base"
