"""Four plots of what is in the pairs: scores, label coverage, answer lengths, rank of the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mint_ray.preferences.contents import Contents
from mint_ray.storage import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHOSEN, REJECTED = "#2a6f97", "#d1495b"
SPLIT_COLOURS = {"scorer": "#8d8d8d", "train": "#2a6f97", "validation": "#e9a23b", "test": "#5b8e55"}
STYLE: dict[Any, Any] = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def draw(contents: Contents, folder: Path) -> dict[str, str]:
    """Write the plots as PNG into a folder; file names with what each shows."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {}
    for painter in (scores, coverage, lengths, truth_rank):
        with rc_context(STYLE):
            figure = Figure()
            FigureCanvasAgg(figure)
            painter(contents, figure.subplots())
            with written(folder / f"{painter.__name__}.png") as file:
                figure.savefig(file, format="png")
        drawn[f"{painter.__name__}.png"] = painter.__doc__
    return drawn


def scores(contents: Contents, axes: Axes) -> None:
    """Scores of the labels that chosen and rejected answers name"""
    both = np.concatenate([contents.chosen.scores, contents.rejected.scores])
    bins = np.linspace(both.min(), both.max() + 1e-9, 41)
    for side, name, colour in _sides(contents):
        axes.hist(np.asarray(side.scores), bins=bins, color=colour, alpha=0.75, label=name)
    axes.set(title="Scores by side", xlabel="score (log-probability)", ylabel="labels named")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def coverage(contents: Contents, axes: Axes) -> None:
    """How often each label is chosen and rejected, the labels in the order of each side's own counts"""
    for side, name, colour in _sides(contents):
        counts = np.zeros(max(contents.labels, len(side.labels)), dtype=int)
        counts[: len(side.labels)] = sorted(side.labels.values(), reverse=True)
        label = f"{name}: {len(side.labels)} of {contents.labels} labels"
        axes.step(np.arange(1, len(counts) + 1), counts, where="mid", color=colour, label=label)
    axes.set(title="Label coverage", xlabel="label, most frequent first", ylabel="answers that name it")
    axes.set_xlim(0.5, contents.labels + 0.5)
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(0)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def lengths(contents: Contents, axes: Axes) -> None:
    """Lengths of chosen and rejected answers, in words"""
    both = np.concatenate([contents.chosen.words, contents.rejected.words])
    width = 1 + int(np.ptp(both)) // 40  # whole words, or bins would hold unequally many lengths
    bins = np.arange(both.min(), both.max() + width + 1, width) - 0.5
    for side, name, colour in _sides(contents):
        axes.hist(
            np.asarray(side.words),
            bins=bins,
            color=colour,
            alpha=0.75,
            label=f"{name}: median {np.median(side.words):.0f}",
        )
    axes.set(title="Answer lengths", xlabel="words", ylabel="answers")
    cast(Any, axes.xaxis.get_major_locator()).set_params(integer=True)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def truth_rank(contents: Contents, axes: Axes) -> None:
    """Share of cases whose true label the scorer ranks that well or better, by split"""
    at = np.arange(1, contents.labels + 1)
    for split, colour in SPLIT_COLOURS.items():
        if not (ranks := contents.truth_ranks.get(split)):
            continue
        share = np.searchsorted(np.sort(ranks), at, side="right") / len(ranks)
        axes.step(at, share, where="post", color=colour, label=f"{split}: {len(ranks)} cases")
    axes.step(at, at / contents.labels, ":", where="post", color="0.5", label="chance")
    axes.set(title="Rank of the truth", xlabel="rank or better", ylabel="share of cases", ylim=(0, 1.03))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _sides(contents: Contents):
    return [(contents.chosen, "chosen", CHOSEN), (contents.rejected, "rejected", REJECTED)]
