"""The report: one self-contained HTML page, without scripts or anything from outside.

The page is the user's own file, and yet it gets mailed: what a synthetic case looks like is shown, of a real patient
only the case id, the diagnosis and the labels that the models named. What a model wrote may repeat the patient's note, so
it is shown where `evaluation.show_words` says so.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray.corpora.images import open_image
from mint_ray.evaluation.by_label import by_label
from mint_ray.evaluation.inputs import Background, Known
from mint_ray.evaluation.measure import extent
from mint_ray.evaluation.metrics import rank_of
from mint_ray.evaluation.results import PRIOR, SWAPPED, Reply, Result, Truth
from mint_ray.records import Case
from mint_ray.reports import plots
from mint_ray.reports.pages import provenance, write_page
from mint_ray.reports.tables import TITLES, digests, endings, families, headline, plain, tiles

if TYPE_CHECKING:
    from mint_ray.evaluation.inputs import Rules
    from mint_ray.tasks.base import Task

THUMBNAIL = (160, 160)  # pixels
LONGEST_NAME = 100  # characters shown; a model that explains instead of naming fills the page otherwise
PAIR_PLOTS = {
    "scores": "Scores of chosen and rejected labels",
    "coverage": "How often each label is chosen and rejected",
    "lengths": "Lengths of the answers",
    "truth_rank": "Where the scorer ranks the truth",
}


def write_report(background: Background, known: Known, result: Result, path: Path) -> None:
    """Render the page beside, then rename it to `path`."""
    write_page(path, "report.html.j2", page(background, known, result))


def page(background: Background, known: Known, result: Result) -> dict[str, Any]:
    """Everything that the template shows, as plain data."""
    rules, manifests = known.rules, background.manifests
    size = rules.task.answer_size
    return {
        **provenance(background.config, known.synthetic, next(iter(manifests.values()), None)),
        "counts": extent(rules, result.truths, result.labels) | {"unlabelled": result.unlabelled},
        "headline": headline(result, size),
        "tiles": tiles(result, size),
        "difference": result.difference is not None,
        "names": {name: TITLES[name] for name in result.intervals},
        "families": families(result),
        "endings": endings(result),
        "ambiguous": result.ambiguous,
        "accuracy": plots.svg("accuracy by model", plots.accuracy(result, size)),
        "ranks": plots.svg("rank of the truth", plots.truth_rank(result, size)) if size > 1 else None,
        "scorer": scorer(manifests.get("scorer")),
        "curves": training_curves(background.curve),
        "pair_plots": pair_plots(background.pair_plots),
        "stages": [stage_row(name, manifest) for name, manifest in manifests.items()],
        "worked": worked_cases(rules, background.worked, result),
        "show_words": rules.section.show_words,
        "confusions": confusions(result),
        "bootstrap": rules.section.bootstrap,
        "similarity": rules.section.similarity,
        "digests": digests(result),
    }


def scorer(manifest: dict[str, Any] | None) -> dict[str, Any] | None:
    """The scorer on held-out cases, whole and blinded, where its stage measured it."""
    figures = (manifest or {}).get("figures", {}).get("held_out", {})
    if not figures.get("cases") or "chance" not in figures:
        return None
    return {"cases": figures["cases"], "plot": plots.svg("scorer with and without image", plots.held_out(figures))}


def training_curves(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Plots of alignment's curve: the loss with its parts, and what preference optimisation is to move."""
    drawn = []
    for title, wanted in {
        "Loss and its parts": ("loss", "nll", "odds_ratio_loss", "eval_loss"),
        "Log odds ratio, chosen to rejected": ("log_odds_ratio", "eval_log_odds_ratio"),
        "Share of pairs with the chosen answer likelier": ("accuracy", "eval_accuracy"),
    }.items():
        if names := [name for name in wanted if any(row.get(name) is not None for row in rows)]:
            drawn.append({"title": title, "plot": plots.svg(title, plots.curve(rows, names))})
    return drawn


def confusions(result: Result) -> list[dict[str, Any]]:
    """Each model label by label: its rows, and a plot of what it names first; nothing where labels are many."""
    names = {label.id: label.name for label in result.labels}
    return [
        {
            "title": TITLES[name],
            "rows": [row | {"name": plain(names[row["label_id"]], LONGEST_NAME)} for row in found["labels"]],
            "by_id": {row["label_id"]: row for row in found["labels"]},
            "plot": plots.svg(
                f"confusion of {name}", plots.confusion(found["confusion"], list(names.values())), (6.2, 5.4)
            ),
        }
        for name, found in (by_label(result) or {}).items()
    ]


def pair_plots(drawn: Mapping[str, bytes]) -> list[dict[str, str]]:
    """The plots that the pairs' stage drew, PNG files by name, embedded."""
    return [
        {"title": PAIR_PLOTS.get(name, name), "image": base64.b64encode(drawn[name]).decode()}
        for name in sorted(drawn, key=lambda name: (name not in PAIR_PLOTS, name))
    ]


def stage_row(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """A stage as the pipeline's table shows it."""
    return {
        "name": name,
        "rows": manifest["rows"],
        "seconds": f"{manifest['seconds']:,.0f}",
        "refused": manifest["refused"],
        "lost": [node["address"] for node in manifest.get("lost_nodes", [])],  # older runs do not say
        "fingerprint": manifest["fingerprint"],
    }


def worked_cases(rules: Rules, cases: Mapping[str, Case], result: Result) -> list[dict[str, Any]]:
    """Some cases in full, by id."""
    truths = [truth for truth in result.truths if truth.case_id in cases]
    return [worked_case(rules, result, truth, cases[truth.case_id]) for truth in truths]


def worked_case(rules: Rules, result: Result, truth: Truth, case: Case) -> dict[str, Any]:
    """A case with what each model and the scorer say of it."""
    names = {label.id: plain(label.name, LONGEST_NAME) for label in result.labels}
    words = case.synthetic or rules.section.show_words
    return {
        "case_id": truth.case_id,
        "truth": truth.label_id and names.get(truth.label_id, truth.label_id),
        "seen": seen(rules.task, case) if case.synthetic else None,
        "columns": [
            column(TITLES[name], replies[truth.case_id], truth.label_id, None if words else names)
            for name, replies in result.replies.items()
            if name not in (PRIOR, SWAPPED) and truth.case_id in replies
        ],
    }


def seen(task: Task, case: Case) -> dict[str, Any]:
    """What a synthetic case looks like: to the language model, and to the scorer alone."""
    view = task.downstream_view(case)
    return {
        "text": view.text,
        "image": thumbnail(case.image) if case.image else None,
        "withheld": [p.name for p in case.phenotypes if p.id in view.withheld and not p.excluded],
    }


def thumbnail(encoded: bytes) -> str:
    """A small JPEG of an image, as a data URI."""
    small = open_image(encoded)
    small.thumbnail(THUMBNAIL)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"


def column(title: str, reply: Reply, truth: str | None, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A reply's names, each marked: the truth, another label, or no label at all.

    Args:
        names: by label id, shown in place of what was written; a name that means no label is then None.
    """
    marks = ["none" if label is None else "truth" if label == truth else "label" for label in reply.label_ids]
    written = [plain(name, LONGEST_NAME) for name in reply.names]
    told = written if names is None else [label and names.get(label) for label in reply.label_ids]
    return {
        "title": title,
        "rank": rank_of(reply.label_ids, truth),
        "names": [{"name": name, "mark": mark} for name, mark in zip(told, marks, strict=True)],
    }
