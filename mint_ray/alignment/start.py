"""Where training starts: the model that the stage's adapter belongs to."""

from __future__ import annotations

from pathlib import Path

from mint_ray.models import merge_adapter, resolve_model
from mint_ray.runs import Run

START = "start"


def adapted_model(run: Run) -> Path:
    """`alignment.model`; where `alignment.start` names an adapter, that model with it merged in, once, in `start/`.

    Raises:
        ModelError: the model cannot be used, or the adapter to start from is none of its own.
    """
    section, merged = run.config.alignment, run.stage("alignment").path / START
    model = resolve_model(section.model)
    if section.start is None:
        return model
    return merged if merged.exists() else merge_adapter(model, section.start, merged)
