"""The stage `scorer`: fit or take over a scorer, then measure it on cases that it has not seen.

It is measured as it works, and blinded to one modality after the other: what the photograph adds to the text is
the knowledge that alignment will hand on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mint_ray.runs import Run, StageReport, write_atomically
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.survey import HELD_OUT, fitting_split, survey
from mint_ray.storage import remove
from mint_ray.tasks.base import Task, View

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TOPS = (1, 3, 10)
FIGURES = "figures.json"


def fit_scorer(run: Run) -> StageReport:
    """Leave a finished scorer in the stage's folder, and its figures on held-out cases in the report.

    Raises:
        ModelError: the scorer named by `scorer.folder` or the like cannot be used.
        CorpusError: there is no training case to fit on.
    """
    section, folder = run.config.scorer, run.stage("scorer").path
    figures = section.fit(run, folder)
    figures["held_out"] = held_out_figures(run, folder)
    write_atomically(folder / FIGURES, json.dumps(figures, indent=1))
    remove(folder / "training")
    fitted = survey(run, (fitting_split(run),))
    return StageReport(fitted.rows, fitted.usable, dict(fitted.refused), figures)


def held_out_figures(run: Run, folder: Path) -> dict:
    """Top-k accuracy on validation and test cases, whole and blinded, with their number and what chance gives."""
    from ray.data import ActorPoolStrategy

    from mint_ray.corpora.store import case_dataset, run_labels

    if not survey(run, HELD_OUT).usable:
        return {"cases": 0}
    ranks = case_dataset(run).map_batches(
        TruthRanks,
        fn_constructor_kwargs={"folder": folder, "task": run.config.task},
        batch_format="pyarrow",
        batch_size=128,
        compute=ActorPoolStrategy(size=1),
        num_gpus=1 if getattr(run.config.scorer, "use_gpu", False) else 0,
    )
    table = ranks.to_pandas()
    labels = len(run_labels(run))
    chance = {f"top{k}": round(min(1.0, k / labels), 4) for k in TOPS}
    views = {name: _tops(group["rank"].to_numpy()) for name, group in table.groupby("view")}
    return {"cases": int((table["view"] == "all").sum()), "chance": chance, **views}


def _tops(ranks: np.ndarray) -> dict[str, float]:
    return {"cases": len(ranks), **{f"top{k}": round(float((ranks <= k).mean()), 4) for k in TOPS}}


class TruthRanks:
    """Held-out cases to the rank of their true label (1: best), one row for each way of seeing the case."""

    def __init__(self, folder: Path, task: Task):
        import torch

        self.scorer = load_scorer(folder, "cuda" if torch.cuda.is_available() else "cpu")
        self.task = task
        self.positions = {label.id: i for i, label in enumerate(self.scorer.labels)}

    def __call__(self, cases: pa.Table) -> pa.Table:
        import pyarrow as pa

        from mint_ray.records import Case

        rows = [row for row in cases.to_pylist() if row["split"] in HELD_OUT and row["label_id"] in self.positions]
        seen = [(self.positions[r["label_id"]], self.task.scorer_view(Case.model_validate(r))) for r in rows]
        names, ranks = [], []
        for name, blind in WAYS.items():
            kept = [(truth, blind(view)) for truth, view in seen if blind(view)]
            if kept:
                scores = self.scorer.scores([view for _, view in kept])
                names += [name] * len(kept)
                ranks += truth_ranks(scores, [truth for truth, _ in kept]).tolist()
        return pa.table({"view": pa.array(names, pa.string()), "rank": pa.array(ranks, pa.int64())})


def _all(view: View) -> View | None:
    return view if view.text or view.image is not None else None


def _text_only(view: View) -> View | None:
    return View(text=view.text) if view.text else None


def _image_only(view: View) -> View | None:
    return View(image=view.image) if view.image is not None else None


WAYS = {"all": _all, "text_only": _text_only, "image_only": _image_only}


def truth_ranks(scores: np.ndarray, truths: list[int]) -> np.ndarray:
    """The rank of each row's true label, 1 for the best; a label of equal score counts as ahead of the truth."""
    import numpy as np

    own = scores[np.arange(len(truths)), truths]
    return (scores >= own[:, None]).sum(axis=1)
