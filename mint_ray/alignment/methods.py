"""The trainer of each `alignment.method`: same tokens, same order of pairs, same adapter, another loss.

| method | trainer       | learns from                                            |
|--------|---------------|--------------------------------------------------------|
| `orpo` | `OrpoTrainer` | both answers                                           |
| `sft`  | `SftTrainer`  | the chosen answer                                      |
| `dpo`  | `DpoTrainer`  | both answers, against the model that training began with |
| `listwise` | `ListwiseTrainer` | the chosen answer, and the scorer's choice among its names for the first place |

Losses and gradients are those of TRL's trainers of the same names, by test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from mint_ray.alignment.collation import Collator, EncodedPair, InParts
from mint_ray.alignment.encoded import lengths_of
from mint_ray.alignment.trainer import DpoTrainer, ListwiseTrainer, OrpoTrainer, PairTrainer, SftTrainer
from mint_ray.alignment.vision import VisionInputs, adapted_modules, vision_inputs
from mint_ray.config import AlignmentSection, LoraSection
from mint_ray.models import load_model
from mint_ray.precision import dtype_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# On a CPU. More would hold more activations at once, of which no cache has room.
_TOKENS_A_ROW = 1024

Pairs = Mapping[str, Sequence[EncodedPair]]


def build_trainer(section: AlignmentSection, model: Path, pairs: Pairs, seed: int, scratch: Path) -> PairTrainer:
    """The trainer that a section describes, over encoded pairs by split (`train`, and `validation` or none).

    Raises:
        ModelError: the method, or the adapter, does not go with the model.
    """
    tokenizer, adapted = AutoTokenizer.from_pretrained(model), build_model(section, model, seed)
    vision = vision_inputs(model, without_adapter(adapted))
    kind, of_method = method_of(section)
    trainer = kind(
        **of_method,
        model=adapted,
        args=TrainingArguments(
            **training_options(section, seed, scratch, validate=bool(pairs.get("validation"))),
            # A process of its own decodes and processes images, two batches ahead; tokens take no time.
            dataloader_num_workers=1 if vision else 0,
        ),
        data_collator=in_parts(section, tokenizer.pad_token_id, vision),
        train_dataset=pairs["train"],
        eval_dataset=pairs.get("validation") or None,
        processing_class=tokenizer,
        pair_lengths=lengths_of(pairs["train"]),
        callbacks=[NoLastCheckpoint()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def method_of(section: AlignmentSection) -> tuple[type[PairTrainer], dict[str, Any]]:
    """The trainer of the method, and the settings that it alone has."""
    if section.method == "sft":
        return SftTrainer, {}
    if section.method in ("dpo", "listwise"):
        return {"dpo": DpoTrainer, "listwise": ListwiseTrainer}[section.method], {"beta": section.beta}
    return OrpoTrainer, {"beta": section.beta, "nll_scope": section.nll_scope}


def in_parts(section: AlignmentSection, pad_token_id: int, vision: VisionInputs | None) -> InParts:
    """Batches for the method. On a CPU, where nothing is gained by many rows, pairs lie in one, as many as it may hold."""
    answers = ("chosen",) if section.method in ("sft", "listwise") else ("chosen", "rejected")
    scope, openings = section.nll_scope == "sequence", section.method == "listwise"
    if vision or section.use_gpu:
        collate = Collator(pad_token_id, scope, vision, answers, openings=openings)
        return InParts(collate, section.batch_size if section.use_gpu else 1)
    collate = Collator(pad_token_id, scope, None, answers, together=True, openings=openings)
    return InParts(collate, section.batch_size, tokens=_TOKENS_A_ROW)


def build_model(section: AlignmentSection, folder: Path, seed: int) -> PeftModel | PreTrainedModel:
    """The frozen model in the training precision, with an adapter in fp32 that changes nothing yet.

    Without `lora` it is the model itself, in fp32: an update is too small for what bf16 tells apart.
    """
    set_seed(seed)
    if section.lora is None:
        return load_model(folder, torch.float32)
    model = load_model(folder, dtype_of(section.precision, section.use_gpu))
    return get_peft_model(model, lora_config(model, section.lora))


def without_adapter(model: PeftModel | PreTrainedModel) -> PreTrainedModel:
    """The model that an adapter is over, or the model itself."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def lora_config(model: PreTrainedModel, lora: LoraSection) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        **adapted_modules(model, lora),
        task_type="CAUSAL_LM",
    )


def training_options(section: AlignmentSection, seed: int, scratch: Path, validate: bool) -> dict[str, Any]:
    """What `TrainingArguments` are given, whatever the method."""
    return {
        "output_dir": str(scratch),
        "seed": seed,
        "per_device_train_batch_size": section.batch_size,
        "per_device_eval_batch_size": section.batch_size,
        "gradient_accumulation_steps": section.gradient_accumulation,
        "gradient_checkpointing": section.gradient_checkpointing,
        "num_train_epochs": section.epochs,
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": section.warmup_ratio,
        "weight_decay": section.weight_decay,
        "max_grad_norm": section.max_grad_norm,
        "bf16": dtype_of(section.precision, section.use_gpu) is torch.bfloat16,
        "use_cpu": not section.use_gpu,
        "eval_strategy": "epoch" if validate else "no",
        "save_strategy": "steps",
        "save_steps": section.save_steps,
        "save_total_limit": 1,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [section.log_to],
        "label_names": [],
        "remove_unused_columns": False,
        "dataloader_pin_memory": section.use_gpu,
        "disable_tqdm": True,
    }


class NoLastCheckpoint(TrainerCallback):
    """The adapter is written as soon as training ends, so a checkpoint of the last step would serve nobody."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_save = False
