"""What report and terminal show, as text: figures with their intervals, answers, digests."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from mint_ray.evaluation.intervals import Interval
from mint_ray.evaluation.results import LIKELIHOOD, PRIOR, SCORER, SWAPPED, Result

TITLES = {
    "base": "Base",
    "aligned": "Aligned",
    LIKELIHOOD.format("base"): "Base, candidates by likelihood",
    LIKELIHOOD.format("aligned"): "Aligned, candidates by likelihood",
    SCORER: "Scorer",
    PRIOR: "Most frequent",
    SWAPPED: "Aligned, swapped cases",
}


# Controls, marks that turn the direction of writing, halves of a character: a page or plot would do as they say.
_COMMANDS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def plain(text: str, longest: int | None = None) -> str:
    """A text as pages and plots show it: characters that are commands become `�`.

    Args:
        longest: characters of a name; whitespace becomes single spaces, what is beyond is cut.
    """
    text = _COMMANDS.sub("\ufffd", text)
    if longest is None:
        return text
    line = " ".join(text.split())
    return line if len(line) <= longest else line[:longest].rstrip() + " …"


def shown(interval: Interval, digits: int = 1, signed: bool = False) -> dict[str, str | None] | None:
    """A share as the tables show it, in %: value, and the ends of its interval; None where there is none."""
    if interval.value is None:
        return None
    return {
        "value": _percent(interval.value, "+.1f" if signed else ".1f"),
        "low": None if interval.low is None else _percent(interval.low, f".{digits}f"),
        "high": None if interval.high is None else _percent(interval.high, f".{digits}f"),
    }


def _percent(share: float, form: str) -> str:
    return format(100 * share, form).replace("-", "−")


def families(result: Result) -> list[dict[str, Any]]:
    """The rows of the two tables, published and grounded."""
    titles = {"published": "As published, by string similarity", "grounded": "After grounding names to labels"}
    tables = []
    for family, title in titles.items():
        rows = []
        for i, figure in enumerate(result.figures):
            if figure.family == family:
                cells = [shown(intervals[i]) for intervals in result.intervals.values()]
                gap = result.difference and shown(result.difference[i], signed=True)
                rows.append({"figure": figure, "cells": cells, "gap": gap, "trend": trend(result, i)})
        tables.append({"title": title, "rows": rows})
    return tables


def trend(result: Result, i: int) -> str:
    """Whether the aligned model's figure is clearly better (`up`), clearly worse (`down`), or neither."""
    gap = result.difference[i] if result.difference else None
    if gap is None or gap.value is None or gap.low <= 0 <= gap.high:
        return ""
    return "up" if (gap.low > 0) == (result.figures[i].better == "higher") else "down"


def tiles(result: Result, size: int) -> list[dict[str, str | None]]:
    """The four figures at the top of the page, from the base model to the aligned one."""
    keys = ("e1", "e2", "e3", f"grounded_top_{size}")
    last = "aligned" if "aligned" in result.graded else next(iter(result.graded))
    drawn = []
    for i, figure in enumerate(result.figures):
        if figure.key in keys and (after := shown(result.intervals[last][i])):
            before = shown(result.intervals["base"][i]) if result.difference else None
            name = f"{figure.title}: {figure.meaning}"
            drawn.append({"name": name, "before": before and before["value"], "after": after["value"]})
    return drawn


def headline(result: Result, size: int) -> dict[str, Any] | None:
    """What happened to the share of cases whose truth is named, in figures that the page words."""
    if result.difference is None:
        return None
    i = next(i for i, figure in enumerate(result.figures) if figure.key == f"grounded_top_{size}")
    base, aligned, gap = result.intervals["base"][i], result.intervals["aligned"][i], result.difference[i]
    if gap.value is None:
        return None
    verdict = "higher" if gap.low > 0 else "lower" if gap.high < 0 else "unclear"
    return {
        "verdict": verdict,
        "size": size,
        "base": shown(base),
        "aligned": shown(aligned),
        "gap": shown(gap, signed=True),
        "prior": shown(result.intervals[PRIOR][i]),
        "over_prior": shown(result.over_prior[i], signed=True),
        "above_prior": result.over_prior[i].low > 0,
    }


def endings(result: Result) -> list[dict[str, Any]]:
    """How the answers of each model ended, and how many different ones there are."""
    rows = []
    for model, answers in result.graded.items():
        reasons = Counter(answer.finish_reason for answer in answers)
        rows.append(
            {
                "model": TITLES[model],
                "answers": len(answers),
                "length": reasons["length"],
                "empty": reasons["empty"],
                "nameless": sum(not answer.names for answer in answers),
                "firsts": len({answer.names[0] for answer in answers if answer.names}),
                "lists": len({tuple(answer.names) for answer in answers}),
                "tokens": f"{np.mean([answer.completion_tokens for answer in answers]):.0f}" if answers else "0",
            }
        )
    return rows


def digests(result: Result) -> dict[str, str]:
    """The weights behind each model's answers."""
    found = {}
    for model, answers in result.graded.items():
        for answer in answers[:1]:
            found[f"{TITLES[model]}: model"] = answer.model_digest
            if answer.adapter_digest:
                found[f"{TITLES[model]}: adapter"] = answer.adapter_digest
    return found
