"""What the report shows of a run beside its metrics: what its stages tell, its curve, its plots, some cases in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mint_ray.corpora.store import some_cases
from mint_ray.line import LINE
from mint_ray.records import Case
from mint_ray.runs import Run, read_json_lines
from mint_ray.storage import files_in

if TYPE_CHECKING:
    from mint_ray.config import Configuration
    from mint_ray.evaluation.results import Truth


@dataclass(frozen=True)
class Background:
    """`manifests` by stage, those of complete stages; `curve` the rows of curve.jsonl; `pair_plots` PNG files by name.

    `worked` are the cases to be shown in full, by id.
    """

    config: Configuration
    manifests: dict[str, dict[str, Any]]
    curve: list[dict[str, Any]]
    pair_plots: dict[str, bytes]
    worked: dict[str, Case]


def read_background(run: Run, truths: Sequence[Truth]) -> Background:
    """What the report shows of a run; the cases in full are drawn by the run's seed and not by how they turned out."""
    config = run.config
    wanted = min(config.evaluation.worked_cases, len(truths))
    drawn = sorted(np.random.default_rng(config.run.seed).choice(len(truths), wanted, replace=False))
    return Background(
        config=config,
        manifests={name: manifest for name in LINE if (manifest := run.stage(name).manifest)},
        curve=read_json_lines(run.stage("alignment").path / "curve.jsonl"),
        pair_plots={
            path.stem: path.read_bytes() for path in files_in(run.stage("preferences").path / "plots", "*.png")
        },
        worked={case.case_id: case for case in some_cases(run, [truths[i].case_id for i in drawn])},
    )
