"""The report's plots as inline SVG that takes its colours from the page, so that they follow light and dark."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mint_ray.evaluation.metrics import depths, rank_of
from mint_ray.evaluation.results import Result
from mint_ray.reports.tables import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that matplotlib writes and the page's variables that take their place.
_VARIABLES = {
    "base": ("#0b0b01", "--base"),
    "aligned": ("#0b0b02", "--aligned"),
    "scorer": ("#0b0b03", "--scorer"),
    "prior": ("#0b0b04", "--prior"),
    "ink": ("#0b0b05", "--ink"),
    "faint": ("#0b0b06", "--faint"),
}
COLOURS = {name: colour for name, (colour, _) in _VARIABLES.items()}
TITLES = {"base": "base", "aligned": "aligned", "scorer": "scorer (sees everything)", "prior": "most frequent labels"}
LONGEST_NAME = 40  # characters; a longer name leaves no room for the plot
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["faint"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def svg(name: str, paint: Callable[[Axes], None], size: tuple[float, float] = (4.6, 3.1)) -> str:
    """A plot as an SVG element without addresses, scripts, fonts or fixed size."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Ids of one plot must not be those of another. The page has the fonts, so no character is missing.
    style: dict[Any, Any] = _STYLE | {"svg.hashsalt": name}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True)
    return _inlined(written.getvalue(), name)


def _inlined(text: str, name: str) -> str:
    """The element as the page takes it. Names stand between its tags, and nothing is changed there."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = {id for tag in _TAG.findall(text) for id in re.findall(r"#([\w-]+)[\")]", tag)}
    opening, rest = text.split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening)
    opening += f' role="img" aria-label="{html.escape(plain(name))}">'
    return _TAG.sub(lambda tag: _inlined_tag(tag[0], used), opening + rest)


_TAG = re.compile(r"<[^>]*>")


def _inlined_tag(tag: str, used: set[str]) -> str:
    tag = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag)
    # Ids that nothing refers to, `axes_1` and the like, come in every plot.
    tag = re.sub(r'\sid="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)
    for colour, variable in _VARIABLES.values():
        tag = tag.replace(colour, f"var({variable})")
    return tag


def name_of(text: str) -> str:
    """A name as a plot shows it: one short line. Legends leave out what starts with `_`, so a space goes before it."""
    name = plain(text, LONGEST_NAME)
    return f" {name}" if name.startswith("_") else name


def accuracy(result: Result, size: int) -> Callable[[Axes], None]:
    """Top-n accuracy of each model after grounding, with its interval; the scorer and the prior as marks."""
    keys = [f"grounded_top_{n}" for n in depths(size)]
    columns = [i for key in keys for i, figure in enumerate(result.figures) if figure.key == key]
    shown = [name for name in ("prior", "base", "aligned", "scorer") if name in result.intervals]

    def paint(axes: Axes) -> None:
        for place, name in enumerate(shown):
            intervals = [result.intervals[name][column] for column in columns]
            at = [i + 0.17 * (place - (len(shown) - 1) / 2) for i in range(len(columns))]
            values = np.array([[100 * (v or 0) for v in (x.value, x.low, x.high)] for x in intervals])
            spread = np.array([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]])
            axes.errorbar(at, values[:, 0], yerr=spread, fmt="o", ms=5, lw=2, color=COLOURS[name], label=TITLES[name])
        axes.set_xticks(range(len(columns)), [f"top-{n}" for n in depths(size)])
        axes.set(ylabel="cases, %", ylim=(-2, 102), xlim=(-0.5, len(columns) - 0.5))
        finish(axes)

    return paint


def truth_rank(result: Result, size: int) -> Callable[[Axes], None]:
    """Share of cases whose truth is named at that place or before."""
    truths = {truth.case_id: truth.label_id for truth in result.truths if truth.label_id}

    def paint(axes: Axes) -> None:
        places = np.arange(1, size + 1)
        for name in ("prior", "base", "aligned", "scorer"):
            replies = result.replies.get(name)
            if not replies or not truths:
                continue
            ranks = [rank_of(replies[c].label_ids, truth) or np.inf for c, truth in truths.items() if c in replies]
            share = [100 * np.mean(np.array(ranks) <= place) for place in places]
            axes.step(places, share, where="mid", lw=2, color=COLOURS[name], label=TITLES[name])
        axes.set(xlabel="place in the answer, or before", ylabel="cases, %", ylim=(-2, 102))
        axes.set_xticks(places)
        finish(axes)

    return paint


def curve(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Callable[[Axes], None]:
    """Columns of the training curve over steps."""

    def paint(axes: Axes) -> None:
        for name, colour in zip(names, ("aligned", "base", "scorer", "prior"), strict=False):
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            mark = "o" if len(points) < 12 else None  # a validation loss may be taken once
            style = {"lw": 1.8, "marker": mark, "ms": 4, "color": COLOURS[colour]}
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), **style)
        axes.set(xlabel="step")
        if all("accuracy" in name for name in names):
            axes.set_ylim(-0.02, 1.04)
        finish(axes)

    return paint


def held_out(figures: dict[str, Any]) -> Callable[[Axes], None]:
    """The scorer's top-k accuracy, whole and blinded to one modality, against chance."""
    ways = {
        "all": ("everything", "scorer"),
        "image_only": ("image only", "aligned"),
        "text_only": ("text only", "base"),
    }
    shown = {way: style for way, style in ways.items() if way in figures}

    def paint(axes: Axes) -> None:
        tops = [key for key in figures["chance"] if key.startswith("top")]
        width = 0.8 / max(1, len(shown))
        for place, (way, (title, colour)) in enumerate(shown.items()):
            at = [i + width * (place - (len(shown) - 1) / 2) for i in range(len(tops))]
            axes.bar(at, [100 * figures[way][t] for t in tops], width * 0.9, color=COLOURS[colour], label=title)
        for i, top in enumerate(tops):
            chance = 100 * figures["chance"][top]
            axes.plot([i - 0.45, i + 0.45], [chance] * 2, ":", color=COLOURS["ink"], label="chance" if not i else None)
        axes.set_xticks(range(len(tops)), [f"top-{top.removeprefix('top')}" for top in tops])
        axes.set(ylabel="cases, %", ylim=(0, 102))
        finish(axes)

    return paint


def finish(axes: Axes) -> None:
    """Grid and legend, the same in every plot."""
    axes.grid(axis="y", alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=9, handlelength=1.4, borderpad=0)


def confusion(counts: list[list[int]], names: list[str]) -> Callable[[Axes], None]:
    """What is named first (columns, the last one no label) where each label is the truth (rows), as shares of a row."""
    table, names = np.asarray(counts, float), [name_of(name) for name in names]
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)

    def paint(axes: Axes) -> None:
        rows, columns = np.nonzero(shares)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            colour = COLOURS["aligned" if row == column else "base"]
            square = {"s": 90 * 12 / len(names), "marker": "s", "linewidths": 0}
            axes.scatter([column], [row], color=colour, alpha=0.15 + 0.85 * shares[row, column], **square)
        axes.set_xticks(range(len(names) + 1), [*names, "no label"], rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlim(-0.6, len(names) + 0.6)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("named first")
        axes.set_ylabel("truth")

    return paint
