"""The trainer of each `alignment.method`: same tokens, same order of pairs, same adapter, another loss.

| method | trainer                       | learns from                                            |
|--------|-------------------------------|--------------------------------------------------------|
| `orpo` | `OrpoTrainer`, this package's | both answers                                           |
| `sft`  | TRL's `SFTTrainer`            | the chosen answer                                      |
| `dpo`  | TRL's `DPOTrainer`            | both answers, against the model with the adapter off   |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from mint_ray.alignment.collation import Collator, EncodedPair
from mint_ray.alignment.trainer import OrpoTrainer
from mint_ray.alignment.vision import adapted_modules, vision_inputs
from mint_ray.config import AlignmentSection, LoraSection
from mint_ray.models import load_model
from mint_ray.precision import dtype_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Pairs = dict[str, list[EncodedPair]]


def build_trainer(section: AlignmentSection, model: Path, pairs: Pairs, seed: int, scratch: Path) -> Trainer:
    """The trainer that a section describes, over encoded pairs by split (`train`, and `validation` or none).

    Raises:
        ModelError: the method, or the adapter, does not go with the model.
    """
    shared = {
        "processing_class": AutoTokenizer.from_pretrained(model),
        "pair_lengths": [pair.length for pair in pairs["train"]],
        "callbacks": [NoLastCheckpoint()],
    }
    options = training_options(section, seed, scratch, validate=bool(pairs.get("validation")))
    if section.method == "orpo":
        trainer = orpo_trainer(section, model, pairs, options, shared)
    else:
        from mint_ray.alignment.trl_trainers import trl_trainer

        trainer = trl_trainer(section, model, pairs, options, shared)
    trainer.remove_callback(PrinterCallback)
    return trainer


def orpo_trainer(
    section: AlignmentSection, model: Path, pairs: Pairs, options: dict[str, Any], shared: dict[str, Any]
) -> OrpoTrainer:
    adapted = build_model(section, model, options["seed"])
    vision = vision_inputs(model, adapted.get_base_model())
    pad_token_id = shared["processing_class"].pad_token_id
    return OrpoTrainer(
        beta=section.beta,
        nll_scope=section.nll_scope,
        model=adapted,
        args=TrainingArguments(**options),
        data_collator=Collator(pad_token_id, section.nll_scope == "sequence", vision),
        train_dataset=pairs["train"],
        eval_dataset=pairs.get("validation") or None,
        **shared,
    )


def build_model(section: AlignmentSection, folder: Path, seed: int) -> PeftModel:
    """The frozen model in the training precision, with an adapter in fp32 that changes nothing yet."""
    model = frozen_model(section, folder, seed)
    return get_peft_model(model, lora_config(model, section.lora))


def frozen_model(section: AlignmentSection, folder: Path, seed: int) -> PreTrainedModel:
    """The model in the training precision; the seed decides the adapter that it is given next."""
    set_seed(seed)
    return load_model(folder, dtype_of(section.precision, section.use_gpu))


def lora_config(model: PreTrainedModel, lora: LoraSection) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        **adapted_modules(model, lora),
        task_type="CAUSAL_LM",
    )


def training_options(section: AlignmentSection, seed: int, scratch: Path, validate: bool) -> dict[str, Any]:
    """What `TrainingArguments` and those made from it are given, whatever the method."""
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
