"""What each worker of Ray Train does: build the trainer, go on from the last checkpoint, leave the adapter."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import torch
from peft import LoraConfig, get_peft_model
from ray.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from mint_ray import telemetry
from mint_ray.alignment.collation import Collator, EncodedPair
from mint_ray.alignment.trainer import OrpoTrainer
from mint_ray.alignment.vision import adapted_modules, vision_inputs
from mint_ray.config import AlignmentSection
from mint_ray.errors import TrainingError
from mint_ray.models import load_model, resolve_model, written_folder
from mint_ray.precision import dtype_of
from mint_ray.runs import write_atomically

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER = "adapter"
CURVE = "curve.jsonl"
_SECONDS_BETWEEN_LINES = 5


@dataclass(frozen=True)
class Plan:
    """What all workers are told. `folder` is the stage's; `pairs` refers to the encoded pairs by split."""

    section: AlignmentSection
    model: str
    folder: Path
    seed: int
    pairs: ray.ObjectRef


def train_worker(config: dict[str, Plan]) -> str | None:
    """Align one worker's share; what went wrong for good, in words, or None.

    A loss that is not finite is returned, not raised: Ray would start the workers again for an error,
    and they would meet the same loss.
    """
    plan = config["plan"]
    use_all_cores()
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(plan.folder / "tensorboard")
    pairs, folder = ray.get(plan.pairs), resolve_model(plan.model)
    with TemporaryDirectory() as scratch:
        trainer = build_trainer(plan.section, folder, pairs, plan.seed, Path(scratch))
        for callback in (RayTrainReportCallback(), Progress(), Counts(plan.folder.parent.name)):
            trainer.add_callback(callback)
        try:
            _train(prepare_trainer(trainer))
        except TrainingError as error:
            return str(error)
        if trainer.is_world_process_zero():
            save_curve(trainer, plan.folder / CURVE)
            with written_folder(plan.folder / ADAPTER) as temporary:
                trainer.accelerator.unwrap_model(trainer.model).save_pretrained(temporary)
    return None


def _train(trainer: OrpoTrainer) -> None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        trainer.train()
        return
    with checkpoint.as_directory() as folder:
        trainer.train(resume_from_checkpoint=str(Path(folder, RayTrainReportCallback.CHECKPOINT_NAME)))


def build_trainer(
    section: AlignmentSection, model: Path, pairs: dict[str, list[EncodedPair]], seed: int, scratch: Path
) -> OrpoTrainer:
    """The trainer that a section describes, over encoded pairs by split (`train`, and `validation` or none)."""
    tokenizer, adapted = AutoTokenizer.from_pretrained(model), build_model(section, model, seed)
    vision = vision_inputs(model, adapted.get_base_model())
    trainer = OrpoTrainer(
        beta=section.beta,
        nll_scope=section.nll_scope,
        model=adapted,
        args=training_arguments(section, seed, scratch, validate=bool(pairs.get("validation"))),
        data_collator=Collator(tokenizer.pad_token_id, section.nll_scope == "sequence", vision),
        train_dataset=pairs["train"],
        eval_dataset=pairs.get("validation") or None,
        processing_class=tokenizer,
        callbacks=[NoLastCheckpoint()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def build_model(section: AlignmentSection, folder: Path, seed: int) -> PeftModel:
    """The frozen model in the training precision, with an adapter in fp32 that changes nothing yet."""
    set_seed(seed)
    model = load_model(folder, dtype_of(section.precision, section.use_gpu))
    lora = section.lora
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            **adapted_modules(model, lora),
            task_type="CAUSAL_LM",
        ),
    )


def training_arguments(section: AlignmentSection, seed: int, scratch: Path, validate: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        seed=seed,
        per_device_train_batch_size=section.batch_size,
        per_device_eval_batch_size=section.batch_size,
        gradient_accumulation_steps=section.gradient_accumulation,
        gradient_checkpointing=section.gradient_checkpointing,
        num_train_epochs=section.epochs,
        learning_rate=section.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=section.warmup_ratio,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        bf16=dtype_of(section.precision, section.use_gpu) is torch.bfloat16,
        use_cpu=not section.use_gpu,
        eval_strategy="epoch" if validate else "no",
        save_strategy="steps",
        save_steps=section.save_steps,
        save_total_limit=1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[section.log_to],
        label_names=[],
        remove_unused_columns=False,
        dataloader_pin_memory=section.use_gpu,
        disable_tqdm=True,
    )


def use_all_cores() -> None:
    """Give torch this worker's share of its node's cores: Ray allows as many threads as CPUs were asked for, one."""
    node = ray.get_runtime_context().get_node_id()
    allowed = next(n["Resources"].get("CPU", 1) for n in ray.nodes() if n["NodeID"] == node)
    cores = min(len(os.sched_getaffinity(0)), int(allowed))
    torch.set_num_threads(max(1, cores // ray.train.get_context().get_local_world_size()))


def save_curve(trainer: OrpoTrainer, path: Path) -> None:
    """One line a step and one a validation, from the first step on, also when the run was resumed."""
    precision = "bf16" if trainer.args.bf16 else "fp32"
    history = [row for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    write_atomically(path, "".join(json.dumps(row | {"precision": precision}) + "\n" for row in history))


class NoLastCheckpoint(TrainerCallback):
    """The adapter is written as soon as training ends, so a checkpoint of the last step would serve nobody."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_save = False


class Counts(TrainerCallback):
    """Steps and loss in Ray's metrics, from the first worker."""

    def __init__(self, run: str):
        self.run = run

    def on_log(self, args, state, control, logs: dict[str, Any], **kwargs):
        if state.is_world_process_zero and "loss" in logs:
            telemetry.count("steps", 1, self.run, "alignment")
            telemetry.show("loss", logs["loss"], self.run, "alignment")


class Progress(TrainerCallback):
    """A line every few seconds: step, loss, rate, time left."""

    def __init__(self):
        self.started = self.printed = time.monotonic()
        self.first = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.started, self.first = time.monotonic(), state.global_step

    def on_log(self, args, state, control, logs: dict[str, Any], **kwargs):
        if not state.is_world_process_zero or not (line := self._line(state, logs)):
            return
        last = state.global_step == state.max_steps
        if last or "eval_loss" in logs or time.monotonic() - self.printed >= _SECONDS_BETWEEN_LINES:
            self.printed = time.monotonic()
            print(line, flush=True)

    def _line(self, state, logs: dict[str, Any]) -> str | None:
        where = f"alignment: step {state.global_step} of {state.max_steps}"
        if "eval_loss" in logs:
            return (
                f"{where}: validation loss {logs['eval_loss']:.3f}, prefers the chosen in {logs['eval_accuracy']:.0%}"
            )
        if "loss" not in logs:
            return None
        done = state.global_step - self.first
        left = (time.monotonic() - self.started) / done * (state.max_steps - state.global_step)
        return (
            f"{where}, loss {logs['loss']:.3f}, {logs['pairs_per_second']:.2f} pairs/s, "
            f"{int(left) // 60} min {int(left) % 60:02d} s left"
        )
