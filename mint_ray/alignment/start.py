"""Where training starts, and where it leaves its weights: an adapter over a model, or a model of its own."""

from __future__ import annotations

from pathlib import Path

from mint_ray.adapters import ADAPTER_CONFIG
from mint_ray.config import AlignmentSection
from mint_ray.models import MODEL_CONFIG, merge_adapter, name_elsewhere, resolve_model
from mint_ray.runs import Run

START = "start"


def trained_folder(stage: Path, section: AlignmentSection) -> Path:
    """Where a stage's folder has what training left: an adapter, or with `lora: null` a whole model."""
    return stage / ("adapter" if section.lora else "model")


def is_whole(folder: Path) -> bool:
    """Whether a folder holds an adapter or a model: the file that is written last is there."""
    return any((folder / last).exists() for last in (ADAPTER_CONFIG, MODEL_CONFIG))


def adapted_model(run: Run) -> str:
    """The name, for `resolve_model` on any node, of the model that the stage's adapter belongs to.

    It is `alignment.model`; where `alignment.start` names an adapter, that model with it merged in, once, in `start/`; where
    that is a model, the model itself.

    Raises:
        ModelError: the model cannot be used, or the adapter to start from is none of its own.
    """
    section, merged = run.config.alignment, run.stage("alignment").path / START
    if section.start is None:
        return name_elsewhere(section.model)
    if (section.start / MODEL_CONFIG).exists():
        return name_elsewhere(str(section.start))
    if not (merged / MODEL_CONFIG).exists():
        merge_adapter(resolve_model(section.model), section.start, merged)
    return str(merged)
