"""Adapters as PEFT saves them: what vLLM runs as such, what must be merged, and what can be neither."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

ADAPTER_CONFIG = "adapter_config.json"  # a folder that has it is whole
MOST_RANK = 512  # of an adapter that vLLM runs
_WEIGHTS = "adapter_model.safetensors"
# Settings of PEFT 0.21 beside which vLLM 0.29 computes what PEFT does. Any other that is set asks for something more.
_PLAIN = {
    *("r", "lora_alpha", "target_modules", "exclude_modules", "use_rslora", "lora_dropout", "fan_in_fan_out"),
    *("layers_to_transform", "layers_pattern", "bias", "init_lora_weights", "loftq_config", "eva_config"),
    *("corda_config", "lora_ga_config", "base_model_name_or_path", "revision", "task_type", "peft_type"),
    *("peft_version", "auto_mapping", "inference_mode", "megatron_core", "ensure_weight_tying", "qalora_group_size"),
}
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # others begin by changing the model's own weights
_PLAIN_TENSOR = re.compile(r"(?P<module>.*)\.lora_(?P<side>[AB])\.weight")
_OUTER_LAYERS = ("embed_tokens", "lm_head", "embed_out", "wte", "word_embeddings")
# What PEFT only warns of, and what would answer otherwise than it was trained to.
_PEFT_WARNINGS = r"Found missing adapter keys|.*tie_word_embeddings=True"


def adapter_settings(adapter: Path) -> dict[str, Any]:
    """An adapter's own configuration: `r`, `modules_to_save` ...

    Raises:
        ModelError: the folder is no adapter's.
    """
    try:
        settings = json.loads((adapter / ADAPTER_CONFIG).read_text())
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, dict):
        raise ModelError(f"{adapter}: is no adapter (no {ADAPTER_CONFIG} that can be read)")
    return settings


def beyond_vllm(adapter: Path) -> str | None:
    """What an adapter has that vLLM refuses, or computes otherwise than PEFT; None where it runs the adapter as it is.

    vLLM (`vllm/lora/peft_helper.py`) scales all modules alike and refuses DoRA, biases, modules trained whole and
    layers that it does not know.
    """
    settings = adapter_settings(adapter)
    if settings.get("peft_type", "LORA") != "LORA":
        return f"peft_type {settings['peft_type']}"
    if settings.get("bias", "none") != "none":
        return f"bias {settings['bias']}"
    if settings.get("init_lora_weights", True) not in _PLAIN_STARTS:
        return f"init_lora_weights {settings['init_lora_weights']}"
    if more := sorted(key for key, value in settings.items() if value and key not in _PLAIN):
        return ", ".join(more)
    rank = settings.get("r", 0)
    return f"rank {rank}" if rank > MOST_RANK else _odd_tensor(adapter, rank)


def _odd_tensor(adapter: Path, rank: int) -> str | None:
    """The first of an adapter's weights that is no plain pair of matrices of this rank on an inner layer."""
    from safetensors import safe_open

    if not (adapter / _WEIGHTS).is_file():
        return f"no {_WEIGHTS}"
    with safe_open(adapter / _WEIGHTS, "pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            plain = _PLAIN_TENSOR.fullmatch(name)
            if not plain or plain["module"].rpartition(".")[2] in _OUTER_LAYERS:
                return name
            if weights.get_slice(name).get_shape()[0 if plain["side"] == "A" else 1] != rank:
                return f"a rank other than {rank} in {name}"
    return None


def with_adapter(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """A model with an adapter over it, as it was trained.

    Raises:
        ModelError: the adapter is none, belongs to another model, or changes a layer that is tied to another.
    """
    from peft import PeftModel

    settings = adapter_settings(adapter)
    if settings.get("layer_replication"):
        raise ModelError(f"{adapter}: repeats layers (layer_replication), and such a model cannot be saved or served")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=_PEFT_WARNINGS)
            adapted = PeftModel.from_pretrained(model, adapter)
    except Exception as error:
        if "tie_word_embeddings" in str(error):
            raise ModelError(f"{adapter}: {_TIED}") from None
        raise ModelError(f"{adapter}: does not fit {model.name_or_path}: {error}") from error
    check_tied(adapted, str(adapter))
    return adapted


_TIED = (
    "adapts the embeddings or the output layer, which are one layer in this model (tie_word_embeddings), so what is "
    "trained and what would be merged and served are two models: leave both out of target_modules and modules_to_save, "
    "or take a model in which they are two"
)


def check_tied(model: PeftModel, what: str) -> None:
    """Refuse an adapter on a layer that is embedding and output layer at once; single trained tokens are kept in step.

    Args:
        what: how a message names the adapter.

    Raises:
        ModelError: naming the way out.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    base = model.get_base_model()
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    if None in ends or _own_weight(ends[0]) is not _own_weight(ends[1]):
        return
    if any(isinstance(each, BaseTunerLayer | ModulesToSaveWrapper) for each in ends):
        raise ModelError(f"{what}: {_TIED}")


def _own_weight(module: nn.Module) -> nn.Parameter:
    """The weight of the layer below whatever PEFT put over it."""
    for below in ("base_layer", "original_module"):
        if hasattr(module, below):
            return _own_weight(getattr(module, below))
    return module.weight
