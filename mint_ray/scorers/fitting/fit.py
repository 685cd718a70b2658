"""The stage `scorer`: fit or take over a scorer, then measure it on cases that it has not seen.

It is measured as it works, and blinded to one modality after the other: what the image adds to the text is
the knowledge that alignment will hand on.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from mint_ray import progress
from mint_ray.errors import RowError
from mint_ray.records import Case
from mint_ray.runs import Run, StageReport, write_json
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.survey import HELD_OUT, fitting_split, survey
from mint_ray.scorers.scoring import batches_of
from mint_ray.storage import remove
from mint_ray.tasks.base import Task, View

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
    seen = survey(run, (fitting_split(run),))
    refused = figures.pop("refused", dict(seen.refused))  # fitting also knows of images that cannot be decoded
    figures["held_out"] = held_out_figures(run, folder)
    write_json(folder / FIGURES, figures)
    remove(folder / "training")
    return StageReport(seen.rows, seen.rows - sum(refused.values()), refused, figures)


def held_out_figures(run: Run, folder: Path) -> dict:
    """Top-k accuracy on validation and test cases, whole and blinded, with their number and what chance gives."""
    from ray.data import ActorPoolStrategy

    from mint_ray.corpora.store import case_dataset, run_labels

    if not (usable := survey(run, HELD_OUT).usable):
        return {"cases": 0}
    progress.begin("measuring", usable, "held-out cases", note="loading the scorer")
    ranks = case_dataset(run).map_batches(
        TruthRanks,
        fn_constructor_kwargs={"folder": folder, "task": run.config.task},
        batch_format="pyarrow",
        batch_size=128,
        compute=ActorPoolStrategy(size=1),
        num_gpus=1 if getattr(run.config.scorer, "use_gpu", False) else 0,
    )
    rows = [
        row
        for table in ranks.iter_batches(batch_format="pyarrow", batch_size=None)
        for row in cast("pa.Table", table).to_pylist()
    ]
    labels = len(run_labels(run))
    chance = {f"top{k}": round(min(1.0, k / labels), 4) for k in TOPS}
    views = {way: [row["rank"] for row in rows if row["view"] == way and not row["refused"]] for way in WAYS}
    refused = Counter(row["refused"] for row in rows if row["view"] == "all" and row["refused"])
    return {
        "cases": len(views["all"]),
        **({"refused": dict(refused)} if refused else {}),
        "chance": chance,
        **{way: _tops(np.array(found)) for way, found in sorted(views.items()) if found},
    }


def _tops(ranks: np.ndarray) -> dict[str, float]:
    return {"cases": len(ranks), **{f"top{k}": round(float((ranks <= k).mean()), 4) for k in TOPS}}


RANKS = pa.schema([("view", pa.string()), ("rank", pa.int64()), ("refused", pa.string())])


class TruthRanks:
    """Held-out cases to the rank of their true label (1: best), or why there is none, for each way of seeing the case."""

    def __init__(self, folder: Path, task: Task):
        import torch

        self.scorer = load_scorer(folder, "cuda" if torch.cuda.is_available() else "cpu")
        self.batches = batches_of(self.scorer)
        self.task = task
        self.positions = {label.id: i for i, label in enumerate(self.scorer.labels)}

    def __call__(self, cases: pa.Table) -> pa.Table:
        rows = [row for row in cases.to_pylist() if row["split"] in HELD_OUT and row["label_id"] in self.positions]
        seen = [(self.positions[r["label_id"]], self.task.scorer_view(Case.model_validate(r))) for r in rows]
        found = []
        for name, blind in WAYS.items():
            kept = [(truth, shown) for truth, view in seen if (shown := blind(view))]
            for (truth, _), scores in zip(kept, self.batches([view for _, view in kept]), strict=True):
                refused = isinstance(scores, RowError)
                known = {"refused": scores.reason} if refused else {"rank": int(truth_ranks(scores[None], [truth])[0])}
                found.append({"view": name, **known})
        progress.advance(len(seen))
        progress.flush()
        return pa.Table.from_pylist(found, schema=RANKS)


def _all(view: View) -> View | None:
    return view if view.text or view.image is not None else None


def _text_only(view: View) -> View | None:
    return view.model_copy(update={"image": None}) if view.text else None


def _image_only(view: View) -> View | None:
    return View(image=view.image) if view.image is not None else None


WAYS = {"all": _all, "text_only": _text_only, "image_only": _image_only}


def truth_ranks(scores: np.ndarray, truths: list[int]) -> np.ndarray:
    """The rank of each row's true label, 1 for the best; a label of equal score counts as ahead of the truth."""
    own = scores[np.arange(len(truths)), truths]
    return (scores >= own[:, None]).sum(axis=1)
