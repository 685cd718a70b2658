"""Supervised fine-tuning and direct preference optimisation by TRL's trainers, on the tokens that ORPO is given.

Their losses and figures are TRL's own; what is ours is the data's order, the clock, and the stop at a loss that is
not finite. In `curve.jsonl` a step has TRL's names (`rewards/accuracies`, `mean_token_accuracy`, ...) beside ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import trl.trainer.utils
from datasets import Dataset
from peft.helpers import disable_input_dtype_casting
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from mint_ray.alignment.collation import EncodedPair
from mint_ray.alignment.methods import Pairs, frozen_model, lora_config
from mint_ray.alignment.trainer import PairTraining, check_output_layer
from mint_ray.config import AlignmentSection
from mint_ray.errors import ModelError
from mint_ray.models import sees_images

_IGNORED = -100  # label of a token that no loss is taken of


def answers_alone() -> AbstractContextManager:
    """Have TRL pass the answers' positions alone through the output layer.

    Where it has no Triton it passes all, prompts too, so that compiled shapes stay; nothing is compiled here. The
    losses are the same.
    """
    return patch.object(trl.trainer.utils, "_use_triton", lambda device: True)


class TrlTraining(PairTraining):
    """Between a TRL trainer and us: tokens stay as they are, cases are known by id, a batch is counted."""

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any) -> Dataset:
        return dataset  # our tokens already

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """None: a checkpoint here is read by its own training alone."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        self.start_clock()
        inputs = dict(inputs)
        case_ids = inputs.pop("case_ids")
        # In bf16 the adapter's fp32 weights are cast by autocast; PEFT would cast their inputs up first.
        with answers_alone(), disable_input_dtype_casting(self.model, active=self.args.bf16):
            loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        self.refuse_non_finite(loss.detach().expand(len(case_ids)), case_ids)
        self.tally(len(case_ids), int(inputs["attention_mask"].sum()))
        return (loss, {}) if return_outputs else loss


class SftTrainer(TrlTraining, SFTTrainer):
    """The chosen answers' mean negative log-likelihood a token; prompts are not scored."""


class DpoTrainer(TrlTraining, DPOTrainer):
    """DPO; the reference is the same model with its adapter switched off."""


def trl_trainer(
    section: AlignmentSection, model: Path, pairs: Pairs, options: dict[str, Any], shared: dict[str, Any]
) -> SftTrainer | DpoTrainer:
    """The trainer of `sft` or `dpo`.

    Raises:
        ModelError: the model sees images, or its output layer would be trained.
    """
    if sees_images(model):
        raise ModelError(
            f"alignment.method {section.method} trains text models alone, and {model} sees images: take orpo"
        )
    start, pad_token_id = frozen_model(section, model, options["seed"]), shared["processing_class"].pad_token_id
    if section.method == "sft":
        kind, row, collate = SftTrainer, _sft_row, DataCollatorForLanguageModeling(pad_token_id)
        arguments = SFTConfig(**options, max_length=None)
    else:
        kind, row, collate = DpoTrainer, _dpo_row, DataCollatorForPreference(pad_token_id)
        arguments = DPOConfig(**options, max_length=None, beta=section.beta)
    trainer = kind(
        model=start,
        peft_config=lora_config(start, section.lora),
        args=arguments,
        data_collator=_WithCaseIds(collate),
        train_dataset=Dataset.from_list([row(pair) for pair in pairs["train"]]),
        eval_dataset=Dataset.from_list([row(pair) for pair in pairs.get("validation") or []]) or None,
        **shared,
    )
    check_output_layer(trainer.model)
    return trainer


def _sft_row(pair: EncodedPair) -> dict[str, Any]:
    labels = [_IGNORED] * len(pair.prompt) + pair.chosen
    return {"case_id": pair.case_id, "input_ids": pair.prompt + pair.chosen, "labels": labels}


def _dpo_row(pair: EncodedPair) -> dict[str, Any]:
    answers = {"chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
    return {"case_id": pair.case_id, "prompt_ids": pair.prompt, **answers}


class _WithCaseIds:
    """TRL's collator, and which cases a batch holds."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]):
        self.collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self.collate(rows), "case_ids": [row["case_id"] for row in rows]}
