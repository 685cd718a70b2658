"""Where training starts: the model that the stage's adapter belongs to."""

from __future__ import annotations

from mint_ray.models import MODEL_CONFIG, merge_adapter, name_elsewhere, resolve_model
from mint_ray.runs import Run

START = "start"


def adapted_model(run: Run) -> str:
    """The name, for `resolve_model` on any node, of the model that the stage's adapter belongs to.

    It is `alignment.model`; where `alignment.start` names an adapter, that model with it merged in, once, in `start/`.

    Raises:
        ModelError: the model cannot be used, or the adapter to start from is none of its own.
    """
    section, merged = run.config.alignment, run.stage("alignment").path / START
    if section.start is None:
        return name_elsewhere(section.model)
    if not (merged / MODEL_CONFIG).exists():
        merge_adapter(resolve_model(section.model), section.start, merged)
    return str(merged)
