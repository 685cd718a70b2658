"""Take a finished scorer as it is: a scorer's folder, a Hugging Face folder, or a published state dict."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import ViltConfig, ViltForQuestionAnswering

from mint_ray.corpora.store import run_labels
from mint_ray.errors import ModelError
from mint_ray.models import resolve_model
from mint_ray.scorers.files import LABELS
from mint_ray.scorers.labels import label_positions, read_label_list
from mint_ray.scorers.vilt.inputs import ViltInputs
from mint_ray.scorers.vilt.model import labelled, load_inputs, load_vilt, read_config, save_scorer
from mint_ray.storage import local_copy
from mint_ray.tasks.base import Label, load_labels

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.vilt import Vilt


def adopt_scorer(section: Vilt, run: Run, folder: Path) -> dict:
    """Leave the scorer that the section names in `folder`, its head cut to the run's labels in their order.

    Raises:
        ModelError: it is no ViLT, cannot be read, or does not know every label of the run.
    """
    vilt, inputs, known = _opened(section)
    wanted = run_labels(run)
    origin = section.folder or section.state_dict
    save_scorer(take_labels(vilt, label_positions(wanted, known, str(origin)), wanted), inputs, wanted, section, folder)
    return {"origin": str(origin), "labels_known": len(known), "labels_used": len(wanted)}


def _opened(section: Vilt) -> tuple[ViltForQuestionAnswering, ViltInputs, list[Label]]:
    if section.state_dict:
        base = resolve_model(section.pretrained)
        labels = read_label_list(section.label_list)
        config = labelled(read_config(base), labels)
        return (
            load_state_dict(local_copy(section.state_dict), config),
            load_inputs(base, config, section.missing_text),
            labels,
        )
    folder = local_copy(section.folder)
    config = read_config(folder)
    inputs = load_inputs(folder, config, _missing_text(section))
    labels = _known_labels(section, config)
    if len(labels) != config.num_labels:
        raise ModelError(
            f"{section.folder}: its label list has {len(labels)} labels, the model's head {config.num_labels}"
        )
    return load_vilt(folder, config), inputs, labels


def _missing_text(section: Vilt) -> str:
    settings = section.folder / "scorer.json"
    return json.loads(settings.read_text()).get("missing_text", "") if settings.exists() else section.missing_text


def _known_labels(section: Vilt, config: ViltConfig) -> list[Label]:
    if section.label_list:
        return read_label_list(section.label_list)
    if (section.folder / LABELS).exists():
        return load_labels(section.folder / LABELS)
    return [Label(id=str(i), name=config.id2label[i]) for i in range(config.num_labels)]


def load_state_dict(path: Path, config: ViltConfig) -> ViltForQuestionAnswering:
    """A published torch state dict on its configuration, without running code from the file.

    The prefix `module.` of data-parallel training and the position buffers that older transformers saved are dropped.

    Raises:
        ModelError: the file is no state dict, holds code, or does not fit the configuration.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: holds more than tensors, which would run code; expected a plain state dict"
        ) from None
    except Exception as error:
        raise ModelError(f"{path}: cannot be read as a PyTorch state dict ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path}: holds a {type(state).__name__}; expected a state dict of names to tensors")
    state = {key.removeprefix("module."): value for key, value in state.items() if not key.endswith("position_ids")}
    head = state.get("classifier.3.weight")
    if head is not None and len(head) != config.num_labels:
        raise ModelError(f"{path}: scores {len(head)} labels, the label list has {config.num_labels}")
    vilt = ViltForQuestionAnswering(config)
    try:
        vilt.load_state_dict(state)
    except RuntimeError as error:
        problems = str(error).splitlines()[1:]
        raise ModelError(f"{path}: does not fit the model: {' '.join(problems)[:500].strip()}") from None
    return vilt


def take_labels(vilt: ViltForQuestionAnswering, positions: list[int], labels: list[Label]) -> ViltForQuestionAnswering:
    """The model with the rows of its last layer at `positions`, which score `labels`."""
    last = vilt.classifier[3]
    kept = torch.nn.Linear(last.in_features, len(labels))
    kept.load_state_dict({"weight": last.weight[positions], "bias": last.bias[positions]})
    vilt.classifier[3] = kept
    labelled(vilt.config, labels)
    return vilt
